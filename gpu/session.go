package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// Session is a Program with everything it needs on a device. It may be used
// by several goroutines; their runs follow one another.
type Session struct {
	core    *core
	store   *Store
	program *graph.Program
	memory  []*buffer // from the pool: the arena, then the inputs
	kept    []*buffer // the Program's Kept
	states  []extents // of the store, where the Program's States lie
	params  *buffer   // one paramsBytes slot a step
	steps   []step
	commits int // the first step that writes a State
	writes  []*graph.State
	closed  bool // whoever sets it holds run and core.calls, whoever reads it one of them

	constants map[*graph.State]bool // that the steps read which run once
	computed  bool                  // these steps have run, and since then nobody has written constants; under run

	costs sync.Mutex // around the steps' costs while steps are in flight, whose ends correct them
}

// step is one dispatch as the GPU takes it.
type step struct {
	pipeline *pipeline
	group    *wgpu.BindGroup
	x, y     uint32
	params   []uint32
	cost     time.Duration // estimated from what it or the same work took, 0 before the first run
}

// paramsBytes is a step's part of the uniform buffer: WebGPU's default offset
// alignment, which activations share.
const paramsBytes = 256

// Load makes p ready to run: it compiles the kernels that the device does not
// have yet, allocates all memory and uploads the parameters that w lacks from
// their sources. States that are neither in w nor parameters start as zeros.
// What does not fit is a *LimitError or, beyond Options.MaxMemory, a
// *MemoryError; a kernel that does not compile a *ShaderError. The caller
// closes the session.
func (d *Device) Load(p *graph.Program, w *Store) (*Session, error) {
	return d.LoadContext(context.Background(), p, w)
}

// LoadContext is Load, and returns ctx's error as soon as ctx ends. The kernel that
// is being compiled by then, or the piece of a parameter that is being read, is
// finished in the background; then the loading stops and frees its memory.
func (d *Device) LoadContext(ctx context.Context, p *graph.Program, w *Store) (*Session, error) {
	load := func() (*Session, error) { return d.load(ctx, p, w) }
	if ctx.Done() == nil {
		return load()
	}
	return await.Do(ctx, load, func(s *Session) { s.Close() })
}

func (d *Device) load(ctx context.Context, p *graph.Program, w *Store) (*Session, error) {
	if err := d.retain(); err != nil {
		return nil, err
	}
	s := &Session{core: d.core, program: p, commits: math.MaxInt}
	defer s.traceLoad(time.Now())
	err := w.retain(d.core)
	if err == nil {
		s.store = w
		err = s.load(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Session) load(ctx context.Context) error {
	if err := s.core.checkProgram(s.program); err != nil {
		return err
	}
	if err := s.store.load.Acquire(ctx); err != nil {
		return err
	}
	defer s.store.load.Unlock()
	err := s.fill(ctx)
	if err != nil {
		s.store.sweep()
	}
	return err
}

// fill gives the session its memory, values and steps. The caller holds the store's load.
func (s *Session) fill(ctx context.Context) error {
	s.noteStates()
	if err := s.store.gather(ctx, s.program); err != nil {
		return err
	}
	if err := s.core.call(ctx, s.allocate); err != nil {
		return err
	}
	background, stop := context.WithCancel(ctx)
	defer stop()
	compiled := make(chan error)
	go func() { compiled <- s.compile(background) }()
	err := s.upload(ctx)
	if err != nil {
		stop()
	}
	if err = cmp.Or(err, <-compiled); err != nil {
		return err
	}
	if err := s.eachStep(ctx, s.prepare); err != nil {
		return err
	}
	return s.core.call(ctx, func() error {
		s.store.sessions = append(s.store.sessions, s)
		return nil
	})
}

// compile makes the pipelines of all steps while upload reads and packs weights. The
// library makes one at a time, whatever the number of threads: wgpu-core 0.17 locks all
// pipeline layouts meanwhile (device/resource.rs, create_compute_pipeline).
func (s *Session) compile(ctx context.Context) error {
	return s.eachStep(ctx, func(i int) error {
		_, err := s.core.pipeline(s.program.Steps[i].Kernel)
		return err
	})
}

// eachStep calls f, inside a call of its own, for every step. Errors name the step.
func (s *Session) eachStep(ctx context.Context, f func(i int) error) error {
	for i := range s.program.Steps {
		if err := s.core.call(ctx, func() error { return f(i) }); err != nil {
			return fmt.Errorf("%s: %w", stepName(s.program, i), err)
		}
	}
	return nil
}

// allocate takes all memory but that of new States, after a check that these fit
// as well. The caller is inside call.
func (s *Session) allocate() error {
	c, p := s.core, s.program
	for _, st := range p.States {
		s.states = append(s.states, s.store.locate(st))
	}
	sizes, picked, missing := s.store.demand(p, c.pool)
	if err := c.fits(missing); err != nil {
		return err
	}
	for i, b := range picked {
		if b == nil {
			var err error
			if b, err = c.newBuffer("activations", sizes[i], storageUsage); err != nil {
				return err
			}
			c.pool = append(c.pool, b)
		}
		b.users++
		s.memory = append(s.memory, b)
	}
	for _, n := range p.Kept {
		b, err := c.newBuffer("kept values", n+c.guard(), storageUsage)
		if err != nil {
			return err
		}
		s.kept = append(s.kept, b)
	}
	if len(p.Steps) == 0 {
		return nil
	}
	var err error
	s.params, err = c.newBuffer("params", int64(len(p.Steps))*paramsBytes, wgpu.BufferUsage_Uniform|wgpu.BufferUsage_CopyDst)
	return err
}

// prepare makes step i dispatchable. The caller is inside call.
func (s *Session) prepare(i int) error {
	st := s.program.Steps[i]
	p, err := s.core.pipeline(st.Kernel)
	if err != nil {
		return err
	}
	group, err := s.bind(i, p)
	if err != nil {
		return err
	}
	s.steps = append(s.steps, step{pipeline: p, group: group, x: st.Groups[0], y: st.Groups[1], params: st.Params})
	return nil
}

// bind makes the bind group of step i. The caller is inside call.
func (s *Session) bind(i int, p *pipeline) (*wgpu.BindGroup, error) {
	st := s.program.Steps[i]
	entries := make([]wgpu.BindGroupEntry, len(st.Kernel.Bindings))
	first := len(entries) - len(st.Slots)
	if first == 1 {
		entries[0] = wgpu.BindGroupEntry{Buffer: s.params.Buffer, Offset: uint64(i) * paramsBytes, Size: (4*uint64(len(st.Params)) + 15) &^ 15}
	}
	absent := uint64(0)
	for j, slot := range st.Slots {
		e := &entries[first+j]
		write := st.Kernel.Bindings[first+j].Access == shaders.ReadWrite
		switch {
		case slot.Space != graph.SpaceNone:
			b, offset := s.locate(slot)
			*e = wgpu.BindGroupEntry{Buffer: b.Buffer, Offset: uint64(offset), Size: uint64(slot.Bytes + s.guarded(slot))}
		case write:
			*e = wgpu.BindGroupEntry{Buffer: s.core.unwritten.Buffer, Offset: absent, Size: absentBytes}
			absent += absentBytes
		default:
			*e = wgpu.BindGroupEntry{Buffer: s.core.unread.Buffer, Size: absentBytes}
		}
		e.Binding = uint32(first + j)
	}
	if err := apart(st.Kernel, entries); err != nil {
		return nil, err
	}
	return s.core.device.CreateBindGroup(&wgpu.BindGroupDescriptor{Label: st.Kernel.Name, Layout: p.bindings, Entries: entries})
}

// locate finds the buffer that holds a slot, and where in it.
func (s *Session) locate(slot graph.Slot) (b *buffer, offset int64) {
	switch slot.Space {
	case graph.SpaceInput:
		return s.memory[len(s.program.Arena)+slot.Index], slot.Offset
	case graph.SpaceState:
		e, offset := s.states[slot.Index].at(slot.Offset)
		return e.buffer, offset
	case graph.SpaceKept:
		return s.kept[slot.Index], slot.Offset
	}
	return s.memory[slot.Index], slot.Offset
}

// ownBuffers are those that no other session shares, some of them nil.
func (s *Session) ownBuffers() []*buffer { return append(slices.Clone(s.kept), s.params) }

// Close frees what the session alone uses, after a run in progress. A second
// Close, or Close of nil, does nothing.
func (s *Session) Close() error {
	if s == nil {
		return nil
	}
	s.core.acquireIdle()
	defer s.core.release()
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.core.lost == nil {
		for _, st := range s.steps {
			st.group.Release()
		}
	}
	for _, b := range s.ownBuffers() {
		s.core.freeBuffer(b)
	}
	s.core.giveBack(s.memory)
	if s.store != nil {
		s.store.sessions = slices.DeleteFunc(s.store.sessions, func(o *Session) bool { return o == s })
		s.store.drop()
	}
	s.core.drop()
	return nil
}

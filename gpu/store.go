package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Store holds States on the device: parameters, optimizer moments, running
// statistics. Sessions that were loaded with one Store share its States.
type Store struct {
	core *core      // nil if the device was closed
	load await.Lock // one Load or Write at a time; taken before run
	late *uploader  // of WriteBytes, which does not wait; under load

	// Under core.calls.
	states   map[*graph.State]extents // without slabs, and those that a Load is still filling
	slabs    []slab
	sessions []*Session // that are loaded
	users    int        // the owner and the sessions
	closed   bool
}

// NewStore returns an empty store, which the caller closes. The store of a closed
// device is closed from the beginning.
func (d *Device) NewStore() *Store {
	if d.retain() != nil {
		return &Store{}
	}
	return &Store{core: d.core, load: await.NewLock(), late: newUploader(d.core), states: map[*graph.State]extents{}, users: 1}
}

// retain adds a session that uses the store.
func (s *Store) retain(c *core) error {
	if s == nil || s.core == nil {
		return ErrClosed
	}
	if s.core != c {
		return fmt.Errorf("the store belongs to another device")
	}
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.users++
	return nil
}

// drop takes one user away; the last frees the memory. The caller holds run,
// the queue drained, and calls.
func (s *Store) drop() {
	if s.users--; s.users > 0 {
		return
	}
	for _, m := range s.states {
		s.core.freeState(m)
	}
	for _, b := range s.slabs {
		s.core.freeBuffer(b.buffer)
	}
	s.states, s.slabs = nil, nil
	s.core.drop()
}

// Close frees the store's memory once no open session uses it. A second Close,
// or Close of nil, does nothing. It waits for a run in progress.
func (s *Store) Close() error {
	if s == nil || s.core == nil {
		return nil
	}
	s.core.acquireIdle()
	defer s.core.release()
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	if !s.closed {
		s.closed = true
		s.drop()
	}
	return nil
}

// check refuses a state that n values cannot be read from or written to.
func (s *Store) check(st *graph.State, n int) error {
	switch {
	case s == nil || s.core == nil:
		return ErrClosed
	case st == nil:
		return fmt.Errorf("nil state")
	case st.Element != graph.F32:
		return fmt.Errorf("state %s is %v, want f32", st.Name, st.Spec)
	case n != st.Shape.Elems():
		return fmt.Errorf("state %s %v takes %d values, got %d", st.Name, st.Spec, st.Shape.Elems(), n)
	}
	return s.core.target.Check(st)
}

// find returns st's memory, or nil. It stays there while the caller holds run.
func (s *Store) find(ctx context.Context, st *graph.State) (extents, error) {
	if err := s.core.calls.Acquire(ctx); err != nil {
		return nil, err
	}
	defer s.core.calls.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	return s.locate(st), nil
}

// Write sets a state's values, row-major, and adds the state to the store if it
// is new. A value that the state's Format would round to infinity is an error. Once
// the first value is on its way ctx no longer ends the write: no state is half new.
func (s *Store) Write(ctx context.Context, st *graph.State, data []float32) error {
	if err := s.check(st, len(data)); err != nil {
		return err
	}
	packed := s.core.target.Packing(st)
	if err := packed.CheckRange(data); err != nil { // all of it, before the first panel is written
		return err
	}
	return s.write(ctx, st, func(ctx context.Context, m extents) error {
		u := newUploader(s.core)
		if !st.Packed() {
			return errors.Join(u.fill(ctx, m, 0, bytesOf(data)), u.flush(ctx))
		}
		read := func(dst []float32, offset int) error { copy(dst, data[offset:]); return nil }
		err := packed.Pack(read, func(offset int64, words []uint32) error { return u.fill(ctx, m, offset, bytesOf(words)) })
		return errors.Join(err, u.flush(ctx))
	})
}

// write lets fill write to the memory of st, which is made if it is new. fill gets a ctx that
// does not end.
func (s *Store) write(ctx context.Context, st *graph.State, fill func(ctx context.Context, m extents) error) error {
	if err := s.load.Acquire(ctx); err != nil {
		return err
	}
	defer s.load.Unlock()
	if err := s.core.acquire(ctx); err != nil {
		return err
	}
	defer s.core.release()
	m, err := s.find(ctx, st)
	if err == nil && m == nil {
		m, err = s.add(ctx, st)
	}
	if err != nil {
		return err
	}
	s.outdate(ownMemory(st))
	return fill(context.WithoutCancel(ctx), m)
}

// WriteBytes sets part of a state that is not packed, from a byte offset on, as it lies on
// the device: elements of four bytes each, the lowest first. It adds the state to the store
// if it is new, with zeros in its other parts. Once it has begun, ctx does not end it. It does not
// wait for the device, whose error the store's next WriteBytes or Load returns.
func (s *Store) WriteBytes(ctx context.Context, st *graph.State, offset int64, data []byte) error {
	switch {
	case s == nil || s.core == nil:
		return ErrClosed
	case st == nil:
		return fmt.Errorf("nil state")
	case st.Packed() || st.Parts != nil:
		return fmt.Errorf("state %s %v is packed or a slab: its bytes cannot be written", st.Name, st.Spec)
	case offset < 0 || offset%4 != 0 || len(data)%4 != 0 || offset > st.Bytes()-int64(len(data)):
		return fmt.Errorf("state %s %v has %d bytes, got %d for those from %d on", st.Name, st.Spec, st.Bytes(), len(data), offset)
	}
	return s.write(ctx, st, func(ctx context.Context, m extents) error { return s.late.fill(ctx, m, offset, data) })
}

// ReadParam fills dst with a parameter's values, row-major. They come from its
// source while the store does not have the parameter.
func (s *Store) ReadParam(ctx context.Context, p *graph.Param, dst []float32) error {
	if p == nil {
		return fmt.Errorf("nil parameter")
	}
	err := s.Read(ctx, &p.State, dst)
	if errors.Is(err, errNotStored) && p.Source != nil {
		return p.Source.ReadF32(dst, 0)
	}
	return err
}

var errNotStored = errors.New("is not in the store")

// Read fills dst with a state's values, row-major.
func (s *Store) Read(ctx context.Context, st *graph.State, dst []float32) error {
	if err := s.check(st, len(dst)); err != nil {
		return err
	}
	if err := s.core.acquire(ctx); err != nil {
		return err
	}
	defer s.core.release()
	m, err := s.find(ctx, st)
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("state %s %w", st.Name, errNotStored)
	}
	if st.Packed() {
		read := func(words []uint32, offset int64) error {
			return s.core.readback(ctx, m.transfers(offset, bytesOf(words)))
		}
		return s.core.target.Packing(st).Unpack(read, func(offset int, values []float32) error { copy(dst[offset:], values); return nil })
	}
	return s.core.readback(ctx, m.transfers(0, bytesOf(dst)))
}

// add gives st, which is new, memory of zeros.
func (s *Store) add(ctx context.Context, st *graph.State) (m extents, err error) {
	err = s.core.call(ctx, func() (err error) {
		if m, err = s.allocateState(st); err == nil {
			s.states[st] = m
		}
		return err
	})
	return m, err
}

// demand says what p needs of memory: the sizes of its arena and inputs, the
// buffers of pool that serve as them (nil where none does), and how many bytes
// have to be allocated. The caller holds calls.
func (s *Store) demand(p *graph.Program, pool []*buffer) (sizes []int64, picked []*buffer, missing int64) {
	sizes = workSizes(p, s.core.guard())
	picked, missing = pick(pool, sizes)
	var parts []*graph.State
	for _, st := range p.States {
		parts = append(parts, st.Parts...)
	}
	for _, st := range p.States {
		if s.locate(st) == nil && s.inSlab(st) == nil && !slices.Contains(parts, st) {
			missing += s.core.stateBytes(st)
		}
	}
	return sizes, picked, missing + ownBytes(p, s.core.guard())
}

// Fits says whether p would fit into Options.MaxMemory if others, sessions of the
// same device, were closed: it returns nil, or the *MemoryError of such a Load.
func (s *Store) Fits(p *graph.Program, others ...*Session) error {
	if s == nil || s.core == nil {
		return ErrClosed
	}
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	if s.closed {
		return ErrClosed
	}
	freed, leaving := int64(0), map[*buffer]int{}
	for _, o := range others {
		if o == nil || o.closed {
			continue
		}
		for _, b := range o.ownBuffers() {
			if b != nil {
				freed += b.size
			}
		}
		for _, b := range o.memory {
			leaving[b]++
		}
	}
	var pool []*buffer
	for _, b := range s.core.pool {
		if b.users > leaving[b] {
			pool = append(pool, b)
		} else {
			freed += b.size
		}
	}
	_, _, missing := s.demand(p, pool)
	return s.core.fits(missing - freed)
}

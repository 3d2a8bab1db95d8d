package gpu

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// A slab is one buffer that several States lie in, so that one binding holds them
// all. Slabs of the same parts are one slab. The first Load of a Program that has a
// slab makes it: parts that the store has by then move there, and sessions that
// use them bind them there.

// slab is a graph.State with Parts on the device.
type slab struct {
	of *graph.State // the first of those that are this slab
	extent
}

// part is where part i lies.
func (b slab) part(i int) extents {
	return extents{{buffer: b.buffer, offset: b.of.Offsets[i], bytes: b.of.Parts[i].Bytes(), slab: true}}
}

// slab is the index of the slab that st is, or -1. The caller holds calls.
func (s *Store) slab(st *graph.State) int {
	return slices.IndexFunc(s.slabs, func(b slab) bool {
		return slices.Equal(b.of.Parts, st.Parts) && slices.Equal(b.of.Offsets, st.Offsets)
	})
}

// locate returns the memory of st, or nil. The caller holds calls.
func (s *Store) locate(st *graph.State) extents {
	if i := s.slab(st); i >= 0 {
		return extents{s.slabs[i].extent}
	}
	return s.states[st]
}

// inSlab returns where st lies in a slab, or nil where none has it. The caller holds calls.
func (s *Store) inSlab(st *graph.State) extents {
	for _, b := range s.slabs {
		if i := slices.Index(b.of.Parts, st); i >= 0 {
			return b.part(i)
		}
	}
	return nil
}

// allocateState gives st, which is new, its part of a slab or memory of its own. The caller
// is inside call.
func (s *Store) allocateState(st *graph.State) (extents, error) {
	if m := s.inSlab(st); m != nil {
		return m, nil
	}
	return s.core.newState(st)
}

// gather makes the slabs of p that the store lacks, one after the other: a slab's
// parts are there twice only while they are copied. The caller holds load.
func (s *Store) gather(ctx context.Context, p *graph.Program) error {
	for _, st := range p.States {
		if st.Parts == nil {
			continue
		}
		var b *slab
		err := s.core.call(ctx, func() (err error) {
			if s.locate(st) == nil {
				b, err = s.newSlab(st)
			}
			return err
		})
		if err == nil && b != nil {
			err = s.move(ctx, *b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newSlab allocates zeros for st, none of whose parts may lie in another slab. The
// caller is inside call.
func (s *Store) newSlab(st *graph.State) (*slab, error) {
	if err := s.core.target.Check(st); err != nil {
		return nil, err
	}
	for _, part := range st.Parts {
		if s.inSlab(part) != nil {
			return nil, fmt.Errorf("%s lies in another slab than %s", part.Name, st.Name)
		}
	}
	m, err := s.core.newState(st)
	if err != nil {
		return nil, err
	}
	m[0].slab = true
	return &slab{st, m[0]}, nil
}

// move copies the parts that the store has into b and makes b the store's.
func (s *Store) move(ctx context.Context, b slab) error {
	copies := func(e *wgpu.CommandEncoder) error {
		for i, part := range b.of.Parts {
			for _, old := range s.states[part] { // at most one
				copyBuffer(e, old.Buffer, old.offset, b.Buffer, b.of.Offsets[i], old.bytes)
			}
		}
		return nil
	}
	err := s.core.alone(ctx, func() error {
		j := new(job)
		if err := s.core.send(ctx, submission{job: j, record: copies}); err != nil {
			return err
		}
		ctx := context.WithoutCancel(ctx)
		if err := s.core.drain(ctx); err != nil || j.err != nil {
			return cmp.Or(err, j.err)
		}
		return s.core.call(ctx, func() error { return s.adopt(b) })
	})
	if err != nil {
		s.core.acquireIdle()
		defer s.core.release()
		s.core.calls.Lock()
		defer s.core.calls.Unlock()
		if s.slab(b.of) < 0 { // not so where the call that adopted it found another's fault
			s.core.freeBuffer(b.buffer)
		}
	}
	return err
}

// adopt makes b the memory of its parts, in the store and in the sessions that use
// them, or changes nothing. The caller holds run, the queue drained, and is inside call.
func (s *Store) adopt(b slab) error {
	moved := map[*graph.State]extents{}
	for i, part := range b.of.Parts {
		if s.states[part] != nil {
			moved[part] = b.part(i)
		}
	}
	var finish []func(keep bool)
	for _, o := range s.sessions {
		f, err := o.rebind(moved)
		if err != nil {
			for _, f := range finish {
				f(false)
			}
			return err
		}
		finish = append(finish, f)
	}
	for _, f := range finish {
		f(true)
	}
	for part, m := range moved {
		s.core.freeState(s.states[part])
		s.states[part] = m
	}
	s.slabs = append(s.slabs, b)
	return nil
}

// rebind makes new bind groups for the steps that use States in moved. The caller
// then calls finish: with keep they replace the old ones, else they are dropped. The
// caller holds run and is inside call.
func (s *Session) rebind(moved map[*graph.State]extents) (finish func(keep bool), err error) {
	before, groups := s.states, map[int]*wgpu.BindGroup{}
	finish = func(keep bool) {
		for i, group := range groups {
			if keep {
				group, s.steps[i].group = s.steps[i].group, group
			}
			group.Release()
		}
		if !keep {
			s.states = before
		}
	}
	s.states = slices.Clone(before)
	for i, st := range s.program.States {
		if m := moved[st]; m != nil {
			s.states[i] = m
		}
	}
	for i, st := range s.program.Steps {
		if !slices.ContainsFunc(st.Slots, func(slot graph.Slot) bool {
			return slot.Space == graph.SpaceState && moved[s.program.States[slot.Index]] != nil
		}) {
			continue
		}
		if groups[i], err = s.bind(i, s.steps[i].pipeline); err != nil {
			delete(groups, i)
			finish(false)
			return nil, err
		}
	}
	return finish, nil
}

// sweep frees the slabs that no part came to lie in. The caller holds load.
func (s *Store) sweep() {
	s.core.acquireIdle()
	defer s.core.release()
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	s.slabs = slices.DeleteFunc(s.slabs, func(b slab) bool {
		for _, part := range b.of.Parts {
			if s.states[part] != nil {
				return false
			}
		}
		s.core.freeBuffer(b.buffer)
		return true
	})
}

// Free drops states, slabs with all their parts, from the store. Where an open session
// uses one of them it refuses, and drops none.
func (s *Store) Free(states ...*graph.State) error {
	return s.whileIdle(func() error {
		all, err := s.freeable(states)
		if err != nil {
			return err
		}
		for _, st := range all {
			s.core.freeState(s.states[st])
			delete(s.states, st)
			if i := s.slab(st); i >= 0 {
				s.core.freeBuffer(s.slabs[i].buffer)
				s.slabs = slices.Delete(s.slabs, i, i+1)
			}
		}
		return nil
	})
}

// MayFree returns the error with which Free would refuse states, or nil.
func (s *Store) MayFree(states ...*graph.State) error {
	return s.whileIdle(func() error {
		_, err := s.freeable(states)
		return err
	})
}

// whileIdle does f while nothing is loaded or in flight.
func (s *Store) whileIdle(f func() error) error {
	if s == nil || s.core == nil {
		return ErrClosed
	}
	s.load.Lock()
	defer s.load.Unlock()
	s.core.acquireIdle()
	defer s.core.release()
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	return f()
}

// freeable returns states and the parts of slabs among them. It refuses what lies in
// another slab and what an open session uses.
func (s *Store) freeable(states []*graph.State) (all []*graph.State, err error) {
	for _, st := range states {
		all = append(append(all, st), st.Parts...)
		if st.Parts == nil && s.inSlab(st) != nil {
			return nil, fmt.Errorf("state %s lies in a slab", st.Name)
		}
	}
	for _, st := range all {
		if slices.ContainsFunc(s.sessions, func(o *Session) bool { return slices.Contains(o.program.States, st) }) {
			return nil, fmt.Errorf("state %s is in use", st.Name)
		}
	}
	return all, nil
}

// apart refuses bindings of one buffer that only the device's memory shows: WebGPU
// wants none written that another reads, and no overlap of those that are written.
func apart(k *shaders.Kernel, entries []wgpu.BindGroupEntry) error {
	for i, x := range entries {
		for j, y := range entries[:i] {
			a, b := k.Bindings[i], k.Bindings[j]
			if x.Buffer != y.Buffer || a.Access != shaders.ReadWrite && b.Access != shaders.ReadWrite {
				continue
			}
			if a.Access != b.Access || x.Offset < y.Offset+y.Size && y.Offset < x.Offset+x.Size {
				return fmt.Errorf("%s and %s lie in one slab, and one is written", b.Name, a.Name)
			}
		}
	}
	return nil
}

package gpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Store holds States on the device: parameters, optimizer moments, running
// statistics. Sessions that were loaded with one Store share its States.
type Store struct {
	core   *core // nil if the device was closed
	load   lock  // around states; taken before run
	states map[*graph.State]extents
	users  int  // the owner and the sessions; under calls
	closed bool // under calls
}

// NewStore returns an empty store. The caller closes it. Of a closed device the store is closed.
func (d *Device) NewStore() *Store {
	if d.retain() != nil {
		return &Store{}
	}
	return &Store{core: d.core, load: newLock(), states: map[*graph.State]extents{}, users: 1}
}

// retain adds a session that uses the store.
func (s *Store) retain(c *core) error {
	if s == nil || s.core == nil {
		return ErrClosed
	}
	if s.core != c {
		return fmt.Errorf("the store belongs to another device")
	}
	s.core.calls.lock()
	defer s.core.calls.unlock()
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
	s.states = nil
	s.core.drop()
}

// Close frees the store's memory once no open session uses it. A second Close,
// or Close of nil, does nothing. It waits for a run in progress.
func (s *Store) Close() error {
	if s == nil || s.core == nil {
		return nil
	}
	s.core.settle()
	defer s.core.release()
	s.core.calls.lock()
	defer s.core.calls.unlock()
	if !s.closed {
		s.closed = true
		s.drop()
	}
	return nil
}

// use takes the locks that reading or writing st's memory wants; done returns them.
func (s *Store) use(ctx context.Context, st *graph.State, n int) (done func(), err error) {
	switch {
	case s == nil || s.core == nil:
		return nil, ErrClosed
	case st == nil:
		return nil, fmt.Errorf("nil state")
	case st.DType != graph.F32:
		return nil, fmt.Errorf("state %s is %v, want f32", st.Name, st.Spec)
	case st.Check() != nil:
		return nil, st.Check()
	case n != st.Shape.Elems():
		return nil, fmt.Errorf("state %s %v takes %d values, got %d", st.Name, st.Spec, st.Shape.Elems(), n)
	}
	if err := s.load.acquire(ctx); err != nil {
		return nil, err
	}
	if err := s.core.acquire(ctx); err != nil {
		s.load.unlock()
		return nil, err
	}
	done = func() {
		s.core.release()
		s.load.unlock()
	}
	s.core.calls.lock()
	defer s.core.calls.unlock()
	if s.closed {
		done()
		return nil, ErrClosed
	}
	return done, nil
}

// Write sets a state's values, row-major, and adds it to the store if it is
// new. A write that has begun is not cancelled: a state is never half new.
func (s *Store) Write(ctx context.Context, st *graph.State, data []float32) error {
	done, err := s.use(ctx, st, len(data))
	if err != nil {
		return err
	}
	defer done()
	m, err := s.state(st)
	if err != nil {
		return err
	}
	u := uploader{core: s.core}
	ctx = context.WithoutCancel(ctx)
	if st.Packed() {
		read := func(dst []float32, offset int) error { copy(dst, data[offset:]); return nil }
		err = st.Pack(read, func(offset int64, words []uint32) error { return u.fill(ctx, m, offset, bytesOf(words)) })
	} else {
		err = u.fill(ctx, m, 0, bytesOf(data))
	}
	return errors.Join(err, u.flush(ctx))
}

// ReadParam fills dst with a parameter's values, row-major: those of its source
// while the store does not have it.
func (s *Store) ReadParam(ctx context.Context, p *graph.Param, dst []float32) error {
	err := s.Read(ctx, &p.State, dst)
	if errors.Is(err, errNotStored) {
		return p.Source.ReadF32(dst, 0)
	}
	return err
}

var errNotStored = errors.New("is not in the store")

// Read fills dst with a state's values, row-major.
func (s *Store) Read(ctx context.Context, st *graph.State, dst []float32) error {
	done, err := s.use(ctx, st, len(dst))
	if err != nil {
		return err
	}
	defer done()
	m := s.states[st]
	if m == nil {
		return fmt.Errorf("state %s %w", st.Name, errNotStored)
	}
	if st.Packed() {
		read := func(words []uint32, offset int64) error {
			return s.core.readback(ctx, m.cut(offset, bytesOf(words)))
		}
		return st.Unpack(read, func(offset int, values []float32) error { copy(dst[offset:], values); return nil })
	}
	return s.core.readback(ctx, m.cut(0, bytesOf(dst)))
}

// state returns st's memory, zeros when it is new.
func (s *Store) state(st *graph.State) (extents, error) {
	if m := s.states[st]; m != nil {
		return m, nil
	}
	var m extents
	err := s.core.call(context.Background(), func() (err error) {
		m, err = s.core.newState(st)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.states[st] = m
	return m, nil
}

// forget frees parameters that were not all filled. The caller holds load.
func (s *Store) forget(params []*graph.Param) {
	s.core.settle()
	defer s.core.release()
	s.core.calls.lock()
	defer s.core.calls.unlock()
	for _, p := range params {
		s.core.freeState(s.states[&p.State])
		delete(s.states, &p.State)
	}
}

package gpu

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// upload fills the params and the States that the store lacks, parameters from
// their sources. It gives the store these States when all of them are full.
func (s *Session) upload(ctx context.Context) error {
	params := make([]uint32, len(s.program.Steps)*paramsBytes/4)
	for i, st := range s.program.Steps {
		copy(params[i*paramsBytes/4:], st.Params)
	}
	u := uploader{core: s.core}
	err := u.alone(ctx, func() error { return u.write(ctx, s.params, 0, bytesOf(params)) })
	if err != nil {
		return err
	}
	var fresh []int
	for i, m := range s.states {
		if m == nil {
			fresh = append(fresh, i)
		}
	}
	if err = s.core.call(ctx, func() error { return s.allocateStates(fresh) }); err == nil {
		err = s.stream(ctx, &u, fresh)
	}
	if err == nil {
		err = u.alone(ctx, func() error { return u.flush(ctx) })
	}
	if err != nil {
		s.discard(fresh)
		return err
	}
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	for _, i := range fresh {
		s.store.states[s.program.States[i]] = s.states[i]
	}
	return nil
}

// allocateStates makes the States of these indices. The caller is inside call.
func (s *Session) allocateStates(fresh []int) (err error) {
	for _, i := range fresh {
		if s.states[i], err = s.store.allocateState(s.program.States[i]); err != nil {
			return err
		}
	}
	return nil
}

// discard frees States that were not all filled.
func (s *Session) discard(fresh []int) {
	s.core.acquireIdle()
	defer s.core.release()
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	for _, i := range fresh {
		s.core.freeState(s.states[i])
	}
}

// maxStreams is how many parameters are converted at once, each in a few MiB of
// the host's memory, while others are on their way.
const maxStreams = 4

// stream fills the parameters among the States of these indices from their
// sources. While it reads a source it holds no lock that others wait for.
func (s *Session) stream(ctx context.Context, u *uploader, fresh []int) error {
	var next atomic.Int64
	errs := make([]error, min(maxStreams, runtime.GOMAXPROCS(0)))
	var streams sync.WaitGroup
	for i := range errs {
		streams.Go(func() {
			for at := int(next.Add(1)) - 1; at < len(fresh); at = int(next.Add(1)) - 1 {
				p := s.program.Params[s.program.States[fresh[at]]]
				if p == nil {
					continue
				}
				if err := s.streamOne(ctx, u, p, s.states[fresh[at]]); err != nil {
					errs[i] = fmt.Errorf("parameter %s: %w", p.Name, err)
					next.Store(int64(len(fresh)))
				}
			}
		})
	}
	streams.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// streamOne uploads a parameter piece by piece.
func (s *Session) streamOne(ctx context.Context, u *uploader, p *graph.Param, m extents) error {
	if p.Source == nil {
		return errors.New("it has no source and was not written")
	}
	write := func(offset int64, data []byte) error {
		return u.alone(ctx, func() error { return u.fill(ctx, m, offset, data) })
	}
	if p.Packed() {
		return s.core.target.Packing(&p.State).Pack(p.Source.ReadF32, func(offset int64, words []uint32) error { return write(offset, bytesOf(words)) })
	}
	const piece = 1 << 20 // elements
	n := p.Shape.Elems()
	values := make([]float32, min(n, piece))
	for at := 0; at < n; at += len(values) {
		values = values[:min(len(values), n-at)]
		if err := p.Source.ReadF32(values, at); err != nil {
			return err
		}
		if err := write(4*int64(at), bytesOf(values)); err != nil {
			return err
		}
	}
	return nil
}

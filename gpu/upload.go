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

// upload fills the params and the parameters that the store lacks.
func (s *Session) upload() error {
	params := make([]uint32, len(s.program.Steps)*paramsBytes/4)
	for i, st := range s.program.Steps {
		copy(params[i*paramsBytes/4:], st.Params)
	}
	u := uploader{core: s.core}
	if err := u.alone(func(ctx context.Context) error { return u.write(ctx, s.params, 0, bytesOf(params)) }); err != nil {
		return err
	}
	var fresh []*graph.Param
	var err error
	for _, st := range s.program.States {
		if s.store.states[st] != nil {
			continue
		}
		if _, err = s.store.state(st); err != nil {
			break
		}
		if p := s.program.Params[st]; p != nil {
			fresh = append(fresh, p)
		}
	}
	if err == nil {
		err = s.stream(&u, fresh)
	}
	if err == nil {
		err = u.alone(u.flush)
	}
	if err != nil {
		s.store.forget(fresh)
	}
	return err
}

// maxStreams is how many parameters are converted at once, each in a few MiB of
// the host's memory, while others are on their way.
const maxStreams = 4

// stream fills parameters from their sources, which are read without holding a
// lock that others wait for.
func (s *Session) stream(u *uploader, params []*graph.Param) error {
	var next atomic.Int64
	errs := make([]error, min(maxStreams, runtime.GOMAXPROCS(0)))
	var streams sync.WaitGroup
	for i := range errs {
		streams.Go(func() {
			for at := int(next.Add(1)) - 1; at < len(params); at = int(next.Add(1)) - 1 {
				if err := s.streamOne(u, params[at]); err != nil {
					errs[i] = fmt.Errorf("parameter %s: %w", params[at].Name, err)
					next.Store(int64(len(params)))
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
func (s *Session) streamOne(u *uploader, p *graph.Param) error {
	if p.Source == nil {
		return errors.New("it has no source and was not written")
	}
	m := s.store.states[&p.State]
	write := func(offset int64, data []byte) error {
		return u.alone(func(ctx context.Context) error { return u.fill(ctx, m, offset, data) })
	}
	if p.Packed() {
		return p.Pack(p.Source.ReadF32, func(offset int64, words []uint32) error { return write(offset, bytesOf(words)) })
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

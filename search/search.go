// Package search finds the pictures of an index by what is on them: by words and by other
// pictures.
//
// A search is exact. The vectors of all pictures of the index lie in the device's memory;
// kernels multiply them by the query's vector and keep the greatest products, the cosines
// of the angles between picture and query. Use package index to make an index, and Options
// to make it fit a model.
package search

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// Decoding is how the pictures of an index are decoded for a model: upright, and JPEGs at
// a scale that suits it.
func Decoding(m *clip.Model) []preprocess.Option {
	return []preprocess.Option{preprocess.WithOrientation(), m.Preprocess().Draft()}
}

// Options are those of an index of m's vectors. source is where m comes from, as clip.Load
// takes it.
func Options(ctx context.Context, m *clip.Model, source string) (index.Options, error) {
	id, err := m.Identity(ctx, Decoding(m)...)
	if err != nil {
		return index.Options{}, err
	}
	text, err := json.Marshal(id)
	return index.Options{Model: source, Identity: string(text), Dim: m.Config().EmbedDim}, err
}

// Searcher searches an index. It is safe for concurrent use.
type Searcher struct {
	model *clip.Model
	index *index.Index
	dim   int
	known recent

	mu      sync.Mutex
	current *vectors // nil before the first search, and after Close
	closed  bool
}

// Hit is a picture that was found.
type Hit struct {
	index.Picture
	Score float32 // the cosine between picture and query: -1 to 1
}

// Result is what a search found.
type Result struct {
	Hits     []Hit // the best first; of equal ones that which came into the index first
	Searched int   // pictures that the filter chose
	// Encode is how long the query's vector took, Search how long it took from there to the
	// hits, with what the first search after a change waits for the vectors.
	Encode, Search time.Duration
}

// Open begins to read the vectors of x, which m must have made: else the error matches
// clip.ErrInput. m and x stay the caller's, who closes them after the Searcher.
func Open(ctx context.Context, m *clip.Model, x *index.Index) (*Searcher, error) {
	s := &Searcher{model: m, index: x, dim: x.Options().Dim}
	if m.Config().EmbedDim != s.dim {
		return nil, fmt.Errorf("%w: index %s has vectors of %d values, model %s makes %d", clip.ErrInput, x.Path(), s.dim, m.Name(), m.Config().EmbedDim)
	}
	v, err := s.acquire(ctx) // while the identity is being computed
	if err != nil {
		return nil, err
	}
	defer v.release()
	o, err := Options(ctx, m, "")
	if err == nil && o.Identity != x.Options().Identity {
		err = fmt.Errorf("%w: index %s has vectors of another model, %s, or of other weights or preprocessing", clip.ErrInput, x.Path(), x.Options().Model)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close frees the device's memory once searches in progress have ended. A second Close does
// nothing.
func (s *Searcher) Close() error {
	s.mu.Lock()
	v := s.current
	s.current, s.closed = nil, true
	s.mu.Unlock()
	if v != nil {
		v.retire()
		<-v.stopped
	}
	return nil
}

// acquire gives the vectors of the index as it is now; the caller releases them. It begins
// to read them where the index has changed. What is still being read is taken as it is, so
// that searches of an index that changes all the time come to an end.
func (s *Searcher) acquire(ctx context.Context) (*vectors, error) {
	version, err := s.index.Version(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, gpu.ErrClosed
	}
	if v := s.current; v == nil || v.outdated(version) {
		if v != nil {
			v.retire() // first, so that its memory is free
		}
		s.current = startVectors(s.model.Device(), s.index, version)
	}
	s.current.retain()
	return s.current, nil
}

// Search finds the pictures that q asks for. Errors about q match clip.ErrInput and name
// the term; an unreadable picture's names the file.
func (s *Searcher) Search(ctx context.Context, q Query) (Result, error) {
	if err := q.check(); err != nil {
		return Result{}, err
	}
	if q.Top == 0 {
		q.Top = DefaultTop
	}
	v, err := s.acquire(ctx)
	if err != nil {
		return Result{}, err
	}
	defer v.release()
	start := time.Now()
	var query []float32
	if len(q.Terms) > 0 {
		if query, err = s.vector(ctx, q.Terms); err != nil {
			return Result{}, err
		}
	}
	r := Result{Encode: time.Since(start)}
	start = time.Now()
	chosen, err := s.selected(ctx, q.Filter)
	if err != nil {
		return Result{}, err
	}
	var found []match
	if query == nil {
		found, r.Searched, err = v.last(ctx, chosen, q.Top)
	} else {
		found, r.Searched, err = v.search(ctx, query, chosen, q.Top, q.Threshold)
	}
	if err == nil {
		r.Hits, err = s.hits(ctx, found)
	}
	r.Search = time.Since(start)
	return r, err
}

// selection are the pictures that a filter chose: all, or those of ids, sorted.
type selection struct {
	all bool
	ids []int64
}

func (s *Searcher) selected(ctx context.Context, f index.Filter) (selection, error) {
	if f.Since.IsZero() && f.Until.IsZero() && len(f.Under)+len(f.Exclude)+len(f.Names) == 0 {
		return selection{all: true}, nil
	}
	ids, err := s.index.Select(ctx, f)
	return selection{ids: ids}, err
}

// hits tells of the pictures that were found, without those that are gone by now.
func (s *Searcher) hits(ctx context.Context, found []match) ([]Hit, error) {
	ids := make([]int64, len(found))
	for i, m := range found {
		ids[i] = m.id
	}
	pictures, err := s.index.Pictures(ctx, ids)
	if err != nil {
		return nil, err
	}
	hits := make([]Hit, 0, len(pictures))
	for _, m := range found {
		if n := len(hits); n < len(pictures) && pictures[n].ID == m.id {
			hits = append(hits, Hit{pictures[n], m.score})
		}
	}
	return hits, nil
}

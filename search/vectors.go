package search

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// vectors are those of an index on a device, piece by piece as they are read.
type vectors struct {
	version int64
	device  *gpu.Device
	width   int // values of a vector, with the zeros that fill it up
	cancel  context.CancelFunc
	stopped chan struct{} // closed when nothing is read any more

	mu     sync.Mutex
	store  *gpu.Store
	pieces []*piece
	grown  chan struct{} // closed, and made anew, when there is another piece or no more
	ended  bool          // all are there, or err says why not
	err    error
	users  int // searches, the loading, and the Searcher
}

// match is a picture that was found.
type match struct {
	id    int64
	score float32
}

// startVectors begins to read the vectors of x, in a goroutine of its own. The caller
// retires them in the end.
func startVectors(d *gpu.Device, x *index.Index, version int64) *vectors {
	ctx, cancel := context.WithCancel(context.Background())
	v := &vectors{
		version: version, device: d, store: d.NewStore(), cancel: cancel,
		width: graph.Ceil(x.Options().Dim, multiple) * multiple,
		grown: make(chan struct{}), users: 2, stopped: make(chan struct{}),
	}
	go func() {
		defer close(v.stopped)
		defer v.release()
		err := v.load(ctx, x)
		if ctx.Err() != nil {
			err = gpu.ErrClosed
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.ended, v.err = true, err
		close(v.grown)
	}()
	return v
}

// outdated reports whether other vectors are to be read for a version of the index.
func (v *vectors) outdated(version int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ended && (v.err != nil || v.version != version)
}

func (v *vectors) retain() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.users++
}

// release frees the device's memory when the last user leaves.
func (v *vectors) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.users--; v.users > 0 {
		return
	}
	for _, p := range v.pieces {
		p.close()
	}
	v.store.Close()
}

// retire ends the reading, if it goes on, and the Searcher's use.
func (v *vectors) retire() {
	v.cancel()
	v.release()
}

// piece waits for piece i, and is nil behind the last.
func (v *vectors) piece(ctx context.Context, i int) (*piece, error) {
	for {
		v.mu.Lock()
		grown, ended := v.grown, v.ended
		if i < len(v.pieces) {
			defer v.mu.Unlock()
			return v.pieces[i], nil
		}
		err := v.err
		v.mu.Unlock()
		if ended {
			return nil, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// add shows a piece to those who search.
func (v *vectors) add(p *piece) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pieces = append(v.pieces, p)
	close(v.grown)
	v.grown = make(chan struct{})
}

// load reads the vectors of x into the device's memory. Scan reads the next ones meanwhile.
func (v *vectors) load(ctx context.Context, x *index.Index) error {
	left, err := x.Len(ctx)
	if err != nil {
		return err
	}
	var p *piece
	err = x.Scan(ctx, func(ids []int64, rows []byte) error {
		width := 2 * x.Options().Dim
		for len(ids) > 0 {
			if p == nil {
				p = v.newPiece(left)
			}
			n := min(len(ids), p.rows-len(p.ids))
			if err := p.write(ctx, ids[:n], rows[:n*width]); err != nil {
				return err
			}
			ids, rows, left = ids[n:], rows[n*width:], left-n
			if len(p.ids) == p.rows {
				v.add(p)
				p = nil
			}
		}
		return nil
	})
	if err == nil && p != nil {
		v.add(p)
	}
	return err
}

// search finds the pictures, at most top, whose scores are the greatest.
func (v *vectors) search(ctx context.Context, query []float32, chosen selection, top int, threshold float32) (found []match, searched int, err error) {
	query = append(slices.Clone(query), make([]float32, v.width-len(query))...)
	for i := 0; ; i++ {
		p, err := v.piece(ctx, i)
		if p == nil || err != nil {
			return found, searched, err
		}
		mask, n := p.mask(&chosen)
		if searched += n; n == 0 {
			continue
		}
		matches, err := p.search(ctx, query, mask, min(top, n))
		if err != nil {
			return nil, 0, err
		}
		for _, m := range matches {
			if threshold == 0 || m.score >= threshold {
				found = append(found, m)
			}
		}
		slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(b.score, a.score) })
		found = found[:min(top, len(found))]
	}
}

// last finds the pictures, at most top, that came into the index last.
func (v *vectors) last(ctx context.Context, chosen selection, top int) (found []match, searched int, err error) {
	var ids []int64
	for i := 0; ; i++ {
		p, err := v.piece(ctx, i)
		if err != nil {
			return nil, 0, err
		}
		if p == nil {
			break
		}
		for _, id := range p.ids {
			if chosen.all || chosen.has(id) {
				ids = append(ids, id)
			}
		}
	}
	for _, id := range slices.Backward(ids[max(0, len(ids)-top):]) {
		found = append(found, match{id: id})
	}
	return found, len(ids), nil
}

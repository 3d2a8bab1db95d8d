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

// block are vectors on their way to the device.
type block struct {
	ids  []int64
	rows []byte
}

// load reads the vectors of x into the device's memory. One block is read while the one
// before is on its way.
func (v *vectors) load(ctx context.Context, x *index.Index) error {
	left, err := x.Len(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	full, empty := make(chan block), make(chan block, 1)
	empty <- block{}
	written := make(chan error)
	go func() {
		err := v.write(ctx, full, empty, left)
		cancel()
		written <- err
	}()
	err = x.Scan(ctx, func(ids []int64, rows []byte) error {
		var b block
		select {
		case b = <-empty:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case full <- block{append(b.ids[:0], ids...), append(b.rows[:0], rows...)}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(full)
	return cmp.Or(<-written, err)
}

// write makes pieces of the blocks that come from full, and gives their memory to empty.
// left are the rows to come, as far as that is known.
func (v *vectors) write(ctx context.Context, full <-chan block, empty chan<- block, left int) error {
	var p *piece
	for b := range full {
		for at := 0; at < len(b.ids); {
			if p == nil {
				p = v.newPiece(left)
			}
			n := min(len(b.ids)-at, p.rows-len(p.ids))
			width := len(b.rows) / len(b.ids)
			if err := p.write(ctx, b.ids[at:at+n], b.rows[at*width:(at+n)*width]); err != nil {
				return err
			}
			at, left = at+n, left-n
			if len(p.ids) == p.rows {
				v.add(p)
				p = nil
			}
		}
		empty <- b
	}
	if p != nil && ctx.Err() == nil {
		v.add(p)
	}
	return nil
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

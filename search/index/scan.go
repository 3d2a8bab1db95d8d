package index

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"slices"
)

const (
	scanBlock = 4096 // ids that are read, and passed on, at once
	maxScans  = 4    // blocks that are read at once
)

// scanned is a block of Scan's.
type scanned struct {
	ids     []int64
	vectors []byte
	err     error
}

// Scan passes on the ids and unit vectors of all pictures, in the order of their ids and
// some at a time: vectors are f16, little-endian, [len(ids), Dim]. Both are valid until
// the function returns. An error of it ends the scan. Blocks are read on several cores:
// where the index is updated meanwhile, Version tells, and pictures may be missing.
func (x *Index) Scan(ctx context.Context, block func(ids []int64, vectors []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first, last int64
	if err := x.db.QueryRowContext(ctx, `SELECT coalesce(min(id), 0), coalesce(max(id), -1) FROM vectors`).Scan(&first, &last); err != nil {
		return failed(x.path, err)
	}
	n := min(maxScans, runtime.GOMAXPROCS(0))
	turns, spare := make(chan chan *scanned, n), make(chan *scanned, n)
	for range n {
		spare <- &scanned{}
	}
	go func() {
		defer close(turns)
		for ; first <= last; first += scanBlock {
			turn := make(chan *scanned, 1)
			var s *scanned
			select {
			case s = <-spare:
			case <-ctx.Done():
				return
			}
			turns <- turn // which has room for as many as are not spare
			go func(from int64) {
				s.err = x.scanBlock(ctx, s, from)
				turn <- s
			}(first)
		}
	}()
	for turn := range turns {
		s := <-turn
		if s.err != nil {
			return failed(x.path, s.err)
		}
		if len(s.ids) > 0 {
			if err := block(s.ids, s.vectors); err != nil {
				return err
			}
		}
		spare <- s
	}
	return ctx.Err()
}

// withoutFiles is the condition that an orphan is no picture any more: an update has dropped
// its files, and has been killed or will soon drop it, too.
const withoutFiles = `NOT EXISTS (SELECT 1 FROM files WHERE files.content = orphans.content)`

// lost are those of up to scanBlock ids that have no files any more, sorted.
func (x *Index) lost(ctx context.Context, from int64) ([]int64, error) {
	rows, err := x.db.QueryContext(ctx, `SELECT content FROM orphans WHERE content >= ? AND content < ? AND `+withoutFiles+` ORDER BY content`, from, from+scanBlock)
	if err != nil {
		return nil, err
	}
	return collect[int64](rows)
}

// scanBlock reads the vectors of up to scanBlock ids into s.
func (x *Index) scanBlock(ctx context.Context, s *scanned, from int64) error {
	s.ids, s.vectors = s.ids[:0], s.vectors[:0]
	lost, err := x.lost(ctx, from)
	if err != nil {
		return err
	}
	rows, err := x.db.QueryContext(ctx, `SELECT id, vector FROM vectors WHERE id >= ? AND id < ? ORDER BY id`, from, from+scanBlock)
	if err != nil {
		return err
	}
	defer rows.Close()
	width := 2 * x.options.Dim
	for rows.Next() {
		var id int64
		var vector sql.RawBytes
		if err := rows.Scan(&id, &vector); err != nil {
			return err
		}
		if _, is := slices.BinarySearch(lost, id); is {
			continue
		}
		if len(vector) != width {
			return fmt.Errorf("%w: picture %d has a vector of %d bytes, want %d", ErrDamaged, id, len(vector), width)
		}
		s.ids, s.vectors = append(s.ids, id), append(s.vectors, vector...)
	}
	return rows.Err()
}

package index

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// scanBlock is how many vectors Scan passes on at most at once: 1 MiB of 512 values. With
// 4096 a search took 17 MB more and the same time.
const scanBlock = maxBlockRows

// scanned is a block of Scan's.
type scanned struct {
	ids     []int64
	vectors []byte
}

// Scan passes on the ids and unit vectors of all pictures, in the order of their ids and
// some at a time: vectors are f16, little-endian, [len(ids), Dim]. Both are valid until
// the function returns; the next ones are read meanwhile. An error of it ends the scan.
func (x *Index) Scan(ctx context.Context, block func(ids []int64, vectors []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	full, spare := make(chan *scanned), make(chan *scanned, 2)
	for range cap(spare) {
		spare <- &scanned{}
	}
	var failure error
	go func() {
		defer close(full)
		failure = x.read(ctx, full, spare)
	}()
	defer func() {
		cancel()
		for range full { // until the reading has ended
		}
	}()
	for s := range full {
		if err := block(s.ids, s.vectors); err != nil {
			return err
		}
		spare <- s
	}
	return failed(x.path, failure)
}

// withoutFiles is the condition that an orphan is no picture any more: an update has dropped
// its files, and has been killed or will soon drop it, too.
const withoutFiles = `NOT EXISTS (SELECT 1 FROM files WHERE files.content = orphans.content)`

// reading is what Scan's goroutine reads: one state of the index.
type reading struct {
	*sql.Tx
	width int
	lost  []int64 // pictures that have no files any more, sorted
	full  chan<- *scanned
	spare <-chan *scanned
	left  *scanned // of the blocks, not yet handed over
}

// read reads all vectors, in blocks that it takes from spare and hands over to full.
func (x *Index) read(ctx context.Context, full chan<- *scanned, spare <-chan *scanned) error {
	tx, err := x.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	rows, err := tx.QueryContext(ctx, `SELECT id FROM freed UNION SELECT content FROM orphans WHERE `+withoutFiles+` ORDER BY 1`)
	if err != nil {
		return err
	}
	r := &reading{Tx: tx, width: 2 * x.options.Dim, full: full, spare: spare}
	if r.lost, err = collect[int64](rows); err != nil {
		return err
	}
	if err := r.blocks(ctx); err != nil {
		return err
	}
	return r.loose(ctx)
}

// blocks reads the blocks.
func (r *reading) blocks(ctx context.Context) error {
	rows, err := r.QueryContext(ctx, `SELECT ids, vectors FROM blocks ORDER BY first`)
	if err != nil {
		return err
	}
	defer rows.Close()
	s, err := r.next(ctx)
	for err == nil && rows.Next() {
		var b block
		if err := rows.Scan((*sql.RawBytes)(&b.ids), (*sql.RawBytes)(&b.vectors)); err != nil {
			return err
		}
		if err := b.check(r.width); err != nil {
			return err
		}
		left := b.without(r.lost)
		for row := range left.rows() {
			s.ids = append(s.ids, left.id(row))
		}
		if s.vectors = append(s.vectors, left.vectors...); len(s.ids) == 0 {
			continue
		}
		if err = r.pass(ctx, s); err == nil {
			s, err = r.next(ctx)
		}
	}
	if err == nil {
		err = rows.Err()
	}
	if err == nil {
		r.left = s
	}
	return err
}

// loose reads the loose vectors.
func (r *reading) loose(ctx context.Context) error {
	rows, err := r.QueryContext(ctx, `SELECT id, vector FROM loose ORDER BY id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	s := r.left
	for err == nil && rows.Next() {
		var id int64
		var vector sql.RawBytes
		if err := rows.Scan(&id, &vector); err != nil {
			return err
		}
		if _, is := slices.BinarySearch(r.lost, id); is {
			continue
		}
		if len(vector) != r.width {
			return fmt.Errorf("%w: picture %d has a vector of %d bytes, want %d", ErrDamaged, id, len(vector), r.width)
		}
		if s.ids, s.vectors = append(s.ids, id), append(s.vectors, vector...); len(s.ids) < scanBlock {
			continue
		}
		if err = r.pass(ctx, s); err == nil {
			s, err = r.next(ctx)
		}
	}
	if err == nil {
		err = rows.Err()
	}
	if err == nil {
		err = r.pass(ctx, s)
	}
	return err
}

// next is memory for what is read next.
func (r *reading) next(ctx context.Context) (*scanned, error) {
	select {
	case s := <-r.spare:
		s.ids, s.vectors = s.ids[:0], s.vectors[:0]
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pass hands over what was read last, unless that is nothing.
func (r *reading) pass(ctx context.Context, s *scanned) error {
	if len(s.ids) == 0 {
		return nil
	}
	select {
	case r.full <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

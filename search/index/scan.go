package index

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// scanBlock is how many vectors Scan passes on at once.
const scanBlock = 4096

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

// lost are the ids of pictures that have no files any more, sorted.
func (x *Index) lost(ctx context.Context) ([]int64, error) {
	rows, err := x.db.QueryContext(ctx, `SELECT content FROM orphans WHERE `+withoutFiles+` ORDER BY content`)
	if err != nil {
		return nil, err
	}
	return collect[int64](rows)
}

// read reads all vectors, in blocks that it takes from spare and hands over to full.
func (x *Index) read(ctx context.Context, full chan<- *scanned, spare <-chan *scanned) error {
	lost, err := x.lost(ctx)
	if err != nil {
		return err
	}
	rows, err := x.db.QueryContext(ctx, `SELECT id, vector FROM vectors ORDER BY id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	width, s := 2*x.options.Dim, <-spare
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
		if s.ids, s.vectors = append(s.ids, id), append(s.vectors, vector...); len(s.ids) < scanBlock {
			continue
		}
		select {
		case full <- s:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case s = <-spare:
			s.ids, s.vectors = s.ids[:0], s.vectors[:0]
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(s.ids) > 0 {
		select {
		case full <- s:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

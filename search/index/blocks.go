package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// A vector is written loose, in a row of its own. As soon as there are enough, they move
// into a block: one row for many, because reading a row costs more than reading a vector.
// Ids only grow, so blocks have ranges of ids in order, and loose vectors come behind them.
const (
	blockBytes   = 1 << 20 // of vectors
	maxBlockRows = 1024
)

// Of a block's rows at most so many are those of pictures that are gone: 1 of freedPart.
const freedPart = 4

// blockRows is how many vectors of dim values a block has at most.
func blockRows(dim int) int { return max(1, min(maxBlockRows, blockBytes/(2*dim))) }

// block are vectors with their ids, as they are stored.
type block struct {
	ids     []byte // 64 bits each, little-endian
	vectors []byte
}

func (b *block) rows() int { return len(b.ids) / 8 }

func (b *block) id(row int) int64 { return int64(binary.LittleEndian.Uint64(b.ids[8*row:])) }

func (b *block) add(id int64, vectors []byte) {
	b.ids = binary.LittleEndian.AppendUint64(b.ids, uint64(id))
	b.vectors = append(b.vectors, vectors...)
}

// check finds damage: vectors have width bytes.
func (b *block) check(width int) error {
	if len(b.ids)%8 != 0 || len(b.vectors) != b.rows()*width || b.rows() == 0 {
		return fmt.Errorf("%w: a block has %d bytes of vectors, want %d for %d bytes of ids", ErrDamaged, len(b.vectors), b.rows()*width, len(b.ids))
	}
	return nil
}

// without is b without the rows of some ids, which are sorted. It shares b's memory where
// it has them all.
func (b *block) without(gone []int64) *block {
	first, _ := slices.BinarySearch(gone, b.id(0))
	end, _ := slices.BinarySearch(gone, b.id(b.rows()-1)+1)
	if gone = gone[first:end]; len(gone) == 0 {
		return b
	}
	left, width := &block{}, len(b.vectors)/b.rows()
	for row := range b.rows() {
		if _, is := slices.BinarySearch(gone, b.id(row)); !is {
			left.add(b.id(row), b.vectors[row*width:(row+1)*width])
		}
	}
	return left
}

// packAll makes blocks of all loose vectors but for the rest that fills none: an index of
// an older format has many.
func (w *writer) packAll(ctx context.Context) error {
	for {
		packed, err := w.pack()
		if err == nil && !packed {
			w.rollback() // it has only asked
			return nil
		}
		if err == nil {
			err = w.commit()
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
}

// pack makes a block of the loose vectors where there are enough, and tells whether it did.
func (w *writer) pack() (bool, error) {
	last, err := w.get(`SELECT id FROM loose ORDER BY id LIMIT 1 OFFSET ?`, w.blockRows-1)
	if err != nil || last == 0 {
		return false, err
	}
	rows, err := w.query(`SELECT id, vector FROM loose WHERE id <= ? ORDER BY id`, last)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var b block
	for rows.Next() {
		var id int64
		var vector []byte
		if err := rows.Scan(&id, &vector); err != nil {
			return false, err
		}
		b.add(id, vector)
	}
	if err := rows.Err(); err != nil {
		return false, err
	}
	if err := b.check(w.width); err != nil {
		return false, err
	}
	if err := w.exec(`DELETE FROM loose WHERE id <= ?`, last); err != nil {
		return false, err
	}
	return true, w.putBlock(&b)
}

// putBlock writes a block.
func (w *writer) putBlock(b *block) error {
	return w.exec(`INSERT INTO blocks VALUES (?, ?, ?, ?, ?)`, b.id(0), b.id(b.rows()-1), b.rows(), b.ids, b.vectors)
}

// takeBlock reads a block, by its first id, and deletes it.
func (w *writer) takeBlock(first int64) (*block, error) {
	s, err := w.prepared(`SELECT ids, vectors FROM blocks WHERE first = ?`)
	if err != nil {
		return nil, err
	}
	var b block
	if err := s.QueryRow(first).Scan(&b.ids, &b.vectors); err != nil {
		return nil, err
	}
	if err := b.check(w.width); err != nil {
		return nil, err
	}
	return &b, w.exec(`DELETE FROM blocks WHERE first = ?`, first)
}

// compact takes the rows that are free out of the blocks that have many. Each block is one
// transaction.
func (w *writer) compact() error {
	for from := int64(1); ; {
		first, err := w.get(`SELECT first FROM blocks WHERE first >= ?
			AND ? * (SELECT count(*) FROM freed WHERE id BETWEEN first AND last) >= count ORDER BY first LIMIT 1`, from, freedPart)
		if err != nil || first == 0 {
			return err
		}
		if from, err = w.compactBlock(first); err != nil {
			return err
		}
		if err := w.commit(); err != nil {
			return err
		}
	}
}

// compactBlock drops the free rows of a block, and puts what is left together with the
// blocks before and behind it where that fits. It returns the first id of what it wrote.
func (w *writer) compactBlock(first int64) (int64, error) {
	b, err := w.takeBlock(first)
	if err != nil {
		return 0, err
	}
	last := b.id(b.rows() - 1)
	rows, err := w.query(`SELECT id FROM freed WHERE id BETWEEN ? AND ? ORDER BY id`, first, last)
	if err != nil {
		return 0, err
	}
	gone, err := collect[int64](rows)
	if err != nil {
		return 0, err
	}
	if err := w.exec(`DELETE FROM freed WHERE id BETWEEN ? AND ?`, first, last); err != nil {
		return 0, err
	}
	if b = b.without(gone); b.rows() == 0 {
		return last, nil
	}
	before, err := w.neighbour(`SELECT first, count FROM blocks WHERE first < ? ORDER BY first DESC LIMIT 1`, b)
	if err != nil {
		return 0, err
	}
	b = before.joined(b)
	behind, err := w.neighbour(`SELECT first, count FROM blocks WHERE first > ? ORDER BY first LIMIT 1`, b)
	if err != nil {
		return 0, err
	}
	b = b.joined(behind)
	return b.id(0), w.putBlock(b)
}

// neighbour takes the block that query finds beside b, if both fit one block: else nil.
func (w *writer) neighbour(query string, b *block) (*block, error) {
	first, err := w.get(`SELECT first FROM (`+query+`) WHERE count <= ?`, b.id(0), w.blockRows-b.rows())
	if err != nil || first == 0 {
		return nil, err
	}
	return w.takeBlock(first)
}

// joined are the rows of both; of one where the other is nil.
func (b *block) joined(behind *block) *block {
	switch {
	case b == nil:
		return behind
	case behind == nil:
		return b
	}
	return &block{append(b.ids, behind.ids...), append(b.vectors, behind.vectors...)}
}

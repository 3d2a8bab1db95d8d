package graph

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

// Chunk is a run of rows, along its first dimension, of a tensor that is too
// long to be bound whole: a kernel that can takes one chunk a launch. A tensor
// that is not too long is one chunk.
type Chunk struct {
	Index     int
	Row, Rows int // the first, and how many
	Elems     int
}

// SizeError says that a kernel needs all of a tensor that is too long for it. A
// smaller batch may help.
type SizeError struct {
	Spec  Spec
	Limit int64 // in bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%v takes %d bytes, a kernel binds at most %d", e.Spec, e.Spec.Bytes(), e.Limit)
}

// chunks cuts s into chunks of at most limit bytes, all but the last of one
// size, which the alignment divides. It is one chunk where limit is too small
// for that.
func (s Spec) chunks(limit int64) []Chunk {
	if len(s.Shape) == 0 {
		return []Chunk{{Rows: 1, Elems: 1}}
	}
	total, width := s.Shape[0], s.Shape[1:].Elems()
	rows := total
	if s.Bytes() > limit {
		rows = int(limit/(alignment*int64(width))) * (alignment / 4)
	}
	if rows == 0 || rows == total {
		return []Chunk{{Rows: total, Elems: total * width}}
	}
	var all []Chunk
	for row := 0; row < total; row += rows {
		n := min(rows, total-row)
		all = append(all, Chunk{len(all), row, n, n * width})
	}
	return all
}

// PerChunk gives, while lowering, a launch for every chunk of tensors like s.
func (n *Node) PerChunk(s Spec, launch func(c Chunk) Launch) []Launch {
	var all []Launch
	for _, c := range s.chunks(n.g.BindingLimit()) {
		l := launch(c)
		l.chunk = c
		all = append(all, l)
	}
	return all
}

// Binds reports, while lowering, whether a kernel can bind all of a tensor like s.
func (n *Node) Binds(s Spec) bool { return s.Bytes() <= n.g.BindingLimit() }

// BindsWeight reports, while lowering, whether a kernel can bind all of w.
func (n *Node) BindsWeight(w packing.Weight) bool { return w.Bytes() <= n.g.BindingLimit() }

// piece is a chunk of a tensor, which has its own place in memory; the zero
// piece is that of an absent tensor.
type piece struct {
	Tensor
	Chunk
}

// OfPart makes l bind, of a packed State, the part that begins with row from.
func (l Launch) OfPart(part packing.Weight, from int) Launch {
	l.part = Chunk{packedPart, from / 4, part.Blocks(), int(part.Bytes() / 4)}
	return l
}

// packedPart is the Index of what OfPart makes, whose rows are those of blocks.
const packedPart = -1

// piece is what l binds of t: all of it or, where t is too long, l's chunk if that
// is one of t's chunks. Of a packed State it is l's part.
func (b *builder) piece(t Tensor, l Launch) (piece, error) {
	if !t.Valid() {
		return piece{}, nil
	}
	chunks := b.chunks(t)
	p := piece{t, chunks[0]}
	if len(chunks) > 1 {
		p.Chunk = l.chunk
	}
	part := b.packed(t) && l.part.Elems > 0
	if part {
		p.Chunk = l.part
	}
	if limit := b.g.BindingLimit(); !part && !slices.Contains(chunks, p.Chunk) || b.bytes(p) > limit {
		return p, &SizeError{t.Spec(), limit}
	}
	return p, nil
}

// chunks are those of t. Packed States have one.
func (b *builder) chunks(t Tensor) []Chunk {
	limit := b.g.BindingLimit()
	if b.packed(t) {
		limit = math.MaxInt64
	}
	return t.Spec().chunks(limit)
}

// packed reports whether t is a packed State.
func (b *builder) packed(t Tensor) bool {
	s, ok := b.fixed[t]
	return ok && s.Space == SpaceState && b.prog.States[s.Index].Packed()
}

// whole reports whether p is all of its tensor.
func (p piece) whole() bool { return p.Index != packedPart && p.Elems == p.Spec().Shape.Elems() }

// bytes is the size of p on the device.
func (b *builder) bytes(p piece) int64 {
	if s, ok := b.fixed[p.Tensor]; ok && p.whole() {
		return s.Bytes
	}
	return 4 * int64(p.Elems)
}

// offset is where in its tensor p begins, in bytes.
func (p piece) offset() int64 { return 4 * int64(p.Row) * int64(p.Elems/p.Rows) }

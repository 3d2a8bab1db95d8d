package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// gemm is one launch of a kernel of products: for every batch and head,
// c [m, n] = alpha · a [m, k] · b [k, n] + bias [n].
type gemm struct {
	m, n, k        int
	batches, heads int
	a, b, c        strides
	alpha          float64
	hasBias        bool
}

// strides are where a matrix in a batch of heads begins and the distances
// between its neighbours, in elements.
type strides struct{ base, batch, head, row, col int }

// at is the index of element (row, col) of the matrix of a batch and head.
func (s strides) at(batch, head, row, col int) int {
	return s.base + batch*s.batch + head*s.head + row*s.row + col*s.col
}

// t is the transposed matrix.
func (s strides) t() strides {
	s.row, s.col = s.col, s.row
	return s
}

// matrices are [batch, rows, cols], row-major.
func matrices(rows, cols int) strides { return strides{batch: rows * cols, row: cols, col: 1} }

// heads are the [rows, width] matrices inside [batch, rows, heads·width].
func heads(rows, heads, width int) strides {
	return strides{batch: rows * heads * width, head: width, row: heads * width, col: 1}
}

// qkvHeads are the matrices of heads in rows that hold queries, keys and values side
// by side; part is 0, 1 or 2 of these.
func qkvHeads(rows, heads, width, part int) strides {
	row := 3 * heads * width
	return strides{base: part * heads * width, batch: rows * row, head: width, row: row, col: 1}
}

// headMaps are [batch, heads, rows, cols], row-major.
func headMaps(heads, rows, cols int) strides {
	return strides{batch: heads * rows * cols, head: rows * cols, row: cols, col: 1}
}

// productKernels are the kernels of products, the one to take where nothing was
// measured first.
func productKernels(a graph.Adapter, products ...gemm) []shaders.Variant {
	return startWith([]shaders.Variant{kernel("matmul"), kernel("matmul_tile")}, productDefault(a, products...))
}

// tiles counts the workgroups of a kernel that make results [rows, cols], and reports
// whether a quarter or more of what they make is wanted.
func tiles(v shaders.Variant, rows, cols int) (count int, wanted bool) {
	size := tile(v)
	count = graph.Ceil(rows, size[0]) * graph.Ceil(cols, size[1])
	return count, 4*rows*cols >= count*size[0]*size[1]
}

// class names problems that one kernel suits: all sizes count to the next power of two.
func (p gemm) class() string {
	orders := ""
	for _, s := range []strides{p.a, p.b} {
		orders += map[bool]string{false: "r", true: "t"}[s.row < s.col]
	}
	size := fmt.Sprintf("%d×%d×%d", powerOfTwo(p.m), powerOfTwo(p.n), powerOfTwo(p.k))
	if groups := p.batches * p.heads; groups > 1 {
		size = fmt.Sprintf("%d of %s", powerOfTwo(groups), size)
	}
	return fmt.Sprintf("matmul %s %s", orders, size)
}

// choose is launch by the kernel that suits the product alone.
func (p gemm) choose(n *graph.Node, a, b, bias, c graph.Arg) graph.Launch {
	return p.launch(chooseKernel(n, p.class(), productKernels(n.Adapter(), p)), a, b, bias, c)
}

func (p gemm) launch(v shaders.Variant, a, b, bias, c graph.Arg) graph.Launch {
	groups := p.batches * p.heads
	params := []uint32{uint32(p.m), uint32(p.n), uint32(p.k), uint32(groups), uint32(p.heads)}
	for _, s := range []strides{p.a, p.b, p.c} {
		params = append(params, uint32(s.base), uint32(s.batch), uint32(s.head), uint32(s.row), uint32(s.col))
	}
	return graph.Launch{
		Kernel: v,
		Params: append(params, bits(p.alpha), flag(p.hasBias)),
		Args:   []graph.Arg{a, b, bias, c},
		Batch:  groups,
		Rows:   p.m,
		Cols:   p.n,
		FLOPs:  2 * int64(groups) * int64(p.m) * int64(p.n) * int64(p.k),
	}
}

package tests

import (
	"fmt"
	"slices"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// What the table's other rows do not ask of the kernels of products that a GPU takes
// where they fill it.

const (
	productTile    = "matmul_tile"
	weightGradTile = "linear_weight_grad_tile"
)

// tolLong is tolDot for sums of 4,100 products: √n·2⁻²⁴ again.
const tolLong = 4e-6

// productCase is a product, of which either operand may be stored transposed; batch 0
// are matrices alone.
func productCase(batch, m, k, n int, transA, transB bool) opCase {
	shape := func(rows, cols int, transposed bool) (s graph.Shape) {
		if batch > 0 {
			s = graph.Shape{batch}
		}
		if transposed {
			rows, cols = cols, rows
		}
		return append(s, rows, cols)
	}
	return opCase{
		name:    fmt.Sprintf("%d of %d×%d by %d×%d, transposed: %t, %t", batch, m, k, k, n, transA, transB),
		tol:     tolDot,
		variant: productTile,
		inputs:  []opInput{{name: "a", shape: shape(m, k, transA)}, {name: "b", shape: shape(k, n, transB)}},
		build: one(func(g *graph.Graph, in tensors) graph.Tensor {
			return ops.MatMul(g, in["a"], in["b"], transA, transB)
		}),
	}
}

// TestProductTiles has operands lie in all ways. Gradients are products again, whose
// operands lie in others.
func TestProductTiles(t *testing.T) {
	var cases []opCase
	for _, transA := range []bool{false, true} {
		for _, transB := range []bool{false, true} {
			for _, s := range [][4]int{
				{0, 1, 1, 1}, {0, 3, 17, 65}, {0, 65, 129, 17}, {0, 129, 65, 3}, {0, 64, 16, 64}, {3, 17, 33, 65},
			} {
				cases = append(cases, productCase(s[0], s[1], s[2], s[3], transA, transB))
			}
			outer, long := productCase(0, 65, 1, 129, transA, transB), productCase(2, 17, 4100, 65, transA, transB)
			outer.noGrad = []string{"a", "b"} // gradients of one column, of which any may cancel
			long.noGrad, long.tol = outer.noGrad, tolLong
			cases = append(cases, outer, long)
		}
	}
	for _, s := range [][3]int{{1, 1, 1}, {7, 63, 65}, {129, 20, 131}} { // with a bias
		c := linearGradCase(packing.RowMajor, productTile, s[0], s[1], s[2])
		c.tol = tolDot
		cases = append(cases, c)
	}
	runOpCases(t, cases)
}

// TestAttentionInTiles has heads in rows, scaled scores, and maps of probabilities as
// operands: of attention, and then of its gradient.
func TestAttentionInTiles(t *testing.T) {
	var cases []opCase
	for _, variant := range []string{"three passes in tiles", productTile} {
		for _, c := range slices.Concat(attentionCases(), selfAttentionCases()) {
			c.name, c.variant = c.name+", "+variant, variant
			cases = append(cases, c)
		}
	}
	runOpCases(t, cases)
}

// TestWeightGradTiles has tiles with edges, in one slice of the rows and in several, of
// which the last is shorter.
func TestWeightGradTiles(t *testing.T) {
	var cases []opCase
	for _, s := range [][3]int{{1, 4, 4}, {17, 68, 132}, {65, 64, 64}, {63, 132, 20}, {511, 8, 36}, {512, 72, 68}, {2115, 8, 36}} {
		cases = append(cases, linearGradCase(packing.F32, weightGradTile, s[0], s[1], s[2]))
	}
	for _, rows := range []int{197, 600} {
		for _, frozen := range [][]string{{"w"}, {"bias"}, {"x", "w"}, {"x"}} {
			c := linearGradCase(packing.F32, "", rows, 12, 8, frozen...)
			if !slices.Contains(frozen, "w") {
				c.variant = weightGradTile
			}
			cases = append(cases, c)
		}
	}
	long := linearGradCase(packing.F32, weightGradTile, 4100, 12, 8, "x")
	long.tol, long.kink = tolLong, true // its finite differences take long
	runOpCases(t, append(cases, long))
}

// tilesOnDX12 are cases of the kernels of tiles that are others on DX12.
func tilesOnDX12() (cases []opCase) {
	for _, trans := range []bool{false, true} {
		cases = append(cases, productCase(3, 65, 19, 129, trans, false), productCase(3, 65, 19, 129, trans, true))
	}
	for _, rows := range []int{65, 600} {
		cases = append(cases, linearGradCase(packing.F32, weightGradTile, rows, 68, 132))
	}
	return cases
}

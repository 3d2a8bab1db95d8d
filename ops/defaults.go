package ops

import (
	"cmp"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// This file says which of several kernels is taken where the user's tune has measured
// nothing, by the shape of the problem and the type of adapter. The columns hold what was
// fastest on Mesa's software driver (CPU) and on an NVIDIA H200 (Discrete). Nobody has
// measured an integrated GPU: its column is a copy of Discrete's. Nor were matmul_tile and
// linear_weight_grad_tile measured, whose bounds are those of linear_tile, nor linear_row,
// attention and attention_grad_tile.

// pick is one of the variants of a kernel's file. It is a place, not a value, because an
// edited file may tune other values.
type pick struct {
	file  string
	order func(a, b shaders.Variant) int // of the variants; nil is the file's
	place func(count int) int            // in this order
}

func smallest(int) int     { return 0 }
func middle(count int) int { return count / 2 }
func largest(count int) int {
	return count - 1
}

// variant is the one that is picked.
func (p pick) variant() shaders.Variant {
	all := slices.Clone(tuned(p.file))
	if p.order != nil {
		slices.SortStableFunc(all, p.order)
	}
	return all[p.place(len(all))]
}

// byAdapter has a column for each type of adapter. A column without a file leaves the
// choice to the rows below.
type byAdapter struct{ cpu, integrated, discrete pick }

func (c byAdapter) of(a graph.Adapter) pick {
	switch a {
	case graph.CPU:
		return c.cpu
	case graph.Integrated:
		return c.integrated
	}
	return c.discrete
}

// onGPUs are columns that are alike for all GPUs.
func onGPUs(p pick) byAdapter { return byAdapter{integrated: p, discrete: p} }

var (
	singleRow     = pick{"linear_row", nil, smallest}
	splitFewRows  = pick{"linear_split", by("ROWS"), smallest}
	splitRows     = pick{"linear_split", by("ROWS"), middle}
	splitManyRows = pick{"linear_split", by("ROWS"), largest}
	step          = pick{"linear_step", by("GROUPS"), smallest}
	wideStep      = pick{"linear_step", by("GROUPS"), largest}
	largeTile     = pick{"linear_tile", nil, smallest}
)

// leastTiles are as many workgroups as a large GPU wants: from here on the tiles of linear
// were faster than its other kernels on an NVIDIA H200.
const leastTiles = 192

// leastDepth is what workgroup memory holds of an operand at a time: of shorter sums, most
// of that would be zeros.
const leastDepth = 16

// linearDefaults are for products with packed weights: the first row that fits counts.
var linearDefaults = []linearDefault{
	{rows: 4, ofRows: true, byAdapter: onGPUs(singleRow)},
	{rows: 2, byAdapter: byAdapter{cpu: splitFewRows}},
	{rows: 4, byAdapter: byAdapter{cpu: splitRows}},
	{rows: 8, byAdapter: onGPUs(splitFewRows)},
	{rows: 64, byAdapter: onGPUs(splitRows)},
	{backward: true, byAdapter: byAdapter{cpu: wideStep}},
	{tiles: leastTiles, byAdapter: onGPUs(splitManyRows)},
	{byAdapter: byAdapter{cpu: step, integrated: largeTile, discrete: largeTile}},
}

type linearDefault struct {
	rows     int  // of the result, at most; 0 is any number
	ofRows   bool // only where x is no image
	backward bool // only gradients of at least 256 columns
	tiles    int  // only where largeTile has fewer workgroups; 0 is any number
	byAdapter
}

func (d linearDefault) fits(p packedLinear, a graph.Adapter) bool {
	size := tile(largeTile.variant())
	return d.of(a).file != "" &&
		(d.rows == 0 || p.m <= d.rows) &&
		(!d.ofRows || p.image == nil) &&
		(!d.backward || p.backward && p.n >= 256) &&
		(d.tiles == 0 || graph.Ceil(p.m, size[0])*graph.Ceil(p.n, size[1]) < d.tiles)
}

// unmeasured is the kernel for p where nothing was measured.
func (p packedLinear) unmeasured(a graph.Adapter) shaders.Variant {
	i := slices.IndexFunc(linearDefaults, func(d linearDefault) bool { return d.fits(p, a) })
	return linearDefaults[i].of(a).variant()
}

// rowDefault is for kernels that make one row each, by its length: of many invocations a
// GPU waits less for memory.
func rowDefault(file string, cols int, a graph.Adapter) shaders.Variant {
	few, many := pick{file, by("WG"), smallest}, pick{file, by("WG"), largest}
	if cols < 256 {
		return few.variant()
	}
	return byAdapter{cpu: few, integrated: many, discrete: many}.of(a).variant()
}

// productDefault is for products of strided matrices by one kernel: a GPU takes tiles where
// all of them fill it.
func productDefault(a graph.Adapter, products ...gemm) shaders.Variant {
	plain, inTiles := pick{"matmul", nil, smallest}, pick{"matmul_tile", nil, smallest}
	if !allFill(products) {
		return plain.variant()
	}
	return byAdapter{cpu: plain, integrated: inTiles, discrete: inTiles}.of(a).variant()
}

// allFill reports whether the kernel of tiles has enough to do for each product.
func allFill(products []gemm) bool {
	return !slices.ContainsFunc(products, func(p gemm) bool {
		count, wanted := tiles(kernel("matmul_tile"), p.m, p.n)
		return p.batches*p.heads*count < leastTiles || !wanted || p.k < leastDepth
	})
}

// weightGradDefault is for gradients of weights [out, in] from so many rows: a GPU takes
// tiles where they fill it or are cut into slices, which gives as many invocations as the
// other kernel has. Of that it takes the variant with many invocations that do little each.
func weightGradDefault(a graph.Adapter, rows, out, in int) shaders.Variant {
	order := func(a, b shaders.Variant) int { return cmp.Or(by("GROUPS")(a, b), by("WG")(b, a)) }
	little, much := pick{"linear_weight_grad", order, smallest}, pick{"linear_weight_grad", order, largest}
	onGPU := little
	parts, _ := rowSlices(rows, out, in)
	if count, wanted := tiles(weightGradTile, out, in); wanted && (count >= leastTiles || parts > 1) {
		onGPU = pick{weightGradTile.File, nil, smallest}
	}
	return byAdapter{cpu: much, integrated: onGPU, discrete: onGPU}.of(a).variant()
}

// attentionDefault is how attention works.
func attentionDefault(a graph.Adapter) string {
	return map[graph.Adapter]string{graph.CPU: threePasses, graph.Integrated: onePass, graph.Discrete: onePass}[a]
}

// scoresGradDefault is the kernel of the gradient of attention's scores.
func scoresGradDefault(a graph.Adapter) shaders.Variant {
	plain, inTiles := pick{"attention_grad", nil, smallest}, pick{"attention_grad_tile", nil, smallest}
	return byAdapter{cpu: plain, integrated: inTiles, discrete: inTiles}.of(a).variant()
}

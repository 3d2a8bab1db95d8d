package layers

import (
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Weight is a parameter that is the matrix of a linear map: W [out, in …] or, where
// it is Transposed, P [in, out]; a table is a map, too, from ids. Every product of
// a tower with a parameter, but for depthwise convolutions, is a call of one of its methods. So there is one place
// for what changes all weights of a model: their Format and their Adapter, which
// weights.Find reaches.
type Weight struct {
	*graph.Param `w:""`
	Adapter      Adapter `w:""` // changes what the weight gives; nil changes nothing
}

// Adapter changes what a Weight gives: low-rank adaptation (Hu et al., 2021) adds a
// second product. Its own parameters, found by their tags, are part of the model;
// whoever sets it names them. It must be set before the model's first use.
type Adapter interface {
	// Adapt returns what takes y's place, in y's shape. y [..., n] are the n outputs
	// of the map from first on, with their bias, for inputs x [..., in] or, where the
	// weight is a table, for ids x [...] in i32. What the result does not need of y
	// is not computed.
	Adapt(g *graph.Graph, x, y graph.Tensor, first int) graph.Tensor
}

// NewWeight returns an unnamed weight [out, in …] of a linear map, packed.
func NewWeight(src graph.Source, shape ...int) *Weight {
	w := &Weight{Param: NewParam(src, shape...)}
	w.Format = packing.F32
	return w
}

// NewProjection returns an unnamed weight [in, out], packed and Transposed.
func NewProjection(src graph.Source, in, out int) *Weight {
	w := NewWeight(src, in, out)
	w.Transposed = true
	return w
}

// newFusedWeight returns a weight [parts·out, in] that holds several linear maps, one
// below the other; Rows applies one of them. It is packed if out is a multiple of 4, so
// that each map begins with a packed block.
func newFusedWeight(src graph.Source, parts, out, in int) *Weight {
	w := NewWeight(src, parts*out, in)
	if out%4 != 0 {
		w.Format = packing.RowMajor
	}
	return w
}

// Forward maps x [..., in] to [..., out] and adds bias [out] unless it is nil.
func (w *Weight) Forward(g *graph.Graph, x graph.Tensor, bias *graph.Param) graph.Tensor {
	if !w.Transposed {
		return w.Rows(g, x, bias, 0, w.Shape[0])
	}
	y := ops.Project(g, x, g.Param(w.Param))
	if bias != nil {
		y = ops.AddBroadcast(g, y, g.Param(bias), 1)
	}
	return w.adapt(g, x, y, 0)
}

// Rows is Forward by count of the outputs from first on, with their part of bias
// [out]: [..., count]. The weight is not Transposed and, where it is packed, first
// is a multiple of 4.
func (w *Weight) Rows(g *graph.Graph, x graph.Tensor, bias *graph.Param, first, count int) graph.Tensor {
	g.Param(w.Param) // before the bias, as state dicts have them
	return w.rows(g, x, optional(g, bias), first, count)
}

// rows is Rows with a bias that need not be a parameter.
func (w *Weight) rows(g *graph.Graph, x, bias graph.Tensor, first, count int) graph.Tensor {
	return w.adapt(g, x, ops.LinearRows(g, x, g.Param(w.Param), bias, first, count), first)
}

// Lookup maps ids [...] in i32 to rows of the table [rows, width]: [..., width].
func (w *Weight) Lookup(g *graph.Graph, ids graph.Tensor) graph.Tensor {
	return w.adapt(g, ids, ops.Gather(g, g.Param(w.Param), ids), 0)
}

// LookupPadded is Lookup, but that no gradient flows into the row padding.
func (w *Weight) LookupPadded(g *graph.Graph, ids graph.Tensor, padding int) graph.Tensor {
	return w.adapt(g, ids, ops.GatherPadded(g, g.Param(w.Param), ids, padding), 0)
}

func (w *Weight) adapt(g *graph.Graph, x, y graph.Tensor, first int) graph.Tensor {
	if w.Adapter == nil {
		return y
	}
	adapted := w.Adapter.Adapt(g, x, y, first)
	if !slices.Equal(adapted.Shape(), y.Shape()) {
		g.Fail("the adapter of %s makes %v of %v", w.Name, adapted.Spec(), y.Spec())
	}
	return adapted
}

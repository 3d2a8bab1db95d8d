package ops

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// sampleAttr is a choice of keep patches of each item, behind a prefix of tokens. Ids
// count from item to item by stride.
type sampleAttr struct {
	batch, prefix, patches, keep, stride int
	stream                               uint32
}

// sampleOp takes the seed to the ids [batch, prefix + keep] of the tokens that stay.
var sampleOp = &graph.Op{
	Name: "sample",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		a := n.Attr.(sampleAttr)
		return []graph.Spec{{Shape: graph.Shape{a.batch, a.prefix + a.keep}, Element: graph.I32}}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		a := n.Attr.(sampleAttr)
		return []graph.Launch{{
			Kernel: kernel("sample"),
			Params: []uint32{uint32(a.batch), uint32(a.prefix), uint32(a.patches), uint32(a.keep), uint32(a.stride), a.stream},
			Args:   []graph.Arg{graph.In(0), graph.Out(0)},
			Batch:  a.batch,
			Rows:   a.patches,
		}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		a := n.Attr.(sampleAttr)
		ids := out[0][:0]
		for b := range a.batch {
			word := func(patch int) uint32 { return randomWord(in[0], a.stream, uint32(b*a.patches+patch)) }
			order := make([]int, a.patches)
			for i := range order {
				order[i] = i
			}
			slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(word(j), word(i)) })
			for s := range a.prefix + a.keep {
				token := s
				if s >= a.prefix {
					token = a.prefix + order[s-a.prefix]
				}
				ids = append(ids, float64(b*a.stride+token))
			}
		}
	},
}

// PatchDropout records, where g is for training, a random subset of the patches of each
// item of x [batch, prefix + patches, width], in random order, behind the prefix, which
// stays: max(1, ⌊patches · (1 − rate)⌋) of them (PatchDropout in open_clip's
// transformer.py; Li et al., Scaling Language-Image Pre-training via Masking, 2023). The
// optional table [prefix + patches, columns] is what all items share for each token;
// rows [batch, kept tokens, columns] are those of it that belong to kept. Elsewhere, and
// at rate 0, it returns x and table.
func PatchDropout(g *graph.Graph, x, table graph.Tensor, prefix int, rate float64) (kept, rows graph.Tensor) {
	d, seed, acts := newDrop(g, rate)
	if !acts {
		return x, table
	}
	if err := checkPatches(x, table, prefix); err != nil {
		g.Fail("patch dropout: %w", err)
		return x, table
	}
	batch, tokens, width := x.Dim(0), x.Dim(1), x.Dim(2)
	a := sampleAttr{batch: batch, prefix: prefix, patches: tokens - prefix, stream: d.stream}
	a.keep = max(1, int(float64(a.patches)*(1-rate)))
	if table.Valid() {
		rows = Gather(g, table, g.Apply(sampleOp, a, seed)[0])
	}
	a.stride = tokens
	return Gather(g, g.Reshape(x, batch*tokens, width), g.Apply(sampleOp, a, seed)[0]), rows
}

func checkPatches(x, table graph.Tensor, prefix int) error {
	if s := x.Spec(); len(s.Shape) != 3 || s.Element != graph.F32 || prefix < 0 || s.Shape[1] <= prefix {
		return fmt.Errorf("x %v with %d tokens before the patches: want f32 [batch, tokens, width] with patches", s, prefix)
	}
	if s := table.Spec(); table.Valid() && (len(s.Shape) != 2 || s.Shape[0] != x.Dim(1)) {
		return fmt.Errorf("table %v for x %v: want a row for each token", s, x.Spec())
	}
	return nil
}

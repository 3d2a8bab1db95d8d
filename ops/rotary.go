package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// rotaryAttr is how many of the leading columns are turned, which way, and what a pair is.
type rotaryAttr struct {
	turned int
	back   bool
	halves bool // columns i and i + head/2 of a head, not neighbours
}

// rotaryOp takes x and angles to y. Its gradient turns back.
var rotaryOp = &graph.Op{
	Name: "rotary",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if err := wantF32(n.In...); err != nil {
			return nil, err
		}
		x, angles, turned := n.In[0], n.In[1], n.Attr.(rotaryAttr).turned
		head := angles.Dim(-1)
		tokens, _ := rowsOf(angles.Shape())
		if s := x.Shape(); len(s) != 3 || !slices.Contains([]int{2, 3}, len(angles.Shape())) || angles.Dim(-2) != s[1] || tokens != s[1] && tokens != s[0]*s[1] || s[2]%2 != 0 {
			return nil, fmt.Errorf("x %v, angles %v: want [batch, length, width], the width even, and [length, head] or [batch, length, head]", x.Spec(), angles.Spec())
		}
		if halves := n.Attr.(rotaryAttr).halves; head%2 != 0 || turned < 0 || turned > x.Dim(2) || turned%head != 0 || halves && x.Dim(2)%head != 0 {
			return nil, fmt.Errorf("x %v, angles %v, %d columns to turn: want whole heads, of even width", x.Spec(), angles.Spec(), turned)
		}
		return []graph.Spec{x.Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		x, attr := n.In[0].Shape(), n.Attr.(rotaryAttr)
		rows, head := rowsOf(n.In[1].Shape())
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("rotary"), x.Elems()/2, args,
			uint32(x[2]), uint32(attr.turned), uint32(head), uint32(rows), flag(attr.halves), bits(attr.sign()))}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		attr := n.Attr.(rotaryAttr)
		attr.back = !attr.back
		return []graph.Tensor{g.Apply(n.Op, attr, dy[0], n.In[1])[0], {}}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		x, angles, y, attr := in[0], in[1], out[0], n.Attr.(rotaryAttr)
		width := n.In[0].Dim(2)
		rows, head := rowsOf(n.In[1].Shape())
		for i := 0; i < len(x); i += 2 {
			column := i % width
			a, b := i, i+1
			if attr.halves {
				a = i - column%head/2
				b = a + head/2
			}
			if column >= attr.turned {
				y[a], y[b] = x[a], x[b]
				continue
			}
			at := i/width%rows*head + column%head
			c, s := angles[at], attr.sign()*angles[at+1]
			y[a], y[b] = x[a]*c-x[b]*s, x[b]*c+x[a]*s
		}
	},
}

func (a rotaryAttr) sign() float64 {
	if a.back {
		return -1
	}
	return 1
}

// Rotary records rotary position embedding of the leading turned columns of x
// [batch, length, width], which are heads side by side: neighbours 2i and 2i+1 of
// a head at position t are turned by an angle whose cosine is angles[t, 2i] and
// whose sine is angles[t, 2i+1], of angles [length, width of a head], or of those of its
// item in angles [batch, length, width of a head]. The other columns stay as they are.
// No gradient flows into angles.
// (Su et al., RoFormer, 2021, §3.4.2.)
func Rotary(g *graph.Graph, x, angles graph.Tensor, turned int) graph.Tensor {
	return g.Apply(rotaryOp, rotaryAttr{turned: turned}, x, angles)[0]
}

// RotaryHalves is Rotary of other pairs: i and i + width/2 of a head are turned by what
// Rotary turns its neighbours 2i and 2i+1 by (rotate_half of transformers). The width of x
// is that of whole heads.
func RotaryHalves(g *graph.Graph, x, angles graph.Tensor, turned int) graph.Tensor {
	return g.Apply(rotaryOp, rotaryAttr{turned: turned, halves: true}, x, angles)[0]
}

package ops

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// rotaryAttr is how many of the leading columns are turned, and which way.
type rotaryAttr struct {
	turned int
	back   bool
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
		if head%2 != 0 || turned < 0 || turned > x.Dim(2) || turned%head != 0 {
			return nil, fmt.Errorf("x %v, angles %v, %d columns to turn: want whole heads, of even width", x.Spec(), angles.Spec(), turned)
		}
		return []graph.Spec{x.Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		x, attr := n.In[0].Shape(), n.Attr.(rotaryAttr)
		rows, head := rowsOf(n.In[1].Shape())
		args := []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)}
		return []graph.Launch{elementwise(kernel("rotary"), x.Elems()/2, args,
			uint32(x[2]), uint32(attr.turned), uint32(head), uint32(rows), bits(attr.sign()))}
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
			if column >= attr.turned {
				y[i], y[i+1] = x[i], x[i+1]
				continue
			}
			at := i/width%rows*head + column%head
			c, s := angles[at], attr.sign()*angles[at+1]
			y[i], y[i+1] = x[i]*c-x[i+1]*s, x[i+1]*c+x[i]*s
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

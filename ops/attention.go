package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// AttentionConfig holds what the shapes of Attention's inputs do not say.
type AttentionConfig struct {
	Heads  int     // the inputs' last dimensions hold this many heads side by side
	Scale  float64 // of the scores, usually 1/√(width of a query's head)
	Causal bool    // query i sees keys 0 … i only
	// Dropout is the rate at which weights are dropped where the graph is for training, as
	// by the function of that name.
	Dropout float64
}

// attentionAttr says how an attention node works. Its input 4 is the seed where it drops.
type attentionAttr struct {
	AttentionConfig
	drop
}

// attentionDims are the sizes of one attention: d is the width of a query's and
// a key's head, dv of a value's. qkv: q, k and v are parts of one tensor.
type attentionDims struct {
	b, h, lq, lk, d, dv int
	qkv                 bool
}

func dimsOf(n *graph.Node) attentionDims {
	q, v, h := n.In[0], n.In[2], n.Attr.(attentionAttr).Heads
	if !v.Valid() {
		d := q.Dim(2) / 3 / h
		return attentionDims{b: q.Dim(0), h: h, lq: q.Dim(1), lk: q.Dim(1), d: d, dv: d, qkv: true}
	}
	return attentionDims{b: q.Dim(0), h: h, lq: q.Dim(1), lk: v.Dim(1), d: q.Dim(2) / h, dv: v.Dim(2) / h}
}

// parts returns the bindings of q, k and v, or of their gradients. bind gives that of
// input i; where one tensor holds all three, it is bound for each.
func (s attentionDims) parts(bind func(int) graph.Arg) (q, k, v graph.Arg) {
	if s.qkv {
		return bind(0), bind(0), bind(0)
	}
	return bind(0), bind(1), bind(2)
}

func (s attentionDims) product(m, n, k int) gemm {
	return gemm{m: m, n: n, k: k, batches: s.b, heads: s.h, alpha: 1}
}

func (s attentionDims) part(i, rows, width int) strides {
	if s.qkv {
		return qkvHeads(rows, s.h, width, i)
	}
	return heads(rows, s.h, width)
}

func (s attentionDims) q() strides     { return s.part(0, s.lq, s.d) }
func (s attentionDims) k() strides     { return s.part(1, s.lk, s.d) }
func (s attentionDims) v() strides     { return s.part(2, s.lk, s.dv) }
func (s attentionDims) y() strides     { return heads(s.lq, s.h, s.dv) }
func (s attentionDims) probs() strides { return headMaps(s.h, s.lq, s.lk) }

// scores are the product that gives the scores.
func (s attentionDims) scores(scale float64) gemm {
	p := s.product(s.lq, s.lk, s.d)
	p.a, p.b, p.c, p.alpha = s.q(), s.k().t(), s.probs(), scale
	return p
}

// values are the product of the probabilities and v.
func (s attentionDims) values() gemm {
	p := s.product(s.lq, s.dv, s.lk)
	p.a, p.b, p.c = s.probs(), s.v(), s.y()
	return p
}

// The ways to work: in one kernel or in three, of which two are products.
const (
	onePass     = "one pass"
	threePasses = "three passes"
	inTiles     = "three passes in tiles" // by the products' kernel of tiles
)

// attentionWays are the ways that serve a node, the one to take where nothing was
// measured first.
func attentionWays(n *graph.Node, s attentionDims) []string {
	tooLong := s.b == 1 && !n.Binds(n.Out[1])
	passes := []string{threePasses, inTiles}
	if productDefault(n.Adapter(), s.scores(1), s.values()).File == "matmul_tile" {
		slices.Reverse(passes)
	}
	switch {
	case n.Used(1) || biasItems(n) > 0: // one pass has masks that heads share
		return passes
	case tooLong:
		return []string{onePass}
	case attentionDefault(n.Adapter()) == onePass:
		return append([]string{onePass}, passes...)
	}
	return append(passes, onePass)
}

// attentionOp works in three passes or in one. Output 1 is the probabilities
// [B, Heads, Lq, Lk], which only three passes make; where some are dropped, output 2 is
// what remains of them. Where those of one item are too long to bind, one pass it is;
// more items are for the caller to split.
var attentionOp = &graph.Op{
	Name:  "attention",
	Infer: inferAttention,
	Lower: func(n *graph.Node) []graph.Launch {
		s := dimsOf(n)
		class := fmt.Sprintf("attention %d of %d×%d head %d", powerOfTwo(s.b*s.h), s.lq, s.lk, s.d)
		ways := attentionWays(n, s)
		switch ways[n.Choose(class, ways...)] {
		case onePass:
			return []graph.Launch{inOnePass(n, s)}
		case inTiles:
			return inThreePasses(n, s, kernel("matmul_tile"))
		}
		return inThreePasses(n, s, kernel("matmul"))
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		in := append([]graph.Tensor{n.In[0], n.In[1], n.In[2], n.Output(1), dy[0]}, n.In[4:]...)
		d := g.Apply(attentionGradOp, n.Attr, in...)
		bias := biasGrad(g, n, d[len(d)-1])
		if dimsOf(n).qkv {
			return []graph.Tensor{d[0], {}, {}, bias}
		}
		return append(d[:min(3, len(d))], bias)
	},
	Ref: refAttention,
}

// maskRows is how many rows the mask has, 0 without one, and how many of them are
// one item's.
func maskRows(n *graph.Node) (all, item uint32) {
	mask := n.In[3]
	if !mask.Valid() {
		return 0, 1
	}
	return uint32(mask.Dim(0) * mask.Dim(1)), uint32(mask.Dim(1))
}

// inThreePasses makes the scores in output 1, turns them there into probabilities
// (softmax), and makes output 0 of these, or of what remains of them, and v.
func inThreePasses(n *graph.Node, s attentionDims, product shaders.Variant) []graph.Launch {
	c := n.Attr.(attentionAttr)
	rows := s.b * s.h * s.lq
	q, k, v := s.parts(graph.In)
	maskRows, maskItem := maskRows(n)
	heads := uint32(s.h)
	if items := biasItems(n); items > 0 { // each head of an item is to softmax an item
		maskRows, maskItem, heads = uint32(items*s.h*s.lq), uint32(s.lq), 1
	}
	launches := []graph.Launch{
		s.scores(c.Scale).launch(product, q, k, graph.None(), graph.Out(1)),
		{
			Kernel: kernel("softmax"),
			Params: []uint32{uint32(rows), uint32(s.lk), flag(true), flag(c.Causal), uint32(s.lq), heads, maskRows, maskItem},
			Args:   []graph.Arg{graph.None(), graph.In(3), graph.Out(1)},
			Rows:   rows,
		},
	}
	probs := graph.Out(1)
	if c.rate > 0 {
		launches = append(launches, c.launch(n.Out[1], 1, probs, graph.In(4), graph.Out(2)))
		probs = graph.Out(2)
	}
	return append(launches, s.values().launch(product, probs, v, graph.None(), graph.Out(0)))
}

// inOnePass makes output 0 in one kernel, which stores no probabilities.
func inOnePass(n *graph.Node, s attentionDims) graph.Launch {
	c := n.Attr.(attentionAttr)
	params := []uint32{uint32(s.b * s.h), uint32(s.h), uint32(s.lq), uint32(s.lk), uint32(s.d), uint32(s.dv)}
	for _, x := range []strides{s.q(), s.k(), s.v(), s.y()} {
		params = append(params, uint32(x.base), uint32(x.batch), uint32(x.head), uint32(x.row))
	}
	q, k, v := s.parts(graph.In)
	maskRows, maskItem := maskRows(n)
	kernel, seed := c.dropping("attention", graph.In(4))
	params = append(params, bits(c.Scale), flag(c.Causal), maskRows, maskItem)
	return graph.Launch{
		Kernel: kernel.With(map[string]any{"PARTS": min(graph.Ceil(s.dv, 64), 2)}),
		Params: append(params, c.params()...),
		Args:   []graph.Arg{q, k, v, graph.In(3), seed, graph.Out(0)},
		Batch:  s.b * s.h,
		Rows:   s.lq,
		Cols:   s.dv,
		FLOPs:  2 * int64(s.b*s.h) * int64(s.lq) * int64(s.lk) * int64(s.d+s.dv),
	}
}

func inferAttention(n *graph.Node) ([]graph.Spec, error) {
	if err := wantF32(n.In[:4]...); err != nil {
		return nil, err
	}
	h := n.Attr.(attentionAttr).Heads
	q, k, v, mask := n.In[0], n.In[1], n.In[2], n.In[3]
	if !k.Valid() && !v.Valid() {
		if len(q.Shape()) != 3 || h <= 0 || q.Dim(2)%(3*h) != 0 {
			return nil, fmt.Errorf("qkv %v: want [batch, length, 3·width], the width a multiple of %d heads", q.Spec(), h)
		}
		s := dimsOf(n)
		return attentionOutputs(n, s, mask)
	}
	for _, t := range n.In[:3] {
		if len(t.Shape()) != 3 || h <= 0 || t.Dim(2)%h != 0 || t.Dim(0) != q.Dim(0) {
			return nil, fmt.Errorf("q %v, k %v, v %v: want [batch, length, width], one batch, widths multiples of %d heads", q.Spec(), k.Spec(), v.Spec(), h)
		}
	}
	if k.Dim(2) != q.Dim(2) || v.Dim(1) != k.Dim(1) {
		return nil, fmt.Errorf("q %v, k %v, v %v: want q and k of one width, k and v of one length", q.Spec(), k.Spec(), v.Spec())
	}
	return attentionOutputs(n, dimsOf(n), mask)
}

func attentionOutputs(n *graph.Node, s attentionDims, mask graph.Tensor) ([]graph.Spec, error) {
	repeats := func(have, want int) bool { return have == want || have == 1 }
	if m := mask.Shape(); mask.Valid() && len(m) == 4 {
		if m[0] < 1 || s.b%m[0] != 0 || m[1] != s.h || m[2] != s.lq || m[3] != s.lk {
			return nil, fmt.Errorf("%d items of %d heads, %d queries, %d keys, bias %v: want the bias [items or a part of them, %d, %d, %d]", s.b, s.h, s.lq, s.lk, mask.Spec(), s.h, s.lq, s.lk)
		}
	} else if mask.Valid() && !(len(m) == 3 && repeats(m[0], s.b) && repeats(m[1], s.lq) && m[2] == s.lk) {
		return nil, fmt.Errorf("%d queries, %d keys, mask %v: want the mask [%d or 1, %d or 1, %d]", s.lq, s.lk, mask.Spec(), s.b, s.lq, s.lk)
	}
	probs := graph.Spec{Shape: graph.Shape{s.b, s.h, s.lq, s.lk}}
	outs := []graph.Spec{{Shape: graph.Shape{s.b, s.lq, s.h * s.dv}}, probs}
	if n.Attr.(attentionAttr).rate > 0 {
		outs = append(outs, probs)
	}
	return outs, nil
}

// refParts returns the values of q, k and v, or of their gradients. Where one tensor
// holds all three, each is the whole of it.
func (s attentionDims) refParts(x [][]float64) (q, k, v []float64) {
	if s.qkv {
		return x[0], x[0], x[0]
	}
	return x[0], x[1], x[2]
}

func refAttention(n *graph.Node, in, out [][]float64) {
	s, c := dimsOf(n), n.Attr.(attentionAttr)
	q, k, v := s.refParts(in)
	y, probs := out[0], out[1]
	_, maskItem := maskRows(n)
	for i := range s.b * s.h * s.lq {
		b, h, r := i/(s.h*s.lq), i/s.lq%s.h, i%s.lq
		p := probs[i*s.lk : (i+1)*s.lk]
		for j := range p {
			for e := range s.d {
				p[j] += c.Scale * q[s.q().at(b, h, r, e)] * k[s.k().at(b, h, j, e)]
			}
			if mask := in[3]; mask != nil {
				row := b*int(maskItem) + r%int(maskItem)
				if biasItems(n) > 0 {
					row = i
				}
				p[j] += mask[row*s.lk%len(mask)+j]
			}
			if c.Causal && j > r {
				p[j] = math.Inf(-1)
			}
		}
		softmaxRow(p)
		if c.rate > 0 {
			rest := out[2][i*s.lk : (i+1)*s.lk]
			for j := range rest {
				rest[j] = p[j] * c.mask(in[4], i*s.lk+j)
			}
			p = rest
		}
		for e := range s.dv {
			for j := range p {
				y[s.y().at(b, h, r, e)] += p[j] * v[s.v().at(b, h, j, e)]
			}
		}
	}
}

// Attention records softmax(q · kᵀ · Scale + mask) · v for every head: q
// [batch, Lq, Heads·D], k [batch, Lk, Heads·D] and v [batch, Lk, Heads·Dv] give
// [batch, Lq, Heads·Dv]. The optional mask [batch or 1, Lq or 1, Lk], shared by
// the heads, is added to the scores and may hold −Inf; a query that sees no key
// gives zeros. No gradient flows into the mask. Instead there may be a bias of each head,
// [items, Heads, Lq, Lk], that repeats where the batch has more items, and has a gradient.
// (Vaswani et al., Attention Is All You Need, 2017, §3.2.)
func Attention(g *graph.Graph, q, k, v, mask graph.Tensor, c AttentionConfig) graph.Tensor {
	in := []graph.Tensor{q, k, v, mask}
	d, seed, acts := newDrop(g, c.Dropout)
	if acts {
		in = append(in, seed)
	}
	return g.Apply(attentionOp, attentionAttr{c, d}, in...)[0]
}

// SelfAttention is Attention of the three parts q, k and v, side by side, of
// qkv [batch, length, 3·Heads·D]: what one linear layer gives. The result is
// [batch, length, Heads·D].
func SelfAttention(g *graph.Graph, qkv, mask graph.Tensor, c AttentionConfig) graph.Tensor {
	return Attention(g, qkv, graph.Tensor{}, graph.Tensor{}, mask, c)
}

package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// attentionGradOp takes q, k, v, the probabilities, dy and, where probabilities are
// dropped, the seed to dq, dk, dv and the gradient of the scores; of qkv, q, k and v in
// one tensor, to dqkv and that.
var attentionGradOp = &graph.Op{
	Name: "attention_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if dimsOf(n).qkv {
			return []graph.Spec{n.In[0].Spec(), n.In[3].Spec()}, nil
		}
		return []graph.Spec{n.In[0].Spec(), n.In[1].Spec(), n.In[2].Spec(), n.In[3].Spec()}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		s, c := dimsOf(n), n.Attr.(attentionAttr)
		probs, dy, seed, dscores := graph.In(3), graph.In(4), graph.In(5), graph.Out(len(n.Out)-1)
		q, k, v := s.parts(graph.In)
		qOut, kOut, vOut := s.parts(graph.Out)
		dq := s.product(s.lq, s.d, s.lk)
		dq.a, dq.b, dq.c, dq.alpha = s.probs(), s.k(), s.q(), c.Scale
		dk := s.product(s.lk, s.d, s.lq)
		dk.a, dk.b, dk.c, dk.alpha = s.probs().t(), s.q(), s.k(), c.Scale
		dv := s.product(s.lk, s.dv, s.lq)
		dv.a, dv.b, dv.c = s.probs().t(), s.y(), s.v()
		class := fmt.Sprintf("attention_grad %d of %d×%d head %d", powerOfTwo(s.b*s.h), s.lq, s.lk, s.d)
		product := chooseKernel(n, class, productKernels(n.Adapter(), dq, dk, dv))
		var launches []graph.Launch
		weights := probs
		if c.rate > 0 { // what remains of the probabilities lies where the scores' gradient comes
			launches = append(launches, c.launch(n.In[3].Spec(), 1, probs, seed, dscores))
			weights = dscores
		}
		return append(launches,
			dv.launch(product, weights, dy, graph.None(), vOut),
			c.scoresGrad(n.Adapter(), s, v, dy, probs, seed, dscores),
			dq.launch(product, dscores, k, graph.None(), qOut),
			dk.launch(product, dscores, q, graph.None(), kOut),
		)
	},
	Ref: refAttentionGrad,
}

// scoresGrad makes the gradient of the scores.
func (d drop) scoresGrad(a graph.Adapter, s attentionDims, v, dy, probs, seed, dscores graph.Arg) graph.Launch {
	at := s.v()
	kernel, seed := d.dropping(scoresGradDefault(a).File, seed)
	return graph.Launch{
		Kernel: kernel,
		Params: append([]uint32{
			uint32(s.b * s.h), uint32(s.h), uint32(s.lq), uint32(s.lk), uint32(s.dv),
			uint32(at.base), uint32(at.batch), uint32(at.head), uint32(at.row),
		}, d.params()...),
		Args:  []graph.Arg{v, dy, probs, seed, dscores},
		Batch: s.b * s.h,
		Rows:  s.lq,
		FLOPs: 2 * int64(s.b*s.h) * int64(s.lq) * int64(s.lk) * int64(s.dv),
	}
}

func refAttentionGrad(n *graph.Node, in, out [][]float64) {
	s, c := dimsOf(n), n.Attr.(attentionAttr)
	q, k, v := s.refParts(in)
	dq, dk, dv := s.refParts(out)
	probs, dy, dscores := in[3], in[4], out[len(out)-1]
	for i := range s.b * s.h * s.lq {
		b, h, r := i/(s.h*s.lq), i/s.lq%s.h, i%s.lq
		p, d := probs[i*s.lk:(i+1)*s.lk], dscores[i*s.lk:(i+1)*s.lk]
		for j := range d {
			mask := 1.0
			if c.rate > 0 {
				mask = c.mask(in[5], i*s.lk+j)
			}
			for e := range s.dv {
				yi, vi := s.y().at(b, h, r, e), s.v().at(b, h, j, e)
				d[j] += mask * dy[yi] * v[vi]
				dv[vi] += mask * p[j] * dy[yi]
			}
		}
		softmaxGradRow(p, d)
		for j := range d {
			for e := range s.d {
				qi, ki := s.q().at(b, h, r, e), s.k().at(b, h, j, e)
				dq[qi] += c.Scale * d[j] * k[ki]
				dk[ki] += c.Scale * d[j] * q[qi]
			}
		}
	}
}

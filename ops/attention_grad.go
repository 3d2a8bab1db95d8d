package ops

import "github.com/clip-wgpu/clip-wgpu/graph"

// attentionGradOp takes q, k, v, the probabilities and dy to dq, dk, dv and
// the gradient of the scores; of qkv, q, k and v in one tensor, to dqkv and that.
var attentionGradOp = &graph.Op{
	Name: "attention_grad",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		scores := n.In[3].Spec()
		if dimsOf(n).qkv {
			return []graph.Spec{n.In[0].Spec(), scores}, nil
		}
		return []graph.Spec{n.In[0].Spec(), n.In[1].Spec(), n.In[2].Spec(), scores}, nil
	},
	Lower: func(n *graph.Node) []graph.Launch {
		s, scale := dimsOf(n), n.Attr.(AttentionConfig).Scale
		probs, dy, dscores := graph.In(3), graph.In(4), graph.Out(len(n.Out)-1)
		q, k, v := s.parts(graph.In)
		qOut, kOut, vOut := s.parts(graph.Out)
		dq := s.product(s.lq, s.d, s.lk)
		dq.a, dq.b, dq.c, dq.alpha = s.probs(), s.k(), s.q(), scale
		dk := s.product(s.lk, s.d, s.lq)
		dk.a, dk.b, dk.c, dk.alpha = s.probs().t(), s.q(), s.k(), scale
		dv := s.product(s.lk, s.dv, s.lq)
		dv.a, dv.b, dv.c = s.probs().t(), s.y(), s.v()
		return []graph.Launch{
			scoresGrad(s, v, dy, probs, dscores),
			dq.launch(dscores, k, graph.None(), qOut),
			dk.launch(dscores, q, graph.None(), kOut),
			dv.launch(probs, dy, graph.None(), vOut),
		}
	},
	Ref: refAttentionGrad,
}

// scoresGrad makes the gradient of the scores.
func scoresGrad(s attentionDims, v, dy, probs, dscores graph.Arg) graph.Launch {
	at := s.v()
	return graph.Launch{
		Kernel: kernel("attention_grad"),
		Params: []uint32{
			uint32(s.b * s.h), uint32(s.h), uint32(s.lq), uint32(s.lk), uint32(s.dv),
			uint32(at.base), uint32(at.batch), uint32(at.head), uint32(at.row),
		},
		Args:  []graph.Arg{v, dy, probs, dscores},
		Batch: s.b * s.h,
		Rows:  s.lq,
		FLOPs: 2 * int64(s.b*s.h) * int64(s.lq) * int64(s.lk) * int64(s.dv),
	}
}

func refAttentionGrad(n *graph.Node, in, out [][]float64) {
	s, c := dimsOf(n), n.Attr.(AttentionConfig)
	q, k, v := s.refParts(in)
	dq, dk, dv := s.refParts(out)
	probs, dy, dscores := in[3], in[4], out[len(out)-1]
	for i := range s.b * s.h * s.lq {
		b, h, r := i/(s.h*s.lq), i/s.lq%s.h, i%s.lq
		p, d := probs[i*s.lk:(i+1)*s.lk], dscores[i*s.lk:(i+1)*s.lk]
		for j := range d {
			for e := range s.dv {
				yi, vi := s.y().at(b, h, r, e), s.v().at(b, h, j, e)
				d[j] += dy[yi] * v[vi]
				dv[vi] += p[j] * dy[yi]
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

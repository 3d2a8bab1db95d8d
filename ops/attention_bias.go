package ops

import "github.com/clip-wgpu/clip-wgpu/graph"

// biasItems is for how many items there is a bias of each head, or 0.
func biasItems(n *graph.Node) int {
	if mask := n.In[3]; mask.Valid() && len(mask.Shape()) == 4 {
		return mask.Dim(0)
	}
	return 0
}

// biasGrad is the gradient of the biases from that of the scores: a sum over the items
// that share them.
func biasGrad(g *graph.Graph, n *graph.Node, dscores graph.Tensor) graph.Tensor {
	items, s := biasItems(n), dscores.Shape()
	if items == 0 {
		return graph.Tensor{}
	}
	x := g.Reshape(dscores, s[0]/items, s[1:].Elems()*items)
	return g.Reshape(SumAxis(g, x, 0), n.In[3].Shape()...)
}

package graph

// Random returns the input "seed", i32 [2], from which every random number of a run
// follows, and the number of a stream of them that no other call on g returns. The
// numbers of a graph's streams go by the order of the calls, so two graphs of the same
// model draw the same.
func (g *Graph) Random() (seed Tensor, stream uint32) {
	if !g.seed.Valid() {
		g.seed = g.Input("seed", Shape{2}, I32)
	}
	g.streams++
	return g.seed, g.streams - 1
}

package search

import (
	"context"
	"math"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

const (
	// multiple divides the width of ops.Scores' vectors.
	multiple = 8
	// leastRows is how many rows a piece has at least, for pictures that are added meanwhile.
	leastRows = 64
	// leastFound is how many rows a program finds at least, so that few programs serve all
	// searches.
	leastFound = 32
)

// pieceBytes is the most that a piece takes on the device: half of what a kernel binds
// anywhere, and enough to keep a GPU busy. Tests change it.
var pieceBytes = 64 << 20

// piece is a run of vectors in one State.
type piece struct {
	of    *vectors
	rows  int     // that it has room for
	ids   []int64 // of those that it has, ascending
	state *graph.State

	mu       sync.Mutex
	sessions map[int]*gpu.Session // by how many rows they find
}

// newPiece makes a piece with room for left more rows, or as many as a piece has.
func (v *vectors) newPiece(left int) *piece {
	rows := min(max(left, leastRows), max(pieceBytes/(2*v.width), leastRows))
	spec := graph.Spec{Shape: graph.Shape{rows, v.width / 2}, Element: graph.I32}
	return &piece{of: v, rows: rows, state: &graph.State{Name: "vectors", Spec: spec}, sessions: map[int]*gpu.Session{}}
}

// write adds vectors in f16, row-major.
func (p *piece) write(ctx context.Context, ids []int64, vectors []byte) error {
	width := 2 * p.of.width
	if have := len(vectors) / len(ids); have < width {
		wide := make([]byte, len(ids)*width)
		for i := range ids {
			copy(wide[i*width:], vectors[i*have:(i+1)*have])
		}
		vectors = wide
	}
	err := p.of.store.WriteBytes(ctx, p.state, int64(len(p.ids)*width), vectors)
	p.ids = append(p.ids, ids...)
	return err
}

// mask takes in the rows of a piece that are chosen, a bit each, and counts them. chosen
// loses the ids up to the piece's last: who asks does so for all pieces in order.
func (p *piece) mask(chosen *selection) (mask []int32, n int) {
	mask = make([]int32, graph.Ceil(p.rows, 32))
	for i, id := range p.ids {
		if chosen.all || chosen.has(id) {
			mask[i/32] |= 1 << (i % 32)
			n++
		}
	}
	return mask, n
}

// has reports whether id is chosen, and drops those below. It is asked in ascending order.
func (c *selection) has(id int64) bool {
	for len(c.ids) > 0 && c.ids[0] < id {
		c.ids = c.ids[1:]
	}
	return len(c.ids) > 0 && c.ids[0] == id
}

// search finds the top rows of the mask whose scores are the greatest, in descending order.
// Rows without a score, since they are not finite, are never found.
func (p *piece) search(ctx context.Context, query []float32, mask []int32, top int) ([]match, error) {
	found := min(powerOfTwo(max(top, leastFound)), p.rows)
	session, err := p.session(ctx, found)
	if err != nil {
		return nil, err
	}
	values, indices := make([]float32, found), make([]float32, found)
	err = session.Run(ctx, gpu.IO{Inputs: map[string]any{"query": query, "mask": mask}, Outputs: [][]float32{values, indices}})
	if err != nil {
		return nil, err
	}
	matches := make([]match, 0, top)
	for i, value := range values[:top] {
		if row := int(indices[i]); row >= 0 && !math.IsNaN(float64(value)) && !math.IsInf(float64(value), 0) {
			matches = append(matches, match{p.ids[row], value})
		}
	}
	return matches, nil
}

// session gives a program that finds so many rows.
func (p *piece) session(ctx context.Context, found int) (*gpu.Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sessions[found]; s != nil {
		return s, nil
	}
	g := graph.New()
	g.Target = p.of.device.Target()
	query := g.Input("query", graph.Shape{1, p.of.width}, graph.F32)
	mask := g.Input("mask", graph.Shape{graph.Ceil(p.rows, 32)}, graph.I32)
	values, indices := ops.TopK(g, ops.Scores(g, query, g.State(p.state)), mask, found)
	program, err := g.Build(values, indices)
	if err != nil {
		return nil, err
	}
	s, err := p.of.device.LoadContext(ctx, program, p.of.store)
	if err == nil {
		p.sessions[found] = s
	}
	return s, err
}

func (p *piece) close() {
	for _, s := range p.sessions {
		s.Close()
	}
}

// powerOfTwo is n or the next one above it.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

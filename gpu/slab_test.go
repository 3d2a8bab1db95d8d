package gpu

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// slabOf holds parts of up to 64 elements.
func slabOf(parts ...*graph.Param) *graph.State {
	s := &graph.State{Name: "slab", Spec: graph.Spec{Shape: graph.Shape{64 * len(parts)}}}
	for i, p := range parts {
		s.Parts, s.Offsets = append(s.Parts, &p.State), append(s.Offsets, int64(256*i))
	}
	return s
}

// setOp gives every element of a State the value of its attribute.
var setOp = &graph.Op{
	Name:  "set",
	Infer: func(n *graph.Node) ([]graph.Spec, error) { return []graph.Spec{n.In[0].Spec()}, nil },
	Lower: func(n *graph.Node) []graph.Launch {
		count := n.Out[0].Shape.Elems()
		value := math.Float32bits(n.Attr.(float32))
		return []graph.Launch{{Kernel: shaders.Variant{File: "fill"}, Params: []uint32{uint32(count), value}, Args: []graph.Arg{graph.Out(0)}, Rows: count}}
	},
}

// setting is a program that sets a slab of parts.
func setting(t *testing.T, v float32, slab *graph.State, parts ...*graph.Param) *graph.Program {
	g := graph.New()
	for _, p := range parts {
		g.Param(p)
	}
	g.Update(setOp, v, []*graph.State{slab})
	return build(t, g)
}

// reading is a program whose outputs are a parameter and its successor.
func reading(t *testing.T, p *graph.Param) *graph.Program {
	g := graph.New()
	x := g.Param(p)
	return build(t, g, x, g.Add(x, g.Fill(1, p.Shape...)))
}

// wantRead runs a session of reading.
func wantRead(t *testing.T, s *Session, first float32) {
	t.Helper()
	x, y := make([]float32, 64), make([]float32, 64)
	require.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{x, y}}))
	assert.Equal(t, []float32{first, first + 1}, []float32{x[0], y[0]})
}

func wantState(t *testing.T, w *Store, p *graph.Param, first, last float32) {
	t.Helper()
	v := make([]float32, p.Shape.Elems())
	require.NoError(t, w.Read(t.Context(), &p.State, v))
	assert.Equal(t, []float32{first, last}, []float32{v[0], v[len(v)-1]}, p.Name)
}

// A slab takes in the parts that were there before, and fills in the others. Whoever
// used them before or does after uses them there.
func TestSlab(t *testing.T) {
	d := open(t, Options{Check: true})
	w := d.NewStore()
	defer w.Close()
	a, b, c := param("a", source(1), 64), param("b", source(2), 3, 21), param("c", nil, 7)
	b.Format = packing.F32
	b.Shape = graph.Shape{3, 4} // 16 elements packed
	before := load(t, d, reading(t, a), w)
	wantRead(t, before, 1)
	require.NoError(t, w.Write(t.Context(), &a.State, count(64)))
	require.NoError(t, w.Write(t.Context(), &c.State, count(7)))
	wantRead(t, before, 0)

	used := d.MemoryInUse()
	slab := slabOf(a, b, c)
	p := setting(t, 5, slab, a, b, c)
	s := load(t, d, p, w)
	grown := slab.Bytes() - a.Bytes() - c.Bytes() - guardBytes + int64(len(p.Steps))*paramsBytes
	assert.Equal(t, grown, d.MemoryInUse()-used, "a and c are there once")
	wantState(t, w, a, 0, 63)
	wantState(t, w, b, 2, 13)
	wantState(t, w, c, 0, 6)
	wantRead(t, before, 0)

	require.NoError(t, s.Run(t.Context(), IO{}))
	wantRead(t, before, 5)
	wantRead(t, load(t, d, reading(t, a), w), 5)
	for _, p := range []*graph.Param{a, b, c} {
		wantState(t, w, p, 5, 5)
	}
	require.NoError(t, w.Write(t.Context(), &a.State, count(64)))
	wantRead(t, before, 0)
	wantState(t, w, b, 5, 5)
	require.NoError(t, before.Close())

	used = d.MemoryInUse()
	again := load(t, d, setting(t, 9, slabOf(a, b, c), a, b, c), w)
	assert.Equal(t, int64(len(p.Steps))*paramsBytes, d.MemoryInUse()-used, "slabs of the same parts are one")
	require.NoError(t, again.Run(t.Context(), IO{}))
	wantState(t, w, c, 9, 9)

	used = d.MemoryInUse()
	_, err := d.Load(setting(t, 1, slabOf(c, a), a, c), w)
	require.EqualError(t, err, "c lies in another slab than slab")
	assert.Equal(t, used, d.MemoryInUse())
}

func TestFree(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	a, b, other := param("a", source(1), 64), param("b", source(2), 64), param("other", source(3), 64)
	slab := slabOf(a, b)
	require.NoError(t, w.Free(slab, &other.State), "what is not there")
	require.NoError(t, w.Write(t.Context(), &other.State, count(64)))
	before := d.MemoryInUse()
	s := load(t, d, setting(t, 5, slab, a, b), w)
	require.EqualError(t, w.Free(&a.State), "state a lies in a slab")
	require.EqualError(t, w.Free(&other.State, slab), "state slab is in use")
	wantState(t, w, other, 0, 63)
	require.NoError(t, s.Close())
	require.NoError(t, w.Free(slab, &other.State))
	assert.Equal(t, before-other.Bytes(), d.MemoryInUse())
	for _, p := range []*graph.Param{a, b, other} {
		require.ErrorIs(t, w.Read(t.Context(), &p.State, make([]float32, 64)), errNotStored)
	}
	require.NoError(t, w.Write(t.Context(), &b.State, count(64)), "before there is a slab again")
	require.NoError(t, w.Free(slab))
	require.ErrorIs(t, w.Read(t.Context(), &b.State, make([]float32, 64)), errNotStored)

	require.NoError(t, w.Close())
	require.NoError(t, w.Free(slab))
	require.ErrorIs(t, (*Store)(nil).Free(slab), ErrClosed)
}

// A load that fails leaves no slab without parts, and parts that have moved whole.
func TestSlabOfALoadThatFails(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	broken := errors.New("broken")
	a, b := param("a", source(1), 64), param("b", badSource{broken}, 64)
	used := d.MemoryInUse()
	_, err := d.Load(setting(t, 5, slabOf(a, b), a, b), w)
	require.ErrorIs(t, err, broken)
	assert.Equal(t, used, d.MemoryInUse())

	before := load(t, d, reading(t, a), w)
	_, err = d.Load(setting(t, 5, slabOf(a, b), a, b), w)
	require.ErrorIs(t, err, broken)
	wantRead(t, before, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.LoadContext(ctx, setting(t, 5, slabOf(a, b), a, b), w)
	require.ErrorIs(t, err, context.Canceled)
	b.Source = source(2)
	s := load(t, d, setting(t, 5, slabOf(a, b), a, b), w)
	wantRead(t, before, 1)
	wantState(t, w, b, 2, 65)
	require.NoError(t, s.Run(t.Context(), IO{}))
	wantRead(t, before, 5)
}

// copyOp copies its second input to a State.
var copyOp = &graph.Op{
	Name:  "move",
	Infer: func(n *graph.Node) ([]graph.Spec, error) { return []graph.Spec{n.In[0].Spec()}, nil },
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{{Kernel: shaders.Variant{File: "copy"}, Params: []uint32{64}, Args: []graph.Arg{graph.In(1), graph.Out(0)}, Rows: 64}}
	},
}

// A kernel that reads one part and writes another cannot do so in a slab. Neither
// side is let into the library, and what was there first goes on.
func TestKernelsThatASlabForbids(t *testing.T) {
	a, b := param("a", source(1), 64), param("b", source(2), 64)
	moving := func() *graph.Program {
		g := graph.New()
		g.Param(b)
		g.Update(copyOp, nil, []*graph.State{&b.State}, g.Param(a))
		return build(t, g)
	}
	const want = "x and y lie in one slab, and one is written"
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	load(t, d, setting(t, 5, slabOf(a, b), a, b), w)
	_, err := d.Load(moving(), w)
	require.ErrorContains(t, err, want)

	w2 := d.NewStore()
	defer w2.Close()
	read := load(t, d, reading(t, b), w2)
	s := load(t, d, moving(), w2)
	used := d.MemoryInUse()
	_, err = d.Load(setting(t, 5, slabOf(a, b), a, b), w2)
	require.ErrorContains(t, err, want)
	assert.Equal(t, used, d.MemoryInUse())
	wantRead(t, read, 2)
	require.NoError(t, s.Run(t.Context(), IO{}))
	wantRead(t, read, 1)
}

// Runs go on while their States move.
func TestSlabsAreMadeWhileOthersRun(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	var params []*graph.Param
	for range 8 {
		params = append(params, param("p", source(1), 64))
	}
	var running sync.WaitGroup
	done := make(chan struct{})
	for _, p := range params[:3] {
		s := load(t, d, reading(t, p), w)
		running.Go(func() {
			for out := make([]float32, 64); ; {
				select {
				case <-done:
					return
				default:
				}
				assert.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{nil, out}}))
				assert.Equal(t, float32(2), out[0])
			}
		})
	}
	var loads sync.WaitGroup
	for i := range 4 {
		loads.Go(func() {
			two := params[2*i : 2*i+2]
			for range 3 {
				s, err := d.Load(setting(t, 1, slabOf(two...), two...), w)
				if assert.NoError(t, err) {
					assert.NoError(t, s.Close())
				}
			}
		})
	}
	loads.Wait()
	close(done)
	running.Wait()
}

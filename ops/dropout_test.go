package ops

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// The known answers of threefry2x32 with 20 rounds in Random123 (kat_vectors).
func TestRandomWord(t *testing.T) {
	for _, c := range []struct {
		seed            [2]uint32
		stream, i, want uint32
	}{
		{[2]uint32{}, 0, 0, 0x6b200159},
		{[2]uint32{0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff, 0x1cb996fc},
		{[2]uint32{0x13198a2e, 0x03707344}, 0x243f6a88, 0x85a308d3, 0xc4923a9c},
	} {
		seed := []float64{float64(int32(c.seed[0])), float64(int32(c.seed[1]))}
		assert.Equal(t, c.want, randomWord(seed, c.stream, c.i), "%#x", c)
	}
}

// evalTrained evaluates what record makes on a graph for training.
func evalTrained(t *testing.T, seed []float64, record func(g *graph.Graph) []graph.Tensor) [][]float64 {
	t.Helper()
	g := graph.New()
	g.Training = true
	v, err := g.Eval(map[string][]float64{"seed": seed}, nil, record(g)...)
	require.NoError(t, err)
	return v
}

// correlation of two masks, which is of the size 1/√n where they are independent.
func correlation(a, b []float64) float64 {
	n := float64(len(a))
	var sumA, sumB, aa, bb, ab float64
	for i := range a {
		sumA, sumB, aa, bb, ab = sumA+a[i], sumB+b[i], aa+a[i]*a[i], bb+b[i]*b[i], ab+a[i]*b[i]
	}
	return (n*ab - sumA*sumB) / math.Sqrt((n*aa-sumA*sumA)*(n*bb-sumB*sumB))
}

// Masks keep the share that they should, and those of two places, two items, two seeds
// or two distances from each other have nothing in common. The bounds are five standard
// deviations.
func TestMasks(t *testing.T) {
	const items, width = 16, 12289
	const n = items * width
	for _, rate := range []float64{0.1, 0.5, 0.9} {
		masks := func(seed ...float64) [][]float64 {
			return evalTrained(t, seed, func(g *graph.Graph) []graph.Tensor {
				ones := g.Fill(1, items, width)
				return []graph.Tensor{Dropout(g, ones, rate), Dropout(g, ones, rate)}
			})
		}
		first := masks(1, 0)
		assert.Equal(t, first, masks(1, 0))
		mask := first[0]
		kept := 0.0
		for _, v := range mask {
			require.Contains(t, []float64{0, 1 / (1 - rate)}, v)
			kept += v * (1 - rate) / n
		}
		assert.InDelta(t, 1-rate, kept, 5*math.Sqrt(rate*(1-rate)/n))
		other := map[string][]float64{"another place": first[1], "the next seed": masks(2, 0)[0], "another key": masks(1, 1)[0], "negative": masks(-1, 0)[0]}
		for _, lag := range []int{1, 2, 3, 4, 8, 31, 32, 63, 64, 65, 197, 768, 4096, width} {
			other[fmt.Sprint("lag ", lag)] = slices.Concat(mask[lag:], mask[:lag])
		}
		for name, m := range other {
			assert.Less(t, math.Abs(correlation(mask, m)), 5/math.Sqrt(n), "rate %v: %s", rate, name)
		}
	}
}

// A path is dropped for whole items.
func TestDropPathDropsItems(t *testing.T) {
	const items, width = 4096, 3
	paths := evalTrained(t, []float64{3, 4}, func(g *graph.Graph) []graph.Tensor {
		return []graph.Tensor{DropPath(g, g.Fill(1, items, 1, width), 0.25)}
	})[0]
	kept := 0.0
	for item := range slices.Chunk(paths, width) {
		require.Equal(t, slices.Repeat(item[:1], width), item)
		kept += item[0] * 0.75 / items
	}
	assert.InDelta(t, 0.75, kept, 5*math.Sqrt(0.25*0.75/items))
}

// The class token comes first, then different patches of the item, each as often as any
// other and at any place. A gradient flows to these alone.
func TestPatchDropoutKeepsASubset(t *testing.T) {
	const batch, tokens, keep = 2000, 11, 4
	numbers := &graph.Param{State: graph.State{Name: "x", Spec: graph.Spec{Shape: graph.Shape{batch, tokens, 1}}}}
	x := make([]float64, batch*tokens)
	for i := range x {
		x[i] = float64(i)
	}
	g := graph.New()
	g.Training = true
	kept, _ := PatchDropout(g, g.Param(numbers), graph.Tensor{}, 1, 0.55)
	grad := g.Grad(Sum(g, kept), g.Param(numbers))[0]
	v, err := g.Eval(map[string][]float64{"seed": {5, 6}}, map[*graph.State][]float64{&numbers.State: x}, kept, grad)
	require.NoError(t, err)
	assert.Equal(t, graph.Shape{batch, 1 + keep, 1}, kept.Shape())
	var seen [keep][tokens]float64
	for b := range batch {
		ids, flow := v[0][b*(1+keep):(b+1)*(1+keep)], make([]float64, tokens)
		for i, id := range ids {
			token := int(id) - b*tokens
			flow[token]++
			if i > 0 {
				seen[i-1][token]++
			}
		}
		require.Equal(t, float64(b*tokens), ids[0], "the class token")
		require.Equal(t, 1.0, slices.Max(flow), "a token twice")
		require.Equal(t, flow, v[1][b*tokens:(b+1)*tokens])
	}
	for position := range seen {
		for _, times := range seen[position][1:] {
			assert.InDelta(t, batch/10, times, 5*math.Sqrt(batch*0.1*0.9), "position %d", position)
		}
	}
}

// Nothing is recorded where nothing drops.
func TestNothingDrops(t *testing.T) {
	g := graph.New()
	x := g.Fill(1, 2, 3, 4)
	check := func(rate float64) {
		assert.Equal(t, x, Dropout(g, x, rate))
		assert.Equal(t, x, DropPath(g, x, rate))
		kept, rows := PatchDropout(g, x, x, 1, rate)
		assert.Equal(t, [2]graph.Tensor{x, x}, [2]graph.Tensor{kept, rows})
	}
	check(0.5)
	g.Training = true
	check(0)
	y := Attention(g, x, x, x, graph.Tensor{}, AttentionConfig{Heads: 2, Scale: 1})
	p, err := g.Build(y)
	require.NoError(t, err)
	assert.Empty(t, p.Inputs)
}

func TestRatesOutside(t *testing.T) {
	for _, rate := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		for name, record := range map[string]func(g *graph.Graph, x graph.Tensor){
			"dropout":       func(g *graph.Graph, x graph.Tensor) { Dropout(g, x, rate) },
			"drop path":     func(g *graph.Graph, x graph.Tensor) { DropPath(g, x, rate) },
			"patch dropout": func(g *graph.Graph, x graph.Tensor) { PatchDropout(g, x, graph.Tensor{}, 1, rate) },
			"attention": func(g *graph.Graph, x graph.Tensor) {
				Attention(g, x, x, x, graph.Tensor{}, AttentionConfig{Heads: 2, Dropout: rate})
			},
		} {
			g := graph.New()
			record(g, g.Fill(1, 2, 3, 4))
			assert.ErrorContains(t, g.Err(), fmt.Sprintf("a dropout rate of %v, want 0 to 1", rate), name)
		}
	}
}

package ops

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// edited has kernels read from a folder where all that begins with mark in a line of
// these files is something else.
func edited(t *testing.T, mark, to string, files ...string) {
	t.Helper()
	dir, marked := t.TempDir(), regexp.MustCompile(mark+".*")
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("..", "shaders", file+".wgsl"))
		require.NoError(t, err)
		require.Regexp(t, marked, string(text))
		require.NoError(t, os.WriteFile(filepath.Join(dir, file+".wgsl"), marked.ReplaceAll(text, []byte(to)), 0o666))
	}
	t.Setenv(debug.Variable, "wgsl="+dir)
}

// kernelsOf builds a packed linear map of some rows, a layer norm and the gradients of
// both, and lists the kernels with tuned constants.
func kernelsOf(rows int, adapter graph.Adapter) (kernels []*shaders.Kernel, err error) {
	g := graph.New()
	g.Adapter = adapter
	w := &graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{512, 256}}, Format: packing.F32}
	x := g.Input("x", graph.Shape{rows, 256}, graph.F32)
	weight := g.State(w)
	y := Linear(g, LayerNorm(g, x, graph.Tensor{}, graph.Tensor{}, 1e-5), weight, graph.Tensor{})
	p, err := g.Build(append([]graph.Tensor{y}, g.Grad(Sum(g, y), x, weight)...)...)
	if err != nil {
		return nil, err
	}
	for _, s := range p.Steps {
		if s.Class != "" && s.Kernel.Name != "sum_axis" { // of slices
			kernels = append(kernels, s.Kernel)
		}
	}
	return kernels, nil
}

// An edited kernel may tune other values than those measured: the nearest is taken.
func TestVariantsOfEditedKernels(t *testing.T) {
	files := []string{"linear_split", "linear_step", "linear_weight_grad", "layernorm", "layernorm_grad"}
	constants := map[string]string{"linear_split": "ROWS", "linear_step": "GROUPS", "layernorm": "WG", "layernorm_grad": "WG"}
	for tune, values := range map[string][]int{"//!tune 4": {4}, "//!tune 8 4": {4, 8}, "// none": nil} {
		t.Run(tune, func(t *testing.T) {
			edited(t, "//!tune", tune, files...)
			for _, rows := range []int{1, 5, 50, 300, 5000} {
				for _, adapter := range adapters {
					kernels, err := kernelsOf(rows, adapter)
					require.NoError(t, err)
					require.Len(t, kernels, 5)
					for _, k := range kernels {
						file := regexp.MustCompile(`^\w+`).FindString(k.Name)
						if constant, ok := constants[file]; ok && values != nil {
							assert.Contains(t, values, k.Consts[constant], k.Name)
						}
					}
				}
			}
		})
	}
}

var adapters = []graph.Adapter{graph.Discrete, graph.Integrated, graph.CPU}

// TestDefaultKernels: what is taken where nothing was measured.
func TestDefaultKernels(t *testing.T) {
	const split1, split4, split8, tiles = "linear_split ROWS=1", "linear_split ROWS=4", "linear_split ROWS=8", "linear_tile"
	const step, wide, row1 = "linear_step GROUPS=2", "linear_step GROUPS=4", "linear_row"
	for _, c := range []struct {
		rows, cols int
		backward   bool
		gpu, cpu   string
	}{
		{1, 512, false, row1, split1},
		{2, 512, true, row1, split1},
		{3, 512, false, row1, split4},
		{4, 512, true, row1, split4},
		{5, 512, false, split1, step},
		{8, 512, true, split1, wide},
		{8, 255, true, split1, step},
		{9, 512, false, split4, step},
		{64, 256, true, split4, wide},
		{65, 512, false, split8, step},
		{100, 768, true, split8, wide},
		{5000, 16, false, split8, step},
		{5000, 512, false, tiles, step},
		{5000, 512, true, tiles, wide},
	} {
		p := packedLinear{m: c.rows, n: c.cols, k: 256, backward: c.backward}
		for _, a := range adapters {
			want := c.gpu
			if a == graph.CPU {
				want = c.cpu
			}
			candidates := p.candidates(a)
			assert.Equal(t, want, candidates[0].String(), "%+v on adapter %d", c, a)
			assert.Len(t, candidates, len(tuned("linear_split"))+len(tuned("linear_step"))+len(tuned("linear_tile"))+len(tuned("linear_row")))
		}
	}
	for _, a := range adapters {
		row, grad, attention, scores := "layernorm WG=128", "linear_weight_grad GROUPS=1 WG=32", "one pass", "attention_grad_tile"
		if a == graph.CPU {
			row, grad, attention, scores = "layernorm WG=32", "linear_weight_grad GROUPS=4 WG=8", "three passes", "attention_grad"
		}
		assert.Equal(t, row, rowDefault("layernorm", 256, a).String())
		assert.Equal(t, "layernorm WG=32", rowDefault("layernorm", 255, a).String())
		assert.Equal(t, grad, weightGradDefault(a, 1, 512, 512).String())
		assert.Equal(t, attention, attentionDefault(a))
		assert.Equal(t, scores, scoresGradDefault(a).String())
	}
}

// TestTilesByWork: where nothing was measured, tiles are for GPUs that they fill.
func TestTilesByWork(t *testing.T) {
	for _, c := range []struct {
		groups, m, n, k int
		want, why       string
	}{
		{1, 1000, 1000, 16, "matmul_tile", "256 tiles"},
		{1, 1000, 1000, 15, "matmul", "sums that are shorter than a part"},
		{1, 768, 768, 6400, "matmul", "144 tiles"},
		{192, 50, 50, 64, "matmul_tile", "192 tiles, of which 0.61 is wanted"},
		{4000, 31, 32, 64, "matmul", "tiles of which less than a quarter is wanted"},
	} {
		p := gemm{batches: c.groups, heads: 1, m: c.m, n: c.n, k: c.k}
		assert.Equal(t, c.want, productKernels(graph.Discrete, p)[0].File, c.why)
		assert.Equal(t, "matmul", productKernels(graph.CPU, p)[0].File, c.why)
		assert.Equal(t, "matmul", productKernels(graph.Discrete, p, gemm{batches: 1, heads: 1, m: 1, n: 1, k: 64})[0].File, "one of two")
	}
	for _, c := range []struct {
		rows, out, in, slices int
		want                  string
	}{
		{6400, 3072, 768, 1, "linear_weight_grad_tile"},
		{6400, 2304, 768, 2, "linear_weight_grad_tile"},
		{6400, 768, 768, 4, "linear_weight_grad_tile"},
		{400, 768, 768, 1, "linear_weight_grad"},
		{400, 1024, 768, 1, "linear_weight_grad_tile"},
		{1 << 20, 64, 64, 64, "linear_weight_grad_tile"},
		{6400, 20, 30720, 2, "linear_weight_grad_tile"},
		{6400, 12, 30720, 2, "linear_weight_grad"},
	} {
		count, size := rowSlices(c.rows, c.out, c.in)
		assert.Equal(t, c.slices, count, c)
		assert.Less(t, (count-1)*size, c.rows, c)
		assert.GreaterOrEqual(t, count*size, c.rows, c)
		assert.Equal(t, c.want, weightGradKernels(graph.Discrete, c.rows, c.out, c.in)[0].File, c)
		assert.Equal(t, "linear_weight_grad", weightGradKernels(graph.CPU, c.rows, c.out, c.in)[0].File, c)
	}
}

func TestBuildRefusesEditedKernels(t *testing.T) {
	for _, tune := range []string{"//!tune", "//!tune x", "//!tune -1"} {
		edited(t, "//!tune", tune, "linear_split")
		_, err := kernelsOf(5, graph.Discrete)
		require.ErrorContains(t, err, "linear_split.wgsl:11: want `const NAME = VALUE;  //!tune N N …`", tune)
	}
	edited(t, "//!tune", "//!tune 16", "linear_split")
	_, err := kernelsOf(5, graph.Discrete)
	require.ErrorContains(t, err, "linear_split.wgsl:14: const_assert fails: ROWS <= SLICES")
	edited(t, "//!tile", "", "linear_tile")
	_, err = kernelsOf(5000, graph.Discrete)
	require.ErrorContains(t, err, "linear_tile.wgsl: want //!tile and what a workgroup makes")
}

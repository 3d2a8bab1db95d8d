package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Towers whose ops were fused compute what they compute without: a recording of each
// family, and of options whose ops are fused.
func TestFusedTowersEqualUnfusedOnes(t *testing.T) {
	dev := openChecked(t)
	names := []string{"opt_scale_fc", "opt_attn_pool"}
	for _, f := range towers.Families() {
		if f.Recording != "" && !slices.Contains(names, f.Recording) {
			names = append(names, f.Recording)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			m := openRecorded(t, name, clip.WithDevice(dev))
			m.Eval()
			fused, steps := runTowers(t, m, name, func(*graph.Graph) {})
			unfused, more := runTowers(t, m, name, func(g *graph.Graph) { g.Unfused = true })
			assert.Less(t, len(steps), len(more), "nothing was fused")
			branches := count(more, "batchnorm_fold") // whose sum is one convolution in any case
			assert.Equal(t, count(more, "batchnorm"), count(steps, "batchnorm_fold")-branches+count(steps, "batchnorm"), "batch norms")
			assert.Equal(t, name == "fastvit_mci0", branches > 0)
			if name == "modified_resnet" {
				assert.Positive(t, count(steps, "batchnorm_fold"))
				assert.Zero(t, count(steps, "batchnorm"), "every convolution takes its batch norm in")
			}
			for i := range fused {
				assert.InDeltaSlice(t, unfused[i], fused[i], 1e-5, "output %d", i)
			}
			if count(more, "unfold") == 0 {
				return
			}
			ofGPU, steps := runTowers(t, m, name, func(g *graph.Graph) { g.Adapter = graph.Discrete })
			pools := map[string]int{"timm_resnet18": 1}[name] // by the maxima of unfolded windows
			assert.Equal(t, pools, count(steps, "unfold"), "a GPU reads windows from the image")
			for i := range ofGPU {
				assert.InDeltaSlice(t, unfused[i], ofGPU[i], 1e-5, "output %d", i)
			}
		})
	}
}

// count is how many of the steps a kernel file makes.
func count(steps []graph.Step, file string) (n int) {
	for _, s := range steps {
		if name, _, _ := strings.Cut(s.Kernel.Name, " "); name == file {
			n++
		}
	}
	return n
}

// runTowers returns the unit features of the first two images and texts of a recording,
// and the steps that make them. change is called before the graph is built.
func runTowers(t *testing.T, m *clip.Model, name string, change func(*graph.Graph)) (features [][]float32, steps []graph.Step) {
	t.Helper()
	images, texts := recordedInputs(t, name)
	images.Data, texts = images.Data[:2*len(images.Data)/images.Shape[0]], texts[:2]
	images.Shape[0] = 2
	feed, lengths, err := m.Feed(map[string]clip.Array{towers.Image: images}, texts)
	require.NoError(t, err)
	g := graph.New()
	outs := m.Record(g, 2, lengths)
	image, text := outs[towers.ImageFeatures], outs[towers.TextFeatures]
	change(g)
	prog, err := g.Build(image, text)
	require.NoError(t, err)
	session, err := m.Device().Load(prog, m.Store())
	require.NoError(t, err)
	defer session.Close()
	features = [][]float32{make([]float32, image.Shape().Elems()), make([]float32, text.Shape().Elems())}
	require.NoError(t, session.Run(t.Context(), gpu.IO{Inputs: feed, Outputs: features}))
	return features, prog.Steps
}

package tests

import (
	"encoding/json"
	"hash/crc32"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// dropoutCase is what make_dropout.py recorded of one model.
type dropoutCase struct {
	Name      string
	Config    json.RawMessage
	Loss      float64
	Digests   map[string][2]float64 // of each gradient: its norm, and its product with a cosine
	Tolerance float64               // of both, in norms
}

// Towers drop where open_clip, timm and transformers do, as much, and in their order:
// with the same masks there are the same loss and gradients.
func TestDropoutFollowsOpenCLIP(t *testing.T) {
	data, err := os.ReadFile("testdata/dropout.json")
	require.NoError(t, err)
	var recorded struct {
		Seed  []int32
		Texts [][]int32
		Cases []dropoutCase
	}
	require.NoError(t, json.Unmarshal(data, &recorded))
	require.Len(t, recorded.Cases, 14)
	for _, c := range recorded.Cases {
		t.Run(c.Name, func(t *testing.T) {
			cfg, _, err := models.Parse(c.Config)
			require.NoError(t, err)
			m, err := clip.New(cfg, 1, clip.WithGPU(gpu.Options{DefaultLimits: true}))
			require.NoError(t, err)
			defer func() { assert.NoError(t, m.Close()) }()
			side := cfg.VisionCfg.ImageSize[0]
			images := clip.Array{Shape: []int{3, 3, side, side}, Data: recordedNumbers("image", 3*3*side*side, 1, 0)}
			loss, grads := gradientsOf(t, m, images, recorded.Texts, recorded.Seed)
			assert.InDelta(t, c.Loss, loss, 1e-5)
			require.Len(t, grads, len(c.Digests))
			for name, want := range c.Digests {
				norm, product := 0.0, 0.0
				for i, x := range grads[name] {
					norm += float64(x) * float64(x)
					product += float64(x) * math.Cos(0.37*float64(i)+1)
				}
				tol := c.Tolerance*want[0] + 1e-6
				assert.InDelta(t, want[0], math.Sqrt(norm), tol, name)
				assert.InDelta(t, want[1], product, tol, name)
			}
		})
	}
}

// recordedNumbers are those of make_dropout.py.
func recordedNumbers(name string, n int, scale, shift float64) []float32 {
	v, start := make([]float32, n), int(crc32.ChecksumIEEE([]byte(name)))
	for i := range v {
		v[i] = float32((float64(((7*i+13)*i+start)%1009)/504-1)*scale + shift)
	}
	return v
}

// gradientsOf gives m the recorded parameters, and returns ClipLoss and the gradients in
// training mode, by name.
func gradientsOf(t *testing.T, m *clip.Model, images clip.Array, texts [][]int32, seed []int32) (loss float64, grads map[string][]float32) {
	t.Helper()
	g := graph.New()
	feed, lengths, err := m.Feed(map[string]clip.Array{towers.Image: images}, texts)
	require.NoError(t, err)
	outs := m.Record(g, len(texts), lengths)
	f := train.Features{Image: outs[towers.ImageFeatures], Text: outs[towers.TextFeatures]}
	var params []*graph.Param
	var wrt []graph.Tensor
	io := gpu.IO{}
	grads = map[string][]float32{}
	for name, p := range m.Parameters() {
		if name == "logit_scale" {
			f.LogitScale = ops.Map(g, g.Reshape(g.Param(p), 1), ops.Exp)
		}
		if p.RequiresGrad() {
			params, wrt = append(params, p), append(wrt, g.Param(p))
			grads[name] = make([]float32, p.Shape.Elems())
			io.Outputs = append(io.Outputs, grads[name])
		}
	}
	scalar := train.ClipLoss{}.Record(g, f)
	prog, err := g.Build(append(g.Grad(scalar, wrt...), scalar)...)
	require.NoError(t, err)
	s, err := m.Device().Load(prog, m.Store())
	require.NoError(t, err)
	defer s.Close()
	for _, p := range params {
		shift := 0.0
		switch {
		case p.Name == "logit_scale":
			shift = 2
		case len(p.Shape) == 1 && strings.HasSuffix(p.Name, "weight"):
			shift = 1
		}
		require.NoError(t, m.Store().Write(t.Context(), &p.State, recordedNumbers(p.Name, p.Shape.Elems(), 0.25, shift)))
	}
	feed["labels"], feed["seed"] = []int32{0, 1, 2}, seed
	io.Inputs = map[string]any{}
	for _, in := range prog.Inputs {
		io.Inputs[in.Name] = feed[in.Name]
	}
	last := []float32{0}
	io.Outputs = append(io.Outputs, last)
	require.NoError(t, s.Run(t.Context(), io))
	return float64(last[0]), grads
}

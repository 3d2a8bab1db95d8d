package tests

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// openRecorded opens the model of a recording.
func openRecorded(t *testing.T, name string, opts ...clip.Option) *clip.Model {
	t.Helper()
	folder := filepath.Join("testdata", "oracle", name)
	data, err := os.ReadFile(filepath.Join(folder, "config.json"))
	require.NoError(t, err)
	c, _, err := models.Parse(data)
	require.NoError(t, err)
	m, err := clip.Load(t.Context(), filepath.Join(folder, "model.safetensors"), append(opts, clip.WithConfig(c))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// Where a device has weights lie is nothing that its answers show: towers of fused
// and of separate attention projections, of transposed ones and of convolutions
// encode in every format, and train in f32.
func TestArrangementsGiveTheSameAnswers(t *testing.T) {
	open := func(a packing.Arrangement) *gpu.Device {
		dev, err := gpu.Open(gpu.Options{DefaultLimits: true, Check: true, Arrangement: a})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, dev.Close()) })
		return dev
	}
	ours, rows, odd := open(packing.Arrangement{}), open(packing.Panels(1)), open(packing.Panels(3))
	for _, c := range []struct {
		model   string
		format  clip.CastDType
		another *gpu.Device
		debug   string
	}{
		{"vit_openai_tiny", clip.F32, rows, ""},
		{"vit_openai_tiny", clip.F16, rows, ""},
		{"vit_openai_tiny", clip.BF16, rows, ""},
		{"vit_openai_tiny", clip.Q8, rows, ""},
		{"siglip2_timm_map", clip.F32, odd, ""},
		{"siglip2_timm_map", clip.Q8, odd, ""},
		{"modified_resnet", clip.F32, odd, ""},
		{"modified_resnet", clip.Q8, odd, "kernels=gpu"}, // whose kernels read columns of weights, not blocks
	} {
		t.Run(c.model+" "+string(c.format)+" "+c.debug, func(t *testing.T) {
			t.Setenv(debug.Variable, c.debug)
			training := c.format == clip.F32
			want := answer(t, openRecorded(t, c.model, clip.WithDevice(ours), clip.WithCastDType(c.format)), training)
			got := answer(t, openRecorded(t, c.model, clip.WithDevice(c.another), clip.WithCastDType(c.format)), training)
			assert.Equal(t, want, got)
		})
	}
}

// A program for another arrangement would read other elements: it is refused.
func TestProgramsForOtherArrangementsAreRefused(t *testing.T) {
	g := graph.New()
	g.Arrangement = packing.Panels(3)
	g.Assign(&graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{4, 4}}, Format: packing.F32}, g.Fill(1, 4, 4))
	prog, err := g.Build()
	require.NoError(t, err)
	dev := openChecked(t)
	store := dev.NewStore()
	defer store.Close()
	_, err = dev.Load(prog, store)
	assert.EqualError(t, err, "the program wants state w in panels of 3 blocks, it lies in panels of 8 blocks")
}

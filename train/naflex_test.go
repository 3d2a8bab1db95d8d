package train

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// sequencesFor is batchFor with pictures of several sizes, of which some have padding.
func sequencesFor(m *clip.Model, n, length, width int) Batch {
	b := batchFor(m, n)
	in := map[string]clip.Array{}
	for name, shape := range map[string][]int{towers.Patches: {n, length, width}, towers.PatchCoord: {n, length, 2}, towers.PatchValid: {n, length}} {
		in[name] = clip.Array{Shape: shape, Data: make([]float32, graph.Shape(shape).Elems())}
	}
	for i := range in[towers.Patches].Data {
		in[towers.Patches].Data[i] = float32(math.Sin(float64(i) * 1.3))
	}
	for i := range n {
		columns := 1 + i%3
		for j := range length / (1 + i%2) / columns * columns {
			at := i*length + j
			in[towers.PatchCoord].Data[2*at], in[towers.PatchCoord].Data[2*at+1] = float32(j/columns), float32(j%columns)
			in[towers.PatchValid].Data[at] = 1
		}
	}
	b.Images, b.Inputs = clip.Array{}, in
	return b
}

// Checkpointing changes no bit of losses and parameters on such pictures, and computes
// blocks again.
func TestCheckpointingOfSequences(t *testing.T) {
	for _, name := range []string{"naflex_gap", "naflex_map_swiglu_modern"} {
		run := func(checkpointing bool) (losses []float64, all map[string]clip.Array, steps int) {
			m := openRecording(t, name)
			m.SetGradCheckpointing(checkpointing)
			trainer := newTrainer(t, m)
			b := sequencesFor(m, 3, 7, 48)
			for range 3 {
				loss, err := trainer.Step(t.Context(), b)
				require.NoError(t, err)
				losses = append(losses, loss)
			}
			all, err := trainer.Parameters(t.Context())
			require.NoError(t, err)
			return losses, all, len(trainer.programs[size{3, towers.Lengths{Image: 7, Text: len(b.Texts[0])}}].step.plan.whole.Steps)
		}
		losses, parameters, plain := run(false)
		again, same, checkpointed := run(true)
		assert.Equal(t, losses, again, name)
		assert.Equal(t, parameters, same, name)
		assert.Greater(t, checkpointed, plain, name)
	}
}

// Three steps on pictures of several sizes give the same bits on two runs, and nearly those
// of micro-batches.
func TestTrainingOnSequences(t *testing.T) {
	run := func(micro int) (losses []float64) {
		m := openRecording(t, "naflex_map_swiglu_modern")
		c := DefaultConfig()
		c.MicroBatch = micro
		trainer := newTrainerOf(t, m, c)
		b := sequencesFor(m, 5, 9, 48)
		for range 3 {
			loss, err := trainer.Step(t.Context(), b)
			require.NoError(t, err)
			losses = append(losses, loss)
		}
		return losses
	}
	losses := run(0)
	assert.Less(t, losses[2], losses[0])
	assert.Equal(t, losses, run(0))
	assert.InDeltaSlice(t, losses, run(2), 1e-4)
}

package train

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// Three steps of CoCa, whose image tower is locked but for its last group, give the same
// on two runs, of which one computes blocks twice.
func TestCoCaTrains(t *testing.T) {
	run := func(checkpointing bool) (losses []float64, before, after map[string]clip.Array) {
		m := openRecording(t, "coca_base_nopool")
		m.SetGradCheckpointing(checkpointing)
		m.LockImageTower(1, false)
		c := DefaultConfig()
		c.Loss = CoCaLoss{ClipWeight: 1, CaptionWeight: 2}
		trainer, err := New(m, c)
		require.NoError(t, err)
		defer trainer.Close()
		before, err = trainer.Parameters(t.Context())
		require.NoError(t, err)
		b := batchFor(m, 3)
		for range 3 {
			loss, err := trainer.Step(t.Context(), b)
			require.NoError(t, err)
			losses = append(losses, loss)
		}
		after, err = trainer.Parameters(t.Context())
		require.NoError(t, err)
		return losses, before, after
	}
	losses, before, after := run(false)
	again, _, same := run(true)
	assert.Equal(t, losses, again)
	assert.Equal(t, after, same)
	assert.Less(t, losses[2], losses[0])
	for name, moves := range map[string]bool{
		"visual.conv1.weight": false, "visual.proj": true, "text.cls_emb": true,
		"text_decoder.cross_attn.1.ln_1_kv.weight": true, "text_decoder.text_projection": true,
	} {
		assert.Equal(t, moves, !assert.ObjectsAreEqual(before[name].Data, after[name].Data), name)
	}
}

func TestCoCaLossRefusals(t *testing.T) {
	m := openRecording(t, "opt_custom_text")
	_, _, err := Gradients(t.Context(), m, CoCaLoss{ClipWeight: 1, CaptionWeight: 2}, batchFor(m, 2))
	require.ErrorContains(t, err, "no logits of a decoder")
	_, err = CoCaLoss{}.Inputs(t.Context(), Batch{Texts: [][]int32{{1}}})
	require.ErrorIs(t, err, clip.ErrInput)
}

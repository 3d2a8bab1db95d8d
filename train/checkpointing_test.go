package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// openRecording opens the model of a recording.
func openRecording(t *testing.T, name string) *clip.Model {
	t.Helper()
	dir := filepath.Join(recordings, name)
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	cfg, _, err := models.Parse(data)
	require.NoError(t, err)
	m, err := clip.Load(t.Context(), dir, clip.WithConfig(cfg), clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

// batchFor is n pairs of a model of any family.
func batchFor(m *clip.Model, n int) Batch {
	c := m.Config()
	b := Batch{Images: clip.Array{Shape: []int{n, 3, c.VisionCfg.ImageSize[0], c.VisionCfg.ImageSize[1]}}}
	b.Images.Data = make([]float32, graph.Shape(b.Images.Shape).Elems())
	for i := range b.Images.Data {
		b.Images.Data[i] = float32(math.Sin(float64(i) * 1.7))
	}
	length := c.TextCfg.ContextLength
	if c.CustomText { // takes shorter texts; hf_roberta_quick has 20 positions
		length = min(length, 8)
	}
	for i := range n {
		row := make([]int32, length)
		row[0], row[1], row[2] = int32(i+1), 2, int32(3+i)
		b.Texts = append(b.Texts, row)
	}
	return b
}

// TestCheckpointingChangesNoBit in three steps of a model of each family: of losses, parameters and running statistics.
func TestCheckpointingChangesNoBit(t *testing.T) {
	for _, name := range []string{
		"modified_resnet", "opt_all_block", "siglip_timm_map", "timm_vit_dinov2_reg", "pe_core", "hf_roberta_quick", "mobileclip_b_mci", "convnext_base_linear", "fastvit_mci0", "vitamin_small",
		"eva02_base_clip", "timm_resnet18",
		"timm_eva02", "swin_base", "vit_relpos_cls", "hf_bert_cls_linear", "hf_mt5_mean_mlp", "hf_nllb_cls_linear", "hf_modernbert_cls_linear",
		"moderntext_vit_b32", "opt_modern_reg_vr",
	} {
		t.Run(name, func(t *testing.T) {
			run := func(checkpointing bool) (losses []float64, all map[string]clip.Array, plan *Plan) {
				m := openRecording(t, name)
				m.SetGradCheckpointing(checkpointing)
				trainer := newTrainer(t, m)
				b := batchFor(m, 3)
				for range 3 {
					loss, err := trainer.Step(t.Context(), b)
					require.NoError(t, err)
					losses = append(losses, loss)
				}
				all, err := trainer.Parameters(t.Context())
				require.NoError(t, err)
				return losses, all, trainer.programs[size{3, towers.Lengths{Text: len(b.Texts[0])}}].step.plan
			}
			losses, parameters, plain := run(false)
			again, same, checkpointed := run(true)
			assert.Equal(t, losses, again)
			assert.Equal(t, parameters, same)
			assert.Greater(t, len(checkpointed.whole.Steps), len(plain.whole.Steps))
		})
	}
}

// planned builds a model of open_clip's that nothing is loaded of, and a recipe for it.
func planned(t *testing.T, c config.Config, change func(*towers.Model)) recipe {
	t.Helper()
	m, err := towers.Build(c)
	require.NoError(t, err)
	if change != nil {
		change(m)
	}
	r, err := newRecipe(m, graph.Target{MaxBinding: 1 << 31}, DefaultConfig())
	require.NoError(t, err)
	return r
}

// arena is the activation memory of a step of n pairs but for the gradients of
// parameters.
func (r *recipe) arena(t *testing.T, n int) int64 {
	t.Helper()
	p, err := r.program(n, towers.Lengths{Text: 77})
	require.NoError(t, err)
	bytes := p.ArenaBytes()
	for _, b := range r.slabs {
		bytes -= b.like.Bytes()
	}
	return bytes
}

// TestCheckpointingSavesActivations: a quarter of them suffices for ViT-B-16.
func TestCheckpointingSavesActivations(t *testing.T) {
	c, err := models.Config("ViT-B-16")
	require.NoError(t, err)
	plain := planned(t, c, nil)
	checkpointed := planned(t, c, func(m *towers.Model) { m.GradCheckpointing = true })
	a, b := plain.arena(t, 64), checkpointed.arena(t, 64)
	assert.LessOrEqual(t, float64(b), 0.25*float64(a))
	t.Logf("%.0f MiB, with checkpointing %.0f MiB", float64(a)/(1<<20), float64(b)/(1<<20))
}

// TestFrozenCostsNothing: below what trains no gradient is computed and no activation
// kept.
func TestFrozenCostsNothing(t *testing.T) {
	c, err := models.Config("ViT-B-32")
	require.NoError(t, err)
	const n = 16
	gradients := func(r recipe) map[string]int {
		p, err := r.program(n, towers.Lengths{Text: 77})
		require.NoError(t, err)
		count := map[string]int{}
		for _, s := range p.Steps {
			if under, ok := strings.CutPrefix(s.Scope, "grad."); ok {
				count[under]++
			}
		}
		return count
	}
	all := planned(t, c, nil)
	assert.Greater(t, gradients(all)["visual.transformer.resblocks.0.mlp.c_fc"], 0)

	both := planned(t, c, func(m *towers.Model) {
		m.LockImageTower(0, true)
		require.NoError(t, m.LockTextTower(0, true))
		for _, p := range m.Parameters() {
			p.Frozen = p != m.LogitScale
		}
	})
	for scope := range gradients(both) {
		assert.False(t, strings.HasPrefix(scope, "visual") || strings.HasPrefix(scope, "transformer") || strings.HasPrefix(scope, "ln_final"), scope)
	}
	features, err := both.features(n, towers.Lengths{Text: 77})
	require.NoError(t, err)
	assert.LessOrEqual(t, both.arena(t, n), features.ArenaBytes()+1<<20, "what the features take, and a loss of 16 pairs")

	for unlocked := range 4 { // groups: ln_post and proj, then blocks from the last on
		r := planned(t, c, func(m *towers.Model) { m.LockImageTower(unlocked, true) })
		seen := 0
		for scope := range gradients(r) {
			var block int
			if k, _ := fmt.Sscanf(scope, "visual.transformer.resblocks.%d", &block); k == 1 {
				assert.GreaterOrEqual(t, block, 12-max(0, unlocked-1), scope)
				seen++
			}
		}
		assert.Equal(t, unlocked > 1, seen > 0, "%d groups", unlocked)
	}
	image := planned(t, c, func(m *towers.Model) { m.LockImageTower(0, true) })
	assert.Less(t, float64(image.arena(t, n)), 0.7*float64(all.arena(t, n)))
}

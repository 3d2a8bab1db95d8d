package verify

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// TestKernelsOfGPUs: a GPU's kernels and fused ops are as right as a software driver's, on one of each family of towers
// and in training.
func TestKernelsOfGPUs(t *testing.T) {
	t.Setenv(debug.Variable, "kernels=gpu")
	v := newVerifier(t, gpu.Options{DefaultLimits: true, Check: true})
	for _, name := range []string{
		"bn_train_mobileclip_b_mci", "convnext_base_linear", "emoji_clip", "eva02_base_clip", "fastvit_mci0", "hf_roberta_quick", "intermediates_resnet", "mobileclip_b_mci", "modified_resnet",
		"pe_core", "siglip2_timm_map", "timm_resnet18", "timm_vit_dinov2_reg", "train_resnet", "vit_openai_tiny", "vitamin_small",
		"swin_base", "vit_relpos_cls", "hf_modernbert_cls_linear", "hf_mt5_mean_mlp", "opt_modern_reg_vr",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(testdata, "oracle", name)
			require.DirExists(t, dir)
			rows, err := v.Run(t.Context(), dir)
			require.NoError(t, err)
			require.NotEmpty(t, rows)
			for _, r := range rows {
				assert.NotEqual(t, Fail, r.Status, "%+v", r)
			}
		})
	}
}

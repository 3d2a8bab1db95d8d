package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/lora"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// loraFamilies has a recording of each family of towers that TestLoRAOfFamilies lacks. They
// take nine seconds of a core: what a family's names are shows only in a model of it.
var loraFamilies = []string{
	"timm_vit_dinov2_reg", "timm_resnet18", "convnext_base_linear", "eva02_base_clip", "vitamin_small", "fastvit_mci0", "swin_odd", "vit_relpos_gap", "pe_core",
	"naflex_gap", "coca_tiny", "hf_mt5_mean_mlp", "hf_nllb_cls_linear", "hf_bert_cls_linear", "hf_modernbert_cls_linear", "moderntext_vit_b32", "opt_custom_text",
}

// tables are the modules of open_clip's state dicts whose weights are looked up, not
// multiplied by: torch's Embedding.
var tables = []string{"token_embedding", "word_embeddings", "position_embeddings", "token_type_embeddings", "embed_tokens", "shared", "relative_attention_bias", "tok_embeddings"}

// linearModules are what PEFT's all-linear means in open_clip's state dict at path, torch's
// Linear, and the MultiheadAttentions: matrices, no tables, of which no convolution is one.
func linearModules(t *testing.T, path string) (all []string) {
	f, err := weights.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		module, isModule := strings.CutSuffix(name, ".weight")
		attention, isAttention := strings.CutSuffix(name, ".in_proj_weight")
		_, inAttention := f.Tensor(strings.TrimSuffix(module, "out_proj") + "in_proj_weight")
		switch {
		case len(x.Shape) != 2:
		case isAttention:
			all = append(all, attention)
		case isModule && inAttention && strings.HasSuffix(module, ".out_proj"):
			all = append(all, strings.TrimSuffix(module, "out_proj")+"base_layer.out_proj")
		case isModule && !slices.Contains(tables, module[strings.LastIndexByte(module, '.')+1:]):
			all = append(all, module)
		}
	}
	return all
}

// Every linear map of every family gets an adapter, learns, and is the same again from the
// files and merged into the model.
func TestLoRAOfEveryFamily(t *testing.T) {
	device := openChecked(t)
	for _, name := range loraFamilies {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join("testdata", "oracle", name)
			m := openRecorded(t, name, clip.WithDevice(device))
			a, err := lora.New(m.Tree(), lora.Config{Rank: 2, Alpha: 4, Targets: []string{lora.AllLinear}}, 1)
			require.NoError(t, err)
			var modules []string
			for name := range a.Parameters() {
				if module, ok := strings.CutSuffix(name, ".lora_A.weight"); ok {
					modules = append(modules, strings.TrimPrefix(module, "base_model.model."))
				}
			}
			assert.ElementsMatch(t, linearModules(t, filepath.Join(folder, "model.safetensors")), modules)

			image, text := trainAdapters(t, m, name)
			adapter := t.TempDir()
			require.NoError(t, a.Save(adapter, name, func(p *graph.Param) graph.Source {
				values := make(layers.Values, p.Shape.Elems())
				require.NoError(t, m.Store().ReadParam(t.Context(), p, values))
				if strings.HasSuffix(p.Name, ".lora_B") {
					assert.NotZero(t, slices.Max(values), "%s has learnt", p.Name)
				}
				return values
			}))
			loaded := openRecorded(t, name, clip.WithDevice(device))
			_, err = lora.Load(loaded.Tree(), adapter)
			require.NoError(t, err)
			again, textAgain := features(t, loaded, name)
			assert.InDeltaSlice(t, image, again, 1e-6)
			assert.InDeltaSlice(t, text, textAgain, 1e-6)

			merged, err := clip.Load(t.Context(), mergedRecording(t, folder, adapter), clip.WithDevice(device))
			require.NoError(t, err)
			defer merged.Close()
			whole, textWhole := features(t, merged, name)
			assert.InDeltaSlice(t, image, whole, 1e-5)
			assert.InDeltaSlice(t, text, textWhole, 1e-5)
		})
	}
}

// trainAdapters makes two steps, and returns the features that follow.
func trainAdapters(t *testing.T, m *clip.Model, name string) (image, text []float32) {
	var loss train.Loss = train.ClipLoss{}
	if m.Config().MultimodalCfg != nil {
		loss = train.CoCaLoss{ClipWeight: 1, CaptionWeight: 2}
	}
	trainer, err := train.New(m, train.Config{Loss: loss, Optimizer: train.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.98, Eps: 1e-6}})
	require.NoError(t, err)
	defer trainer.Close()
	inputs, texts := recordedInputs(t, name)
	for range 2 {
		_, err := trainer.Step(t.Context(), train.Batch{Images: inputs, Texts: texts})
		require.NoError(t, err)
	}
	return features(t, m, name)
}

// mergedRecording is a folder of a recorded model with an adapter merged into it.
func mergedRecording(t *testing.T, folder, adapter string) string {
	data, err := os.ReadFile(filepath.Join(folder, "config.json"))
	require.NoError(t, err)
	config, _, err := models.Parse(data)
	require.NoError(t, err)
	c, err := checkpoint.Open(t.Context(), filepath.Join(folder, "model.safetensors"), checkpoint.Options{Config: &config, Adapter: adapter})
	require.NoError(t, err)
	defer c.Close()
	merged := filepath.Join(t.TempDir(), "merged")
	_, err = c.Save(t.Context(), merged, checkpoint.SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	return merged
}

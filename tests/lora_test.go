package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/lora"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// recordedLoRA has what PEFT 0.18 computes for vit_openai_tiny with adapters of rank 2.
const recordedLoRA = "testdata/lora"

func readTensor(t *testing.T, path, name string) []float32 {
	t.Helper()
	f, err := weights.Open(path)
	require.NoError(t, err)
	defer f.Close()
	x, ok := f.Tensor(name)
	require.True(t, ok, name)
	data := make([]float32, x.Len())
	require.NoError(t, x.ReadF32(data, 0))
	return data
}

// An adapter that PEFT wrote gives PEFT's features, gradients, losses of three steps of
// AdamW, and merged weights.
func TestLoRAEqualsPEFT(t *testing.T) {
	recorded := filepath.Join(recordedLoRA, "recorded.safetensors")
	m := openRecorded(t, "vit_openai_tiny", clip.WithDevice(openChecked(t)))
	a, err := lora.Load(m.Tree(), recordedLoRA)
	require.NoError(t, err)
	inputs, texts := recordedInputs(t, "vit_openai_tiny")
	image, text := features(t, m, "vit_openai_tiny")
	assert.InDeltaSlice(t, readTensor(t, recorded, "image_features"), image, 1e-5)
	assert.InDeltaSlice(t, readTensor(t, recorded, "text_features"), text, 1e-5)
	_, without := recording(t, "vit_openai_tiny", "outputs.safetensors", "image_features_norm")
	assert.Greater(t, farthest(image, without), 0.05)

	batch := train.Batch{Images: inputs, Texts: texts}
	grads, loss, err := train.Gradients(t.Context(), m, train.ClipLoss{}, batch)
	require.NoError(t, err)
	losses := readTensor(t, recorded, "losses")
	assert.InDelta(t, losses[0], loss, 2e-6)
	n := 0
	for name, p := range a.Parameters() {
		want := readTensor(t, recorded, "grad."+name)
		if strings.Contains(name, ".out_proj.") { // which PEFT adds twice, and differentiates once
			for i := range want {
				want[i] *= 2
			}
		}
		assert.InDeltaSlice(t, want, grads[p.Name].Data, 2e-5, name)
		n++
	}
	assert.Len(t, grads, n, "nothing else has gradients")

	trainer, err := train.New(m, train.Config{Loss: train.ClipLoss{}, Optimizer: train.AdamW{LR: 1e-2, Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, WeightDecay: 0.2}})
	require.NoError(t, err)
	defer trainer.Close()
	for i := range losses {
		loss, err := trainer.Step(t.Context(), batch)
		require.NoError(t, err)
		assert.InDelta(t, losses[i], loss, 1e-4, "step %d", i+1)
	}

	again := openRecorded(t, "vit_openai_tiny", clip.WithDevice(openChecked(t)))
	a, err = lora.Load(again.Tree(), recordedLoRA)
	require.NoError(t, err)
	for name, p := range again.Parameters() {
		source, err := a.Merged(p, nil)
		require.NoError(t, err)
		assert.Equal(t, strings.Contains(p.Name, ".lora_"), source == nil)
		if name == "visual.transformer.resblocks.0.attn.in_proj_weight" {
			values := make([]float32, p.Shape.Elems())
			require.NoError(t, source.ReadF32(values[:7], 0))
			require.NoError(t, source.ReadF32(values[7:], 7))
			assert.InDeltaSlice(t, readTensor(t, recorded, "merged."+name), values, 1e-6)
		}
	}
}

// What is saved is what is loaded, under PEFT's names.
func TestLoRAIsSavedAsPEFTSavesIt(t *testing.T) {
	m := openRecorded(t, "vit_openai_tiny", clip.WithDevice(openChecked(t)))
	a, err := lora.Load(m.Tree(), recordedLoRA)
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, a.Save(folder, "a model", nil))
	want, err := weights.Open(filepath.Join(recordedLoRA, "adapter_model.safetensors"))
	require.NoError(t, err)
	defer want.Close()
	got, err := weights.Open(filepath.Join(folder, "adapter_model.safetensors"))
	require.NoError(t, err)
	defer got.Close()
	assert.Equal(t, want.Names(), got.Names())
	for _, name := range want.Names() {
		assert.Equal(t, readTensor(t, filepath.Join(recordedLoRA, "adapter_model.safetensors"), name), readTensor(t, filepath.Join(folder, "adapter_model.safetensors"), name))
	}
	config, err := os.ReadFile(filepath.Join(folder, "adapter_config.json"))
	require.NoError(t, err)
	for _, field := range []string{`"peft_type": "LORA"`, `"r": 2`, `"lora_alpha": 5`, `"base_model_name_or_path": "a model"`, `"bias": "none"`} {
		assert.Contains(t, string(config), field)
	}
}

// One of each kind of towers learns by adapters of all linear maps, on weights of 8 bits.
func TestLoRAOfFamilies(t *testing.T) {
	for _, name := range []string{"vit_openai_tiny", "siglip2_timm_map", "modified_resnet", "hf_roberta_quick", "mobileclip_b_mci"} {
		m := openRecorded(t, name, clip.WithDevice(openChecked(t)), clip.WithCastDType(clip.Q8))
		a, err := lora.New(m.Tree(), lora.Config{Rank: 2, Alpha: 4, Targets: []string{lora.AllLinear}}, 1)
		require.NoError(t, err, name)
		before, text := features(t, m, name)
		inputs, texts := recordedInputs(t, name)
		trainer, err := train.New(m, train.Config{Loss: train.ClipLoss{}, Optimizer: train.AdamW{LR: 1e-2, Beta1: 0.9, Beta2: 0.98, Eps: 1e-6}})
		require.NoError(t, err)
		var first, last float64
		for i := range 4 {
			last, err = trainer.Step(t.Context(), train.Batch{Images: inputs, Texts: texts})
			require.NoError(t, err)
			if i == 0 {
				first = last
			}
		}
		assert.Less(t, last, first, name)
		after, textAfter := features(t, m, name)
		assert.NotEqual(t, before, after, name)
		assert.NotEqual(t, text, textAfter, name)
		folder := t.TempDir()
		require.NoError(t, a.Save(folder, name, func(p *graph.Param) graph.Source {
			values := make(layers.Values, p.Shape.Elems())
			require.NoError(t, m.Store().ReadParam(t.Context(), p, values))
			return values
		}))
		loaded := openRecorded(t, name, clip.WithDevice(openChecked(t)), clip.WithCastDType(clip.Q8))
		_, err = lora.Load(loaded.Tree(), folder)
		require.NoError(t, err)
		again, _ := features(t, loaded, name)
		assert.InDeltaSlice(t, after, again, 1e-6, "%s: all that is trained is in the adapter", name)
		require.NoError(t, trainer.Close())
		for _, p := range m.Parameters() {
			assert.Equal(t, strings.Contains(p.Name, ".lora_"), p.RequiresGrad(), p.Name)
		}
		plain := openRecorded(t, name, clip.WithDevice(openChecked(t)), clip.WithCastDType(clip.Q8))
		fresh, _ := features(t, plain, name)
		assert.Equal(t, fresh, before, "%s: adapters change nothing at first", name)
	}
}

func TestLoRARefuses(t *testing.T) {
	tree := func() any { return openRecorded(t, "vit_openai_tiny", clip.WithDevice(openChecked(t))).Tree() }
	whole := lora.Config{Rank: 2, Alpha: 4, Targets: []string{"attn"}}
	for want, change := range map[string]func(*lora.Config){
		"rank of 0":           func(c *lora.Config) { c.Rank = 0 },
		"lora_alpha 0":        func(c *lora.Config) { c.Alpha = 0 },
		"lora_dropout 1":      func(c *lora.Config) { c.Dropout = 1 },
		"no target_modules":   func(c *lora.Config) { c.Targets = nil },
		`"q_proj"; linear`:    func(c *lora.Config) { c.Targets = []string{"q_proj"} },
		"which is no linear":  func(c *lora.Config) { c.Targets = []string{"token_embedding"} },
		"visual.conv1, which": func(c *lora.Config) { c.Targets = []string{"attn", "conv1"} },
	} {
		c := whole
		change(&c)
		_, err := lora.New(tree(), c, 0)
		require.ErrorIs(t, err, lora.ErrAdapter)
		assert.ErrorContains(t, err, want)
	}

	config, err := os.ReadFile(filepath.Join(recordedLoRA, "adapter_config.json"))
	require.NoError(t, err)
	tensors, err := os.ReadFile(filepath.Join(recordedLoRA, "adapter_model.safetensors"))
	require.NoError(t, err)
	for want, files := range map[string][2]string{
		"init_lora_weights pissa":   {strings.Replace(string(config), `"init_lora_weights": true`, `"init_lora_weights": "pissa"`, 1), string(tensors)},
		"a rank of 5000":            {strings.Replace(string(config), `"r": 2`, `"r": 5000`, 1), string(tensors)},
		"lora_alpha 1e+300":         {strings.Replace(string(config), `"lora_alpha": 5`, `"lora_alpha": 1e300`, 1), string(tensors)},
		"has a value of NaN":        {string(config), string(tensors[:len(tensors)-4]) + "\xff\xff\xff\xff"},
		"use_dora":                  {strings.Replace(string(config), `"use_dora": false`, `"use_dora": true`, 1), string(tensors)},
		"peft_type LOHA":            {strings.Replace(string(config), `"LORA"`, `"LOHA"`, 1), string(tensors)},
		"and the model's is [3 48]": {strings.Replace(string(config), `"r": 2`, `"r": 3`, 1), string(tensors)},
		"no place for tensor":       {strings.Replace(string(config), `"c_fc",`, ``, 1), string(tensors)},
		"adapter_config.json":       {"{", string(tensors)},
		"cut short":                 {string(config), string(tensors[:len(tensors)/2])},
	} {
		folder := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(folder, "adapter_config.json"), []byte(files[0]), 0o666))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "adapter_model.safetensors"), []byte(files[1]), 0o666))
		_, err := lora.Load(tree(), folder)
		assert.ErrorContains(t, err, want)
	}
	_, err = lora.Load(openRecorded(t, "siglip2_timm_map", clip.WithDevice(openChecked(t))).Tree(), recordedLoRA)
	require.ErrorIs(t, err, lora.ErrAdapter, "of another model")
}

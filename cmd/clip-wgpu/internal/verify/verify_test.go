package verify

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const testdata = "../../../../tests/testdata"

func newVerifier(t *testing.T, o gpu.Options) *Verifier {
	v := New(o)
	t.Cleanup(func() { assert.NoError(t, v.Close()) })
	return v
}

func TestCases(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(testdata, "oracle", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	v := newVerifier(t, gpu.Options{DefaultLimits: true, Check: true})
	for _, dir := range append(dirs, filepath.Join(testdata, "jpeg"), filepath.Join(testdata, "jpeg2"), filepath.Join(testdata, "jpeg_damaged"), filepath.Join(testdata, "jpeg_arithmetic"), filepath.Join(testdata, "preprocess")) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			rows, err := v.Run(t.Context(), dir)
			require.NoError(t, err)
			for _, r := range rows {
				assert.NotEqual(t, Fail, r.Status, "%+v", r)
			}
			assertComplete(t, dir, rows)
		})
	}
}

// assertComplete: everything that a case's files hold has a row.
func assertComplete(t *testing.T, dir string, rows []Row) {
	seen := map[string]bool{}
	for _, r := range rows {
		assert.False(t, seen[r.Tensor], "two rows %q", r.Tensor)
		seen[r.Tensor] = true
	}
	var m meta
	readJSON(t, filepath.Join(dir, "meta.json"), &m)
	switch m.Kind {
	case "forward":
		for _, name := range tensorNames(t, filepath.Join(dir, "outputs.safetensors")) {
			assert.Contains(t, seen, name)
		}
		var g gradients
		if path := filepath.Join(dir, "grads.json"); exists(path) {
			readJSON(t, path, &g)
		}
		for name := range g.Params {
			assert.Contains(t, seen, "grad."+name)
		}
	case "bn_train":
		var g gradients
		readJSON(t, filepath.Join(dir, "grads.json"), &g)
		for name := range g.Params {
			assert.Contains(t, seen, "grad."+name)
		}
		for _, name := range tensorNames(t, filepath.Join(dir, runningStats)) {
			assert.Contains(t, seen, "running_stats."+name)
			assert.Contains(t, seen, "running_stats."+name[:strings.LastIndex(name, ".")]+".num_batches_tracked")
		}
	case "training":
		assertTrainingComplete(t, dir, rows, seen)
	case "locks":
		var lists map[string]map[string][]string
		readJSON(t, filepath.Join(dir, "locks.json"), &lists)
		for name, all := range lists {
			for list := range all {
				assert.Contains(t, seen, name+"."+list)
			}
		}
	case "tables":
		var all map[string]any
		readJSON(t, filepath.Join(dir, "tables.json"), &all)
		for name := range all {
			assert.Contains(t, seen, name)
		}
	case "jpeg", "preprocess":
		outputs := 0
		for _, name := range []string{"outputs_u8.safetensors", "outputs_scaled_u8.safetensors", "outputs_f32.safetensors"} {
			if path := filepath.Join(dir, name); exists(path) {
				outputs += len(tensorNames(t, path))
			}
		}
		assert.Len(t, rows, outputs)
	}
}

// assertTrainingComplete: of a training case there are also rows of its losses, curves and
// gradients, and none is left out.
func assertTrainingComplete(t *testing.T, dir string, rows []Row, seen map[string]bool) {
	t.Helper()
	for _, r := range rows {
		assert.NotEqual(t, NotBuilt, r.Status, "%+v", r)
	}
	for _, name := range trainingRows[filepath.Base(dir)] {
		assert.Contains(t, seen, name)
	}
	for _, name := range tensorNames(t, filepath.Join(dir, "outputs.safetensors")) {
		assert.Contains(t, seen, name)
	}
	var curves map[string]map[string]any
	readJSON(t, filepath.Join(dir, "curves.json"), &curves)
	for name, c := range curves {
		for _, recorded := range []string{"loss", "logit_scale_after", "logit_bias_after", "grad_norm_before_clip"} {
			if c[recorded] != nil {
				assert.Contains(t, seen, name+"."+recorded)
			}
		}
	}
	grads, err := filepath.Glob(filepath.Join(dir, "grads_*.safetensors"))
	require.NoError(t, err)
	for _, path := range grads {
		for _, name := range tensorNames(t, path) {
			assert.Contains(t, seen, strings.TrimSuffix(filepath.Base(path), ".safetensors")+"."+name)
		}
	}
}

// trainingRows are some of those that a case must have beside its losses and curves.
var trainingRows = map[string][]string{
	"train_vit": {
		"decay_head_rule", "decay_legacy_rule", "clip_adamw_legacy_wd_rule.final.positional_embedding", "clip_adamw.final.visual.proj",
		"clip_cosine_warmup3_total10.lr",
		"lock_image_tower(0) then (2): later call overrides.decay",
		"lock_text_tower(unlocked_layers=1,freeze_layer_norm=True).frozen parameters changed",
	},
	"train_resnet": {
		"running_stats.visual.layer4.0.downsample.1.num_batches_tracked", "frozen_bn.final.visual.bn1.running_var",
		"lock_image_tower(3, freeze_bn_stats=True).loss", "lock_image_tower(3, freeze_bn_stats=True).running_stats_changed",
		"lock_image_tower(0, freeze_bn_stats=False).batchnorm_classes", "lock_image_tower(0, freeze_bn_stats=False).requires_grad",
	},
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readJSON(t *testing.T, path string, dst any) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, dst))
}

func tensorNames(t *testing.T, path string) []string {
	f, err := weights.Open(path)
	require.NoError(t, err)
	defer f.Close()
	return f.Names()
}

// copyCase copies a case, whose weights lie in it, to a temporary folder.
func copyCase(t *testing.T, name string) string {
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(testdata, "oracle", name))))
	return dir
}

// corrupt changes the first value of a tensor.
func corrupt(t *testing.T, path, name string, change func(float32) float32) {
	f, err := weights.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var records []weights.Record
	for _, x := range f.Tensors() {
		values := make([]float32, x.Len())
		require.NoError(t, x.ReadF32(values, 0))
		if x.Name == name {
			values[0] = change(values[0])
		}
		y, err := weights.FromF32(x.Name, x.Shape, values)
		require.NoError(t, err)
		records = append(records, y.As(weights.F32))
	}
	require.NoError(t, weights.Save(path, records, weights.SaveOptions{}))
}

// Rows that transformers did not make, and special ids that are not there, are found.
func TestHFTokenizersFindsWrongRows(t *testing.T) {
	dir := copyCase(t, "hf_tokenizers")
	packed, err := os.ReadFile(filepath.Join(dir, "rows.json.gz"))
	require.NoError(t, err)
	unzip, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	var recorded map[string]any
	require.NoError(t, json.NewDecoder(unzip).Decode(&recorded))
	cases := recorded["cases"].([]any)
	cases[0].(map[string]any)["ids"].([]any)[3].([]any)[1] = 5
	cases[1].(map[string]any)["pad_id"] = 0
	cases[2].(map[string]any)["sot_id"] = 7
	recorded["cases"] = cases[:3]
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	require.NoError(t, json.NewEncoder(zip).Encode(recorded))
	require.NoError(t, zip.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rows.json.gz"), b.Bytes(), 0o666))
	rows, err := newVerifier(t, gpu.Options{}).Run(t.Context(), dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"roberta.0 vocab.json", "xlm_roberta.0 sentencepiece.bpe.model", "mt5.0 spiece.model special ids"}, failed(rows))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "roberta")))
	_, err = newVerifier(t, gpu.Options{}).Run(t.Context(), dir)
	require.ErrorIs(t, err, ErrCannotRun)
	assert.ErrorContains(t, err, "no tokenizer in folder roberta")
}

func failed(rows []Row) (names []string) {
	for _, r := range rows {
		if r.Status == Fail {
			names = append(names, r.Tensor)
		}
	}
	return names
}

func TestOneWrongValueFails(t *testing.T) {
	for name, c := range map[string]struct {
		kind, file, tensor string
		change             func(float32) float32
		row                string
	}{
		"features":      {"opt_text_first", "outputs.safetensors", "image_features", func(v float32) float32 { return v + 1e-3 }, "image_features"},
		"NaN":           {"opt_text_first", "outputs.safetensors", "act.ln_final", func(float32) float32 { return float32(math.NaN()) }, "act.ln_final"},
		"infinity":      {"opt_text_first", "outputs.safetensors", "text_logits", func(float32) float32 { return float32(math.Inf(1)) }, "text_logits"},
		"padded":        {"naflex_gap", "outputs.safetensors", "naflex.tokens", func(v float32) float32 { return v + 1e-3 }, "naflex.tokens"},
		"not square":    {"naflex_gap", "outputs.safetensors", "nonsquare.image_features", func(v float32) float32 { return v + 1e-3 }, "nonsquare.image_features"},
		"resized table": {"pos_embed_resize", "outputs.safetensors", "image.3.out.2x9", func(v float32) float32 { return v + 1e-3 }, "image.3.out.2x9"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyCase(t, c.kind)
			corrupt(t, filepath.Join(dir, c.file), c.tensor, c.change)
			rows, err := newVerifier(t, gpu.Options{}).Run(t.Context(), dir)
			require.NoError(t, err)
			assert.Equal(t, []string{c.row}, failed(rows))
		})
	}
}

// A case of batch norms in training takes its weights and inputs from another.
func TestOneWrongRunningStatisticFails(t *testing.T) {
	dir := copyCase(t, "bn_train_mobileclip_b_mci")
	beside := filepath.Join(filepath.Dir(dir), "mobileclip_b_mci")
	require.NoError(t, os.CopyFS(beside, os.DirFS(filepath.Join(testdata, "oracle", "mobileclip_b_mci"))))
	const name = "visual.trunk.patch_embed.backbone.0.bn.running_var"
	corrupt(t, filepath.Join(dir, runningStats), name, func(v float32) float32 { return v * 1.001 })
	rows, err := newVerifier(t, gpu.Options{}).Run(t.Context(), dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"running_stats." + name}, failed(rows))
}

func TestOneWrongWeightFails(t *testing.T) {
	dir := copyCase(t, "opt_text_first")
	corrupt(t, filepath.Join(dir, "model.safetensors"), "visual.proj", func(v float32) float32 { return v + 0.01 })
	rows, err := newVerifier(t, gpu.Options{}).Run(t.Context(), dir)
	require.NoError(t, err)
	assert.Contains(t, failed(rows), "image_features")
	assert.Contains(t, failed(rows), "grad.visual.proj")
	assert.NotContains(t, failed(rows), "text_features")
}

func TestWrongDigestAndTokensFail(t *testing.T) {
	dir := copyCase(t, "opt_text_first")
	var g map[string]any
	readJSON(t, filepath.Join(dir, "grads.json"), &g)
	params := g["params"].(map[string]any)
	params["visual.proj"].([]any)[2] = params["visual.proj"].([]any)[2].(float64) + 1e-3
	params["ln_final.bias"] = nil // says that it is not trained
	delete(params, "ln_final.weight")
	params["nothing"] = []float64{0, 0, 0}
	writeJSON(t, filepath.Join(dir, "grads.json"), g)
	v := newVerifier(t, gpu.Options{})
	rows, err := v.Run(t.Context(), dir)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"grad.visual.proj", "grad.ln_final.bias", "grad.ln_final.weight", "grad.nothing"}, failed(rows))

	dir = copyCase(t, "tokenizer")
	lines := `{"ids": [320], "decoded": "a "}` + "\n" + `{"ids": [320], "decoded": "b "}` + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "decode.jsonl"), []byte(lines), 0o666))
	rows, err = v.Run(t.Context(), dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"decode.jsonl"}, failed(rows))
	assert.Contains(t, rows[2].Note, "1 of 2, line 2")
}

func writeJSON(t *testing.T, path string, v any) {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o666))
}

func TestPartsOfACase(t *testing.T) {
	v := newVerifier(t, gpu.Options{})
	forward := copyCase(t, "opt_text_first")
	require.NoError(t, os.Remove(filepath.Join(forward, "grads.json")))
	rows, err := v.Run(t.Context(), forward)
	require.NoError(t, err)
	assert.Len(t, rows, len(tensorNames(t, filepath.Join(forward, "outputs.safetensors"))))

	tokens := copyCase(t, "tokenizer")
	require.NoError(t, os.Remove(filepath.Join(tokens, "tokens_ctx77.jsonl")))
	require.NoError(t, os.Remove(filepath.Join(tokens, "tokens_other.jsonl")))
	rows, err = v.Run(t.Context(), tokens)
	require.NoError(t, err)
	assert.Len(t, rows, 1)
}

func TestCannotRun(t *testing.T) {
	v := newVerifier(t, gpu.Options{})
	unsupported := copyCase(t, "opt_text_first")
	var cfg map[string]any
	readJSON(t, filepath.Join(unsupported, "config.json"), &cfg)
	cfg["vision_cfg"].(map[string]any)["timm_model_name"] = "convnextv2_tiny"
	writeJSON(t, filepath.Join(unsupported, "config.json"), cfg)
	_, err := v.Run(t.Context(), unsupported)
	assert.ErrorIs(t, err, ErrCannotRun)
	assert.ErrorIs(t, err, config.ErrUnsupported)
	assert.ErrorContains(t, err, "timm_model_name")

	damaged := copyCase(t, "containers")
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "state_dict.pt"), []byte("PK\x03\x04 and more"), 0o666))
	_, err = v.Run(t.Context(), damaged)
	assert.ErrorIs(t, err, ErrCannotRun)
	assert.ErrorIs(t, err, weights.ErrTruncated)
	assert.ErrorContains(t, err, "state_dict.pt")

	noModel := copyCase(t, "opt_text_first")
	require.NoError(t, os.Remove(filepath.Join(noModel, "model.safetensors")))
	_, err = v.Run(t.Context(), noModel)
	assert.ErrorIs(t, err, ErrCannotRun)
	assert.ErrorIs(t, err, os.ErrNotExist)

	unknown := t.TempDir()
	writeJSON(t, filepath.Join(unknown, "meta.json"), meta{Kind: "dance"})
	_, err = v.Run(t.Context(), unknown)
	assert.ErrorContains(t, err, `unknown kind "dance"`)

	_, err = v.Run(t.Context(), t.TempDir())
	assert.ErrorIs(t, err, os.ErrNotExist)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Run(ctx, filepath.Join(testdata, "oracle", "opt_text_first"))
	assert.ErrorIs(t, err, context.Canceled)
}

func TestTemporaryFilesAreRemoved(t *testing.T) {
	v, path := New(gpu.Options{}), filepath.Join(t.TempDir(), "weights")
	v.discard(path) // which is not there yet: as one that cannot be removed
	require.NoError(t, os.WriteFile(path, nil, 0o666))
	require.NoError(t, v.Close())
	assert.NoFileExists(t, path)
}

func TestOutputGroup(t *testing.T) {
	outputs := []string{"f16_weights_f32_math.image_features", "bf16_weights_f32_math.image_features", "f32.image_features", "epoch_3.image_features", "openai_jit_f16mix_weights_f32_math.image_features"}
	for container, want := range map[string]string{
		"model_f16.safetensors":            "f16_weights_f32_math",
		"model_bf16.safetensors":           "bf16_weights_f32_math",
		"state_dict_f16_legacy_format.bin": "f16_weights_f32_math",
		"epoch_3.pt":                       "epoch_3",
		"openai_jit_f16mix.pt":             "openai_jit_f16mix_weights_f32_math",
		"state_dict.pt":                    "f32",
		"hf_clipmodel":                     "f32",
	} {
		assert.Equal(t, want, outputGroup(container, outputs), container)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
	"github.com/clip-wgpu/clip-wgpu/internal/torchtest"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// smallConfig is a model that every container can hold.
const smallConfig = `{"embed_dim": 32, "quick_gelu": true,
	"vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 64, "patch_size": 8},
	"text_cfg": {"context_length": 16, "vocab_size": 3014, "width": 64, "heads": 1, "layers": 2}}`

const hfConfig = `{"model_type": "clip", "projection_dim": 32,
	"text_config": {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1, "max_position_embeddings": 16,
		"vocab_size": 3014, "hidden_act": "quick_gelu", "eos_token_id": 3013},
	"vision_config": {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1, "image_size": 32,
		"patch_size": 8, "hidden_act": "quick_gelu"}}`

const hfProcessor = `{"do_resize": true, "size": {"shortest_edge": 32}, "do_center_crop": true, "crop_size": {"height": 32, "width": 32}, "resample": 3,
	"do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true,
	"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}`

// smallModel writes random weights, exact in float16, as an open_clip folder.
func smallModel(t *testing.T) (folder string, file *weights.File) {
	t.Helper()
	c, _, err := models.Parse([]byte(smallConfig))
	require.NoError(t, err)
	m, err := clip.New(c, 1)
	require.NoError(t, err)
	defer m.Close()
	var records []weights.Record
	for name, p := range m.Parameters() {
		records = append(records, weights.Record{Name: name, DType: weights.F16, Shape: p.Shape, ReadF32: p.Source.ReadF32})
	}
	folder = withTokenizer(t, map[string]string{"open_clip_config.json": `{"model_cfg": ` + smallConfig + `}`})
	path := filepath.Join(folder, "open_clip_model.safetensors")
	require.NoError(t, weights.Save(path, records, weights.SaveOptions{}))
	file, err = weights.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return folder, file
}

// withTokenizer makes a folder of files and the embedded model's tokenizer.
func withTokenizer(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"vocab.json", "merges.txt"} {
		data, err := os.ReadFile(filepath.Join("../../clip/emoji-clip", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o666))
	}
	for name, data := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(data), 0o666))
	}
	return folder
}

// torchTensors are a file's, as PyTorch holds them, under prefixed names.
func torchTensors(t *testing.T, f *weights.File, prefix string) (d torchtest.Dict) {
	t.Helper()
	for _, x := range f.Tensors() {
		require.NoError(t, x.View(func(raw []byte) error {
			d = append(d, torchtest.Pair{Key: prefix + x.Name, Value: torchtest.Tensor{Storage: "HalfStorage", Shape: x.Shape, Data: bytes.Clone(raw), Numel: x.Len()}})
			return nil
		}))
	}
	return d
}

// openAIArchive nests the tensors in modules, with OpenAI's constants.
func openAIArchive(tensors torchtest.Dict) torchtest.Object {
	root := torchtest.Object{Class: "__torch__.multimodal.Multimodal"}
	for _, p := range append(tensors, torchtest.Pair{Key: "input_resolution", Value: torchtest.I64(32)},
		torchtest.Pair{Key: "context_length", Value: torchtest.I64(16)}, torchtest.Pair{Key: "vocab_size", Value: torchtest.I64(3014)}) {
		root.State = insert(root.State, strings.Split(p.Key, "."), p.Value)
	}
	return root
}

func insert(d torchtest.Dict, path []string, value any) torchtest.Dict {
	if len(path) == 1 {
		return append(d, torchtest.Pair{Key: path[0], Value: value})
	}
	i := slices.IndexFunc(d, func(p torchtest.Pair) bool { return p.Key == path[0] })
	if i < 0 {
		i, d = len(d), append(d, torchtest.Pair{Key: path[0], Value: torchtest.Object{Class: "__torch__.torch.nn.Module"}})
	}
	o := d[i].Value.(torchtest.Object)
	o.State = insert(o.State, path[1:], value)
	d[i].Value = o
	return d
}

// hfNames replace parts of open_clip's names, in this order.
var hfNames = strings.NewReplacer(
	"visual.transformer.resblocks.", "vision_model.encoder.layers.", "transformer.resblocks.", "text_model.encoder.layers.",
	"visual.class_embedding", "vision_model.embeddings.class_embedding", "visual.conv1.", "vision_model.embeddings.patch_embedding.",
	"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight", "visual.ln_pre.", "vision_model.pre_layrnorm.",
	"visual.ln_post.", "vision_model.post_layernorm.", "visual.proj", "visual_projection.weight",
	"token_embedding.", "text_model.embeddings.token_embedding.", "positional_embedding", "text_model.embeddings.position_embedding.weight",
	"ln_final.", "text_model.final_layer_norm.", "text_projection", "text_projection.weight",
	".ln_1.", ".layer_norm1.", ".ln_2.", ".layer_norm2.", ".attn.out_proj.", ".self_attn.out_proj.", ".mlp.c_fc.", ".mlp.fc1.", ".mlp.c_proj.", ".mlp.fc2.")

// saveHuggingFace writes the tensors as CLIPModel has them: the projections
// transposed, and the queries', keys' and values' apart.
func saveHuggingFace(t *testing.T, f *weights.File, path string) {
	t.Helper()
	var records []weights.Record
	add := func(name string, shape []int, data []float32) {
		x, err := weights.FromF32(name, shape, data)
		require.NoError(t, err)
		records = append(records, x.As(weights.F16))
	}
	for _, x := range f.Tensors() {
		data := make([]float32, x.Len())
		require.NoError(t, x.ReadF32(data, 0))
		before, kind, fused := strings.Cut(x.Name, ".attn.in_proj_")
		switch {
		case fused:
			shape, third := append([]int{x.Shape[0] / 3}, x.Shape[1:]...), len(data)/3
			for i, letter := range []string{"q", "k", "v"} {
				add(hfNames.Replace(before+".")+"self_attn."+letter+"_proj."+kind, shape, data[i*third:(i+1)*third])
			}
		case x.Name == "visual.proj" || x.Name == "text_projection":
			turned := make([]float32, len(data))
			for i := range data {
				turned[i%x.Shape[1]*x.Shape[0]+i/x.Shape[1]] = data[i]
			}
			add(hfNames.Replace(x.Name), []int{x.Shape[1], x.Shape[0]}, turned)
		default:
			add(hfNames.Replace(x.Name), x.Shape, data)
		}
	}
	require.NoError(t, weights.Save(path, records, weights.SaveOptions{}))
}

// containers are the same weights in all that people have, by source.
func containers(t *testing.T) map[string]string {
	t.Helper()
	folder, f := smallModel(t)
	config := smallConfig
	training := torchtest.Dict{{Key: "epoch", Value: 3}, {Key: "name", Value: "x"}, {Key: "state_dict", Value: torchTensors(t, f, "module.")},
		{Key: "optimizer", Value: torchtest.Dict{{Key: "lr", Value: 0.1}}}}
	hf := withTokenizer(t, map[string]string{"config.json": hfConfig, "preprocessor_config.json": hfProcessor})
	saveHuggingFace(t, f, filepath.Join(hf, "model.safetensors"))
	hubtest.New(t, map[string]map[string][]byte{"org/small": contents(t, folder), "org/hf": contents(t, hf)}).Environment(t)
	with := func(name string, data []byte) string {
		return withTokenizer(t, map[string]string{name: string(data), "open_clip_config.json": `{"model_cfg": ` + config + `}`})
	}
	return map[string]string{
		"open_clip folder":    folder,
		"OpenAI archive":      filepath.Join(withTokenizer(t, map[string]string{"ViT.pt": string(torchtest.Save(openAIArchive(torchTensors(t, f, ""))))}), "ViT.pt"),
		"training checkpoint": filepath.Join(with("epoch_3.pt", torchtest.Save(training)), "epoch_3.pt"),
		"legacy .bin":         with("open_clip_pytorch_model.bin", torchtest.SaveLegacy(torchTensors(t, f, ""))),
		"folder of a .pth":    with("best.pth", torchtest.Save(torchTensors(t, f, ""))),
		"Hugging Face CLIP":   hf,
		"hub":                 "hf-hub:org/small",
		"hub, Hugging Face":   "hf-hub:org/hf",
	}
}

// contents are a folder's files by name.
func contents(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range listing(t, folder) {
		data, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		files[name] = data
	}
	return files
}

// probabilities are those of an image with a model, by label.
func probabilities(t *testing.T, source string) map[string]float64 {
	t.Helper()
	o := program(t, "classify", example("pizza"), "--labels", "pizza,guitar,rose,red apple", "--json", "--model", source)
	o.requireDone(t)
	p := map[string]float64{}
	for _, r := range decodeLines[jsonAnswer](t, o.stdout)[0].Results {
		p[r.Label] = r.Probability
	}
	require.Len(t, p, 4)
	return p
}

// The same weights give the same answer whatever they are stored in, and after
// convert, too.
func TestContainersAgree(t *testing.T) {
	sources := containers(t)
	want := probabilities(t, sources["open_clip folder"])
	off := editConfig(t, sources["open_clip folder"], `"quick_gelu": true`, `"quick_gelu": false`)
	assert.Greater(t, math.Abs(probabilities(t, off)["pizza"]-want["pizza"]), 1e-4, "the test sees a wrong activation")
	for name, source := range sources {
		converted := filepath.Join(t.TempDir(), "converted")
		program(t, "convert", source, "-o", converted, "--dtype", "f16").requireDone(t)
		assert.Equal(t, []string{"merges.txt", "open_clip_config.json", "open_clip_model.safetensors", "vocab.json"}, listing(t, converted), name)
		for _, s := range []string{source, converted} {
			for label, p := range probabilities(t, s) {
				assert.InDelta(t, want[label], p, 1e-5, "%s: %s", name, label)
			}
		}
	}
}

// editConfig copies a model with a part of its config replaced.
func editConfig(t *testing.T, folder, old, new string) string {
	t.Helper()
	edited := t.TempDir()
	require.NoError(t, os.CopyFS(edited, os.DirFS(folder)))
	path := filepath.Join(edited, "open_clip_config.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(data), old)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(data), old, new, 1)), 0o666))
	return edited
}

func listing(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestConvertKeepsConfigAndWeights(t *testing.T) {
	parent := t.TempDir()
	for dtype, tolerance := range map[string]float64{"f32": 0, "f16": 1e-3, "bf16": 8e-3} {
		folder := filepath.Join(parent, dtype)
		program(t, "convert", checkpoint.Embedded, "-o", folder, "--dtype", dtype).requireDone(t)
		data, err := os.ReadFile(filepath.Join(folder, "open_clip_config.json"))
		require.NoError(t, err)
		var got, want struct{ ModelCfg, PreprocessCfg json.RawMessage }
		original, err := os.ReadFile("../../clip/emoji-clip/open_clip_config.json")
		require.NoError(t, err)
		c, pp, err := models.Parse(data)
		require.NoError(t, err)
		oc, opp, err := models.Parse(original)
		require.NoError(t, err)
		assert.Equal(t, oc, c)
		require.NoError(t, json.Unmarshal(pp, &got.PreprocessCfg))
		require.NoError(t, json.Unmarshal(opp, &want.PreprocessCfg))
		assert.Contains(t, string(got.PreprocessCfg), "bilinear")

		f, err := weights.Open(folder)
		require.NoError(t, err)
		source, err := weights.Open("../../clip/emoji-clip")
		require.NoError(t, err)
		require.Equal(t, source.Names(), f.Names())
		for _, x := range source.Tensors() {
			y, _ := f.Tensor(x.Name)
			want := strings.ToUpper(dtype)
			if len(x.Shape) == 0 {
				want = "F32"
			}
			assert.Equal(t, want, y.DType.String(), x.Name)
			a, b := make([]float32, x.Len()), make([]float32, y.Len())
			require.NoError(t, x.ReadF32(a, 0))
			require.NoError(t, y.ReadF32(b, 0))
			for i := range a {
				if d := float64(a[i] - b[i]); d > tolerance*max(1, float64(a[i])) || -d > tolerance*max(1, -float64(a[i])) {
					t.Fatalf("%s[%d]: %v became %v", x.Name, i, a[i], b[i])
				}
			}
		}
		require.NoError(t, source.Close())
		require.NoError(t, f.Close())
	}
	assert.Equal(t, []string{"bf16", "f16", "f32"}, listing(t, parent), "no remains")
}

func TestConvertRefusals(t *testing.T) {
	parent := t.TempDir()
	folder := filepath.Join(parent, "m")
	program(t, "convert", checkpoint.Embedded).requireFailure(t, exitUsage, "-o FOLDER")
	program(t, "convert", "-o", folder).requireFailure(t, exitUsage, "one MODEL")
	program(t, "convert", checkpoint.Embedded, "-o", folder, "--dtype", "q8").requireFailure(t, exitUsage, "--dtype", "bf16")
	program(t, "convert", checkpoint.Embedded, "-o", filepath.Join(parent, "no", "m")).requireFailure(t, exitFailure, filepath.Join(parent, "no"))
	program(t, "convert", filepath.Join(parent, "none"), "-o", folder).requireFailure(t, exitFailure, "none")
	program(t, "convert", checkpoint.Embedded, "-o", folder).requireDone(t)
	before, err := os.Stat(filepath.Join(folder, "open_clip_model.safetensors"))
	require.NoError(t, err)
	program(t, "convert", checkpoint.Embedded, "-o", folder, "--dtype", "f16").requireFailure(t, exitFailure, folder, "--force")
	after, err := os.Stat(filepath.Join(folder, "open_clip_model.safetensors"))
	require.NoError(t, err)
	assert.Equal(t, before.ModTime(), after.ModTime())
	program(t, "convert", folder, "-o", folder, "--dtype", "f16", "--force").requireDone(t)
	after, err = os.Stat(filepath.Join(folder, "open_clip_model.safetensors"))
	require.NoError(t, err)
	assert.Less(t, after.Size(), before.Size())
	require.NoError(t, os.WriteFile(filepath.Join(folder, "notes"), nil, 0o666))
	program(t, "convert", checkpoint.Embedded, "-o", folder, "--force").requireFailure(t, exitFailure, "notes")

	large := editWeights(t, "ln_final.bias", func(x []float32) { x[3] = -1e5 })
	program(t, "convert", large, "-o", filepath.Join(parent, "large"), "--dtype", "f16").requireFailure(t, exitFailure, "ln_final.bias", "element 3", "-100000", "bf16")
	assert.Equal(t, []string{"m"}, listing(t, parent), "nothing half-written")
}

// editWeights copies the embedded model with a tensor's values changed.
func editWeights(t *testing.T, name string, edit func(x []float32)) string {
	t.Helper()
	folder := editModel(t, func(map[string]any) {})
	f, err := weights.Open("../../clip/emoji-clip")
	require.NoError(t, err)
	defer f.Close()
	var records []weights.Record
	for _, x := range f.Tensors() {
		r := x.As(weights.F32)
		if x.Name == name {
			data := make([]float32, x.Len())
			require.NoError(t, x.ReadF32(data, 0))
			edit(data)
			y, err := weights.FromF32(name, x.Shape, data)
			require.NoError(t, err)
			r = y.As(weights.F32)
		}
		records = append(records, r)
	}
	require.NoError(t, weights.Save(filepath.Join(folder, "open_clip_model.safetensors"), records, weights.SaveOptions{}))
	return folder
}

// What nothing beside the weights says is asked for, or said.
func TestWeightsWithoutAConfig(t *testing.T) {
	folder, f := smallModel(t)
	bare := withTokenizer(t, map[string]string{"m.pt": string(torchtest.Save(torchTensors(t, f, "")))})
	file := filepath.Join(bare, "m.pt")
	classify := func(more ...string) outcome {
		return program(t, append([]string{"classify", example("pizza"), "--labels", "pizza,rose", "--json", "--model", file}, more...)...)
	}
	classify().requireFailure(t, exitFailure, file, "open_clip_config.json", "no config given")
	classify("--config", "ViT-B-31").requireFailure(t, exitFailure, "ViT-B-31", "no such file", "ViT-B-32")
	classify("--config", "ViT-B-32").requireFailure(t, exitFailure, file, "tensor", "is missing")
	classify("--config", filepath.Join(folder, "open_clip_config.json")).requireDone(t)

	plain := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(plain, []byte(smallConfig), 0o666))
	o := classify("--config", plain)
	require.Equal(t, exitOK, o.code, o.stderr)
	assert.Contains(t, o.stderr, "assumed preprocessing")
	assert.Contains(t, o.stderr, "bicubic")
	assert.Equal(t, 1, strings.Count(o.stderr, "\n"))

	off := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(off, []byte(strings.Replace(smallConfig, `"quick_gelu": true`, `"quick_gelu": false`, 1)), 0o666))
	archive := filepath.Join(withTokenizer(t, map[string]string{"a.pt": string(torchtest.Save(openAIArchive(torchTensors(t, f, ""))))}), "a.pt")
	o = program(t, "classify", example("pizza"), "--labels", "pizza,rose", "--json", "--model", archive, "--config", off)
	require.Equal(t, exitOK, o.code, o.stderr)
	assert.Contains(t, o.stderr, "quick_gelu is on")
	assert.Equal(t, strings.ReplaceAll(classify("--config", filepath.Join(folder, "open_clip_config.json")).stdout, file, archive), o.stdout)
}

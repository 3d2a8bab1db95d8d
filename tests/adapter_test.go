package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// lowRank is low-rank adaptation: y + scale · (x · Aᵀ) · Bᵀ.
type lowRank struct {
	A *graph.Param `w:"lora_A"` // [rank, in]; of a table, [rows, rank]
	B *graph.Param `w:"lora_B"` // [out, rank]
}

const loraRank, loraScale = 2, 0.5

func (l *lowRank) Adapt(g *graph.Graph, x, y graph.Tensor, first int) graph.Tensor {
	var h graph.Tensor
	if x.Spec().Element == graph.I32 {
		h = ops.Gather(g, g.Param(l.A), x)
	} else {
		h = ops.Linear(g, x, g.Param(l.A), graph.Tensor{})
	}
	return g.Add(y, ops.Scale(g, ops.LinearRows(g, h, g.Param(l.B), graph.Tensor{}, first, y.Dim(-1)), loraScale))
}

// adapted is a weight with what its adapter starts from.
type adapted struct {
	w      *layers.Weight
	table  bool
	a, b   layers.Values
	in, to int
}

// eachWeight lists all weights of a model, with numbers for an adapter of each. b is
// what B is multiplied by.
func eachWeight(m *clip.Model, b float64) map[string]adapted {
	tables := map[*layers.Weight]bool{}
	weights.Find(m.Tree(), func(_ string, e *layers.Embedding) { tables[e.Weight] = true })
	all := map[string]adapted{}
	weights.Find(m.Tree(), func(name string, w *layers.Weight) {
		x := adapted{w: w, table: tables[w]}
		x.to, x.in = w.Matrix()
		if x.table {
			x.to, x.in = x.in, x.to
		}
		for i := range loraRank * x.in {
			x.a = append(x.a, float32(math.Sin(float64(3*i+len(name)))/math.Sqrt(float64(x.in))))
		}
		for i := range loraRank * x.to {
			x.b = append(x.b, float32(b*math.Cos(float64(2*i+len(name)))))
		}
		all[name] = x
	})
	return all
}

// adapt gives every weight an adapter.
func adapt(m *clip.Model, b float64) {
	for name, x := range eachWeight(m, b) {
		l := &lowRank{A: layers.NewParam(x.a, loraRank, x.in), B: layers.NewParam(x.b, x.to, loraRank)}
		if x.table {
			l.A = layers.NewParam(x.a, x.in, loraRank)
		}
		l.A.Name, l.B.Name = name+".lora_A", name+".lora_B"
		x.w.Adapter = l
	}
}

// merge adds to every weight what the adapter with the same numbers adds to y.
func merge(t *testing.T, m *clip.Model, b float64) {
	for _, x := range eachWeight(m, b) {
		values := make(layers.Values, x.w.Shape.Elems())
		require.NoError(t, x.w.Source.ReadF32(values, 0))
		for o := range x.to {
			for i := range x.in {
				sum := 0.0
				for r := range loraRank {
					at := r*x.in + i
					if x.table {
						at = i*loraRank + r
					}
					sum += float64(x.a[at]) * float64(x.b[o*loraRank+r])
				}
				at := o*x.in + i
				if x.table || x.w.Transposed {
					at = i*x.to + o
				}
				values[at] += float32(loraScale * sum)
			}
		}
		x.w.Source = values
	}
}

// recording reads a tensor of a recording.
func recording(t *testing.T, name, file, tensor string) (shape []int, data []float32) {
	t.Helper()
	f, err := weights.Open(filepath.Join("testdata", "oracle", name, file))
	require.NoError(t, err)
	defer f.Close()
	x, ok := f.Tensor(tensor)
	require.True(t, ok)
	data = make([]float32, x.Len())
	if x.DType.IsFloat() {
		require.NoError(t, x.ReadF32(data, 0))
		return x.Shape, data
	}
	ids := make([]int64, x.Len())
	require.NoError(t, x.ReadI64(ids, 0))
	for i, id := range ids {
		data[i] = float32(id)
	}
	return x.Shape, data
}

// recordedInputs are what a recording encodes.
func recordedInputs(t *testing.T, name string) (images clip.Array, texts [][]int32) {
	t.Helper()
	shape, pixels := recording(t, name, "inputs.safetensors", "image")
	images = clip.Array{Shape: shape, Data: pixels}
	shape, ids := recording(t, name, "inputs.safetensors", "text")
	for row := range slices.Chunk(ids, shape[1]) {
		var ids []int32
		for _, id := range row {
			ids = append(ids, int32(id))
		}
		texts = append(texts, ids)
	}
	return images, texts
}

// features encodes what a recording encodes.
func features(t *testing.T, m *clip.Model, name string) (image, text []float32) {
	t.Helper()
	images, texts := recordedInputs(t, name)
	x, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	y, err := m.EncodeText(t.Context(), texts, true)
	require.NoError(t, err)
	return x.Data, y.Data
}

// adaptedModels are towers in which weights are applied in all ways: fused and
// separate projections, rows of fused ones, transposed ones, convolutions,
// patches, tables.
var adaptedModels = []string{"vit_openai_tiny", "siglip2_timm_map", "modified_resnet", "opt_attn_pool", "opt_attn_pool_samedim", "opt_qk_norm", "opt_proj_bias"}

// An adapter of every weight does what its product, added to the weight, does; one
// that is zero leaves the recorded features as they are.
func TestAdaptersAreMergedWeights(t *testing.T) {
	for _, name := range adaptedModels {
		t.Run(name, func(t *testing.T) {
			open := func() *clip.Model { return openRecorded(t, name, clip.WithDevice(openChecked(t))) }
			zero, one, merged := open(), open(), open()
			adapt(zero, 0)
			adapt(one, 0.3)
			merge(t, merged, 0.3)
			all := eachWeight(merged, 0)
			for name, p := range merged.Parameters() {
				if p.Packed() {
					require.Contains(t, all, name, "what is packed is a layers.Weight")
				}
			}

			image, text := features(t, zero, name)
			_, wantImage := recording(t, name, "outputs.safetensors", "image_features_norm")
			_, wantText := recording(t, name, "outputs.safetensors", "text_features_norm")
			assert.InDeltaSlice(t, wantImage, image, 1e-5)
			assert.InDeltaSlice(t, wantText, text, 1e-5)

			image, text = features(t, one, name)
			mergedImage, mergedText := features(t, merged, name)
			assert.InDeltaSlice(t, mergedImage, image, 1e-5)
			assert.InDeltaSlice(t, mergedText, text, 1e-5)
			for i, moved := range [][2][]float32{{image, wantImage}, {text, wantText}} {
				assert.Greater(t, farthest(moved[0], moved[1]), 0.01, "tower %d does not notice its adapters", i)
			}
		})
	}
}

func farthest(x, y []float32) float64 {
	d := 0.0
	for i := range x {
		d = max(d, math.Abs(float64(x[i])-float64(y[i])))
	}
	return d
}

// What is stored in 8 bits and frozen is left alone by a step that trains its adapters.
func TestAdaptersAreTrained(t *testing.T) {
	m := openRecorded(t, "vit_openai_tiny", clip.WithDevice(openChecked(t)), clip.WithCastDType(clip.Q8))
	adapt(m, 0.1)
	for _, p := range m.Parameters() {
		p.Frozen = !strings.Contains(p.Name, ".lora_") && p.Name != "logit_scale"
	}
	read := func() map[string][]float32 {
		all := map[string][]float32{}
		for name, p := range m.Parameters() {
			all[name] = make([]float32, p.Shape.Elems())
			require.NoError(t, m.Store().ReadParam(t.Context(), p, all[name]))
		}
		return all
	}
	answer(t, m, false) // has the weights loaded
	before := read()
	trainer, err := train.New(m, train.DefaultConfig())
	require.NoError(t, err)
	defer trainer.Close()
	texts := [][]int32{make([]int32, m.Config().TextCfg.ContextLength), make([]int32, m.Config().TextCfg.ContextLength)}
	texts[1][0] = 7
	_, err = trainer.Step(t.Context(), train.Batch{Images: images(m.Config(), 2), Texts: texts})
	require.NoError(t, err)
	after := read()
	for name, p := range m.Parameters() {
		assert.Equal(t, p.Frozen, slices.Equal(before[name], after[name]), name)
	}
}

// Whoever applies a parameter without layers.Weight leaves its adapter out.
func TestWeightsAreAppliedInOnePlace(t *testing.T) {
	products := map[string]bool{"Linear": true, "LinearRows": true, "Project": true, "Conv2D": true, "MatMul": true, "Gather": true, "GatherPadded": true}
	for _, folder := range []string{"layers", "clip", "clip/towers", "train"} {
		files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, "layers/weight.go") {
				continue
			}
			set := token.NewFileSet()
			parsed, err := parser.ParseFile(set, file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if op, ok := call.Fun.(*ast.SelectorExpr); ok && products[op.Sel.Name] && fmt.Sprint(op.X) == "ops" {
					activations := slices.Contains([]string{"MatMul", "Gather", "GatherPadded"}, op.Sel.Name)
					assert.True(t, activations && !readsParam(call), "%v: ops.%s is for layers.Weight", set.Position(call.Pos()), op.Sel.Name)
				}
				return true
			})
		}
	}
}

// readsParam reports whether an argument of call is, or holds, a parameter's handle.
func readsParam(call *ast.CallExpr) bool {
	found := false
	for _, arg := range call.Args {
		ast.Inspect(arg, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			found = found || ok && s.Sel.Name == "Param"
			return true
		})
	}
	return found
}

package train

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// evaluated is a loss of features, in float64, with its gradients.
type evaluated struct {
	value              float64
	image, text, scale []float64
}

// evaluate computes l of features [n, width] with a scale and, unless it is 0, a bias.
func evaluate(t *testing.T, l Loss, b Batch, width int, image, text []float64, scale, bias float64) evaluated {
	t.Helper()
	n := len(b.Texts)
	g := graph.New()
	f := Features{
		Image: g.Input(imageFeatures, graph.Shape{n, width}, graph.F32), Text: g.Input(textFeatures, graph.Shape{n, width}, graph.F32),
		LogitScale: g.Input("scale", graph.Shape{1}, graph.F32),
	}
	in := map[string][]float64{imageFeatures: image, textFeatures: text, "scale": {scale}, "bias": {bias}}
	if bias != 0 {
		f.LogitBias = g.Input("bias", graph.Shape{1}, graph.F32)
	}
	inputs, err := l.Inputs(t.Context(), b)
	require.NoError(t, err)
	for name, v := range inputs {
		switch v := v.(type) {
		case []float32:
			in[name] = wide(v)
		case []int32:
			in[name] = wide(v)
		}
	}
	loss := l.Record(g, f)
	got, err := g.Eval(in, nil, append(g.Grad(loss, f.Image, f.Text, f.LogitScale), loss)...)
	require.NoError(t, err)
	return evaluated{got[3][0], got[0], got[1], got[2]}
}

func wide[T float32 | int32](v []T) []float64 {
	all := make([]float64, len(v))
	for i, x := range v {
		all[i] = float64(x)
	}
	return all
}

// unitRows are n random rows of length 1.
func unitRows(n, width int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 0))
	all := make([]float64, n*width)
	for i := range n {
		sum := 0.0
		for j := range width {
			v := r.NormFloat64()
			all[i*width+j], sum = v, sum+v*v
		}
		for j := range width {
			all[i*width+j] /= math.Sqrt(sum)
		}
	}
	return all
}

func (e evaluated) requireNear(t *testing.T, want evaluated, delta float64) {
	t.Helper()
	require.InDelta(t, want.value, e.value, delta)
	require.InDeltaSlice(t, want.image, e.image, delta)
	require.InDeltaSlice(t, want.text, e.text, delta)
	require.InDeltaSlice(t, want.scale, e.scale, delta)
}

// TestChunkedSigLip: chunks change no more than rounding.
func TestChunkedSigLip(t *testing.T) {
	b := Batch{Texts: make([][]int32, 7)}
	x, y := unitRows(7, 5, 1), unitRows(7, 5, 2)
	for _, grouped := range []bool{false, true} {
		if grouped {
			b.Groups = []int32{0, 1, 0, 2, 3, 1, 0}
		}
		want := evaluate(t, SigLipLoss{Grouped: grouped}, b, 5, x, y, 12, -3)
		for _, chunk := range []int{1, 2, 7, 100} {
			evaluate(t, SigLipLoss{Grouped: grouped, ChunkSize: chunk}, b, 5, x, y, 12, -3).requireNear(t, want, 1e-12)
		}
	}
	g := graph.New()
	one := g.Input("x", graph.Shape{2, 2}, graph.F32)
	SigLipLoss{ChunkSize: -1}.Record(g, Features{Image: one, Text: one})
	require.ErrorContains(t, g.Err(), "ChunkSize is -1")
}

// TestGroupedLosses leave out the columns of a row's like, as if they were not there.
func TestGroupedLosses(t *testing.T) {
	const n, width, scale, bias = 6, 4, 9.0, -2.0
	b := Batch{Texts: [][]int32{{1, 2}, {3, 2}, {1, 2}, {4, 4}, {1, 2}, {3, 2}}}
	b.Groups = GroupEqual(b.Texts)
	require.Equal(t, []int32{0, 1, 0, 3, 0, 1}, b.Groups)
	x, y := unitRows(n, width, 3), unitRows(n, width, 4)
	z := func(i, j int) (sum float64) {
		for k := range width {
			sum += x[i*width+k] * y[j*width+k]
		}
		return scale*sum + bias
	}
	alike := func(i, j int) bool { return i != j && b.Groups[i] == b.Groups[j] }
	contrastive, sigmoid := 0.0, 0.0
	for i := range n {
		row, column := 0.0, 0.0
		for j := range n {
			if alike(i, j) {
				continue
			}
			row, column = row+math.Exp(z(i, j)), column+math.Exp(z(j, i))
			sign := -1.0
			if i == j {
				sign = 1
			}
			sigmoid += math.Log1p(math.Exp(-sign*z(i, j))) / n
		}
		contrastive += (math.Log(row) + math.Log(column) - 2*z(i, i)) / (2 * n)
	}
	assert.InDelta(t, contrastive, evaluate(t, ClipLoss{Grouped: true}, b, width, x, y, scale, bias).value, 1e-12)
	assert.InDelta(t, sigmoid, evaluate(t, SigLipLoss{Grouped: true}, b, width, x, y, scale, bias).value, 1e-12)
	plain := b
	plain.Groups = []int32{9, 8, 7, 6, 5, 4}
	evaluate(t, ClipLoss{Grouped: true}, plain, width, x, y, scale, bias).requireNear(t, evaluate(t, ClipLoss{}, Batch{Texts: b.Texts}, width, x, y, scale, bias), 1e-12)
	for _, l := range []Loss{ClipLoss{Grouped: true}, SigLipLoss{Grouped: true}, SigLipLoss{Grouped: true, ChunkSize: 2}} {
		_, err := l.Inputs(t.Context(), Batch{Texts: b.Texts, Groups: []int32{1}})
		require.ErrorIs(t, err, clip.ErrInput)
		require.ErrorContains(t, err, "1 groups for 6 pairs")
	}
}

// Equal captions are no negatives of each other, on the device too.
func TestGroupedLossOnADevice(t *testing.T) {
	m := open(t)
	images, texts := pairs(4)
	texts[2], texts[3] = texts[0], texts[0]
	b := Batch{Images: images, Texts: texts, Groups: GroupEqual(texts)}
	x, err := m.EncodeImage(t.Context(), images, true)
	require.NoError(t, err)
	y, err := m.EncodeText(t.Context(), texts, true)
	require.NoError(t, err)
	for _, l := range []Loss{ClipLoss{Grouped: true}, SigLipLoss{Grouped: true, ChunkSize: 3}} {
		want := evaluate(t, l, b, x.Shape[1], wide(x.Data), wide(y.Data), float64(m.LogitScale()), 0)
		grads, loss, err := Gradients(t.Context(), m, l, b)
		require.NoError(t, err)
		assert.InDelta(t, want.value, loss, 1e-5)
		assert.InDelta(t, want.scale[0]*float64(m.LogitScale()), grads["logit_scale"].Data[0], 1e-5)
	}
	c := DefaultConfig()
	c.Loss = ClipLoss{Grouped: true}
	trainer, err := New(m, c)
	require.NoError(t, err)
	defer trainer.Close()
	_, err = trainer.Step(t.Context(), b)
	require.NoError(t, err)
	_, _, err = Gradients(t.Context(), m, ClipLoss{}, b)
	require.ErrorIs(t, err, clip.ErrInput)
	require.ErrorContains(t, err, "the loss is not Grouped")
}

// taught are features that a Teacher has ready.
type taught struct {
	image, text clip.Array
	scale       float32
}

func (t taught) EncodeImage(context.Context, clip.Array, bool) (clip.Array, error) {
	return t.image, nil
}
func (t taught) EncodeText(context.Context, [][]int32, bool) (clip.Array, error) { return t.text, nil }
func (t taught) LogitScale() float32                                             { return t.scale }
func (t taught) Config() config.Config                                           { return config.Config{EmbedDim: t.image.Shape[1]} }

// recordedLosses reads testdata/losses.safetensors.
func recordedLosses(t *testing.T) func(name string) clip.Array {
	t.Helper()
	f, err := weights.Open("testdata/losses.safetensors")
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return func(name string) clip.Array {
		x, ok := f.Tensor(name)
		require.True(t, ok, name)
		a := clip.Array{Shape: x.Shape, Data: make([]float32, x.Len())}
		if x.DType.IsFloat() {
			require.NoError(t, x.ReadF32(a.Data, 0))
			return a
		}
		ids := make([]int64, x.Len())
		require.NoError(t, x.ReadI64(ids, 0))
		for i, id := range ids {
			a.Data[i] = float32(id)
		}
		return a
	}
}

func TestDistillClipLoss(t *testing.T) {
	of := recordedLosses(t)
	image, text := of("distill.image"), of("distill.text")
	b := Batch{Texts: make([][]int32, image.Shape[0])}
	teacher := taught{of("distill.teacher_image"), of("distill.teacher_text"), of("distill.teacher_scale").Data[0]}
	got := evaluate(t, DistillClipLoss{teacher}, b, image.Shape[1], wide(image.Data), wide(text.Data), float64(of("distill.scale").Data[0]), 7)
	got.requireNear(t, evaluated{
		float64(of("distill.contrastive").Data[0] + of("distill.distill").Data[0]),
		wide(of("distill.image_grad").Data), wide(of("distill.text_grad").Data), wide(of("distill.scale_grad").Data),
	}, 2e-6)

	teacher.text.Shape = []int{4, 24}
	_, err := DistillClipLoss{teacher}.Inputs(t.Context(), b)
	require.ErrorIs(t, err, clip.ErrInput)
	require.ErrorContains(t, err, "teacher_text features are [4 24], want [5 24]")
	m := open(t)
	images, texts := pairs(2)
	_, _, err = Gradients(t.Context(), m, DistillClipLoss{}, Batch{Images: images, Texts: texts})
	require.ErrorIs(t, err, clip.ErrInput)
	require.ErrorContains(t, err, "DistillClipLoss wants a Teacher")
}

// A model that is its own teacher is told nothing new: the cross entropy's gradient is 0.
func TestDistillationOnADevice(t *testing.T) {
	m, teacher := open(t), open(t)
	images, texts := pairs(3)
	b := Batch{Images: images, Texts: texts}
	want, clipLoss, err := Gradients(t.Context(), m, ClipLoss{}, b)
	require.NoError(t, err)
	got, loss, err := Gradients(t.Context(), m, DistillClipLoss{teacher}, b)
	require.NoError(t, err)
	assert.Greater(t, loss, clipLoss)
	for name := range want {
		assert.InDeltaSlice(t, want[name].Data, got[name].Data, 1e-5, name)
	}
}

func TestCaptionLoss(t *testing.T) {
	of := recordedLosses(t)
	logits, text := of("caption.logits"), of("caption.text")
	n, length, vocabulary := logits.Shape[0], logits.Shape[1], logits.Shape[2]
	rows := make([][]int32, n)
	for i := range rows {
		for _, id := range text.Data[i*length : (i+1)*length] {
			rows[i] = append(rows[i], int32(id))
		}
	}
	value := func(pad int32) float64 {
		g := graph.New()
		x := g.Input("logits", graph.Shape{n, length, vocabulary}, graph.F32)
		before := ops.Split(g, x, 1, length-1, 1)[0]
		loss := CaptionLoss(g, before, g.Input("labels", graph.Shape{n, length - 1}, graph.I32), g.Input("weights", graph.Shape{n, length - 1}, graph.F32))
		labels, weights, err := CaptionLabels(rows, pad)
		require.NoError(t, err)
		got, err := g.Eval(map[string][]float64{"logits": wide(logits.Data), "labels": wide(labels), "weights": wide(weights)}, nil, loss)
		require.NoError(t, err)
		return got[0][0]
	}
	assert.InDelta(t, of("caption.loss").Data[0], 2*value(0), 1e-5, "a weight of 2, the padding is 0")
	for i := range rows {
		for j := range rows[i] {
			rows[i][j] = 3
		}
	}
	assert.True(t, math.IsNaN(value(3)))
	for _, bad := range [][][]int32{{{}}, {{1}}, {{1, 2}, {1}}} {
		_, _, err := CaptionLabels(bad, 0)
		require.ErrorIs(t, err, clip.ErrInput)
	}
}

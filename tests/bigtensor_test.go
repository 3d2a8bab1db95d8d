package tests

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// chunkStep is one training step of a table that is looked up twice.
type chunkStep struct {
	rows, grad, table []float32 // what was looked up, the gradient, the table afterwards
	norm              []float32 // of the gradient
	steps             int
}

func runChunkStep(t *testing.T, maxBinding int64) chunkStep {
	t.Helper()
	const rows, width = 1000, 32
	g := graph.New()
	g.Guard, g.MaxBinding = 256, maxBinding
	table := layers.NewParam(layers.Normal(1), rows, width)
	table.Name = "table"
	layers.Seed(table, 1)
	ids := []int32{0, 127, 128, 999, 5, 640, 5, 511, 999, 512, 5, -7, 5000, 300}
	in := g.Input("ids", graph.Shape{len(ids)}, graph.I32)
	x := ops.Mul(g, ops.Gather(g, g.Param(table), in), ops.Gather(g, g.Param(table), in))
	n := x.Shape().Elems()
	loss := ops.MatMul(g, g.Reshape(x, 1, n), g.Fill(0.5, n, 1), false, false)
	grad := g.Grad(loss, g.Param(table))[0]
	moments := []*graph.State{{Name: "m", Spec: table.Spec}, {Name: "v", Spec: table.Spec}}
	records := ops.Records(table.Shape.Elems(), ops.Record(&table.State, 0, 0, true, 1))
	settings, recorded := g.Input("settings", graph.Shape{7}, graph.F32), g.Input("records", graph.Shape{len(records)}, graph.I32)
	norm, factor := ops.GradNorm(g, loss, 1, []graph.Tensor{grad}, []graph.Tensor{recorded})
	ops.Update(g, train.AdamW{}.Rule(), &table.State, moments, grad, factor, recorded, settings)
	prog, err := g.Build(x, grad, norm)
	require.NoError(t, err)
	for i, s := range prog.Steps {
		for _, slot := range s.Slots {
			if maxBinding > 0 {
				require.LessOrEqual(t, slot.Bytes, maxBinding, "step %d", i)
			}
		}
	}
	dev := openChecked(t)
	store := dev.NewStore()
	defer store.Close()
	session, err := dev.Load(prog, store)
	require.NoError(t, err)
	defer session.Close()
	r := chunkStep{rows: make([]float32, n), grad: make([]float32, rows*width), table: make([]float32, rows*width), norm: make([]float32, 1), steps: len(prog.Steps)}
	require.NoError(t, session.Run(t.Context(), gpu.IO{
		Inputs: map[string]any{
			"ids": ids, "settings": []float32{0.1, 0.1, 0.02, 1e-6, 0.2, 0.1, 0.02},
			"records": records,
		},
		Outputs: [][]float32{r.rows, r.grad, r.norm},
	}))
	require.NoError(t, store.Read(t.Context(), &table.State, r.table))
	return r
}

// openChecked opens a device with the limits that every GPU has, which fails
// runs whose kernels write outside their tensors.
func openChecked(t *testing.T) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(gpu.Options{DefaultLimits: true, Check: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

func TestChunksChangeNothing(t *testing.T) {
	want := runChunkStep(t, 0)
	assert.NotZero(t, slices.Max(want.grad))
	for _, rows := range []int{128, 512} {
		got := runChunkStep(t, int64(rows*32*4))
		assert.Greater(t, got.steps, want.steps, "%d rows a chunk", rows)
		got.steps = want.steps
		assert.Equal(t, want, got, "%d rows a chunk", rows)
	}
}

func TestKernelsThatWantATensorWholeRefuseLongOnes(t *testing.T) {
	g := graph.New()
	g.MaxBinding = 4096
	x := g.Input("x", graph.Shape{64, 32}, graph.F32)
	_, err := g.Build(ops.Scale(g, x, 2))
	var size *graph.SizeError
	require.ErrorAs(t, err, &size)
	assert.EqualError(t, err, ".scale: kernel scale: f32[64×32] takes 8192 bytes, a kernel binds at most 4096")
}

// Scores that are too long to be stored are not stored.
func TestAttentionWithLongScores(t *testing.T) {
	build := func(batch int, maxBinding int64) (*graph.Program, error) {
		g := graph.New()
		g.MaxBinding = maxBinding
		g.Adapter = graph.CPU // which prefers to store them
		x := g.Input("x", graph.Shape{batch, 50, 3 * 8}, graph.F32)
		return g.Build(ops.SelfAttention(g, x, graph.Tensor{}, ops.AttentionConfig{Heads: 2, Scale: 0.5}))
	}
	scores := int64(2 * 50 * 50 * 4)
	whole, err := build(1, scores)
	require.NoError(t, err)
	one, err := build(1, scores-4)
	require.NoError(t, err)
	_, err = build(2, scores)
	var size *graph.SizeError
	require.ErrorAs(t, err, &size, "a batch that can be split")

	dev := openChecked(t)
	feed := make([]float32, 50*24)
	for i := range feed {
		feed[i] = float32(i*7919%211)/100 - 1
	}
	run := func(p *graph.Program) []float32 {
		store := dev.NewStore()
		defer store.Close()
		session, err := dev.Load(p, store)
		require.NoError(t, err)
		defer session.Close()
		y := make([]float32, 50*8)
		require.NoError(t, session.Run(t.Context(), gpu.IO{Inputs: map[string]any{"x": feed}, Outputs: [][]float32{y}}))
		return y
	}
	assert.Less(t, len(one.Steps), len(whole.Steps))
	assert.InDeltaSlice(t, run(whole), run(one), 1e-5)
}

// wideTable is a Source of a table of which no two rows near each other are the
// same; rows, unless nil, are those of it that there are.
type wideTable struct {
	width int
	rows  []int32
}

func (w wideTable) ReadF32(dst []float32, offset int) error {
	for i := range dst {
		row, j := (offset+i)/w.width, (offset+i)%w.width
		if w.rows != nil {
			row = int(w.rows[row])
		}
		dst[i] = float32((row*7919+j*31)%10007)/1e5 - 0.05
	}
	return nil
}

// wideModels have token tables beyond what one kernel binds.
var wideModels = map[string]func() config.Config{
	"a vocabulary of 60000": func() config.Config {
		c := config.Config{EmbedDim: 64, VisionCfg: config.DefaultVisionConfig(), TextCfg: config.DefaultTextConfig()}
		c.VisionCfg.Layers, c.VisionCfg.Width, c.VisionCfg.HeadWidth, c.VisionCfg.ImageSize, c.VisionCfg.PatchSize =
			config.Layers{1}, 32, 16, config.Size{16, 16}, config.Size{8, 8}
		c.TextCfg.ContextLength, c.TextCfg.VocabSize, c.TextCfg.Width, c.TextCfg.Heads, c.TextCfg.Layers = 8, 60000, 768, 12, 1
		return c
	},
	"ViT-L-14 of one layer": func() config.Config {
		c := config.Config{EmbedDim: 768, VisionCfg: config.DefaultVisionConfig(), TextCfg: config.DefaultTextConfig()}
		c.VisionCfg.Layers, c.VisionCfg.Width, c.VisionCfg.PatchSize = config.Layers{1}, 1024, config.Size{14, 14}
		c.TextCfg.Width, c.TextCfg.Heads, c.TextCfg.Layers = 768, 12, 1
		return c
	},
}

// openWide makes a model and one that has only the rows of its table that ids
// name, in order, but is otherwise the same.
func openWide(t *testing.T, c config.Config, ids []int32) (wide, narrow *clip.Model) {
	t.Helper()
	dev, err := gpu.Open(gpu.Options{DefaultLimits: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	open := func(c config.Config) (*clip.Model, map[string]*graph.Param) {
		m, err := clip.New(c, 1, clip.WithDevice(dev))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		return m, maps.Collect(m.Parameters())
	}
	wide, all := open(c)
	c.TextCfg.VocabSize = len(ids)
	narrow, few := open(c)
	table := all["token_embedding.weight"]
	require.Greater(t, table.Bytes(), dev.Info().MaxBindingBytes)
	table.Source = wideTable{table.Shape[1], nil}
	few["token_embedding.weight"].Source = wideTable{table.Shape[1], ids}
	return wide, narrow
}

// wideTexts are two texts as rows of ids, and as rows of places in ids.
func wideTexts(c config.Config, ids []int32) (wide, narrow [][]int32) {
	for text := range 2 {
		var w, n []int32
		for i := range c.TextCfg.ContextLength {
			at := (i*i + 3*text) % len(ids)
			w, n = append(w, ids[at]), append(n, int32(at))
		}
		wide, narrow = append(wide, w), append(narrow, n)
	}
	return wide, narrow
}

func images(c config.Config, n int) clip.Array {
	size := c.VisionCfg.ImageSize
	x := clip.Array{Shape: []int{n, 3, size[0], size[1]}, Data: make([]float32, n*3*size[0]*size[1])}
	for i := range x.Data {
		x.Data[i] = float32(i*7919%1013)/500 - 1
	}
	return x
}

// The tables' rows around the chunks' borders give the same as in a short table.
func TestWideTables(t *testing.T) {
	for name, config := range wideModels {
		t.Run(name, func(t *testing.T) {
			c := config()
			last := int32(c.TextCfg.VocabSize - 1)
			border := int32(128 << 20 / (4 * c.TextCfg.Width) / 64 * 64)
			ids := []int32{0, 1, border - 1, border, border + 1, last - 1, last}
			wide, narrow := openWide(t, c, ids)
			wideRows, narrowRows := wideTexts(c, ids)
			got, err := wide.EncodeText(t.Context(), wideRows, true)
			require.NoError(t, err)
			want, err := narrow.EncodeText(t.Context(), narrowRows, true)
			require.NoError(t, err)
			require.Equal(t, want, got)
			x := images(c, 2)
			features, err := wide.EncodeImage(t.Context(), x, true)
			require.NoError(t, err)
			require.Equal(t, []int{2, c.EmbedDim}, features.Shape)
			for i := range 2 {
				sum := float64(0)
				for _, v := range features.Data[i*c.EmbedDim : (i+1)*c.EmbedDim] {
					sum += float64(v) * float64(v)
				}
				assert.InDelta(t, 1, sum, 1e-5)
			}
		})
	}
}

// A training step on a long table does to the rows it looks up what one on a
// short table does, and decays the others.
func TestWideTablesAreTrained(t *testing.T) {
	c := wideModels["a vocabulary of 60000"]()
	ids := []int32{0, 2, 43647, 43648, 43649, 59999}
	wide, narrow := openWide(t, c, ids)
	wideRows, narrowRows := wideTexts(c, ids)
	table := func(m *clip.Model, rows [][]int32) (loss float64, after []float32) {
		trainer, err := train.New(m, train.DefaultConfig())
		require.NoError(t, err)
		defer trainer.Close()
		loss, err = trainer.Step(t.Context(), train.Batch{Images: images(c, 2), Texts: rows})
		require.NoError(t, err)
		p := maps.Collect(m.Parameters())["token_embedding.weight"]
		after = make([]float32, p.Shape.Elems())
		require.NoError(t, m.Store().Read(t.Context(), &p.State, after))
		return loss, after
	}
	gotLoss, got := table(wide, wideRows)
	wantLoss, want := table(narrow, narrowRows)
	assert.Equal(t, wantLoss, gotLoss)
	width := c.TextCfg.Width
	for i, id := range ids {
		require.Equal(t, want[i*width:(i+1)*width], got[int(id)*width:(int(id)+1)*width], fmt.Sprint("row ", id))
	}
	before := make([]float32, len(got))
	require.NoError(t, wideTable{width, nil}.ReadF32(before, 0))
	cfg := train.DefaultConfig().Optimizer.(train.AdamW)
	for id := 3; id < 59999; id++ {
		if slices.Contains(ids, int32(id)) {
			continue
		}
		for j := id * width; j < (id+1)*width; j++ {
			if delta := float64(got[j]) - float64(before[j])*(1-cfg.LR*cfg.WeightDecay); delta > 1e-7 || delta < -1e-7 {
				require.Failf(t, "not decayed", "row %d: %v, was %v", id, got[j], before[j])
			}
		}
	}
}

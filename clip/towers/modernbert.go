package towers

import (
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// modernBert is transformers' ModernBertModel.
var modernBert = hfFamily(Family{
	Name: "ModernBERT", Recording: "hf_modernbert_cls_linear",
	Groups: [][]string{ // final_norm is in none, as in open_clip
		{"transformer.embeddings"},
		{"transformer.layers.*"},
		{"proj"},
	},
	LayerNorm: "LayerNorm", // which names nothing here, as in open_clip
}, readModernBert, "modernbert")

// modernBertConfig is transformers' ModernBertConfig, as far as it counts in the encoder.
type modernBertConfig struct {
	ModelType         string  `json:"model_type" null:"no"`
	VocabSize         int     `json:"vocab_size"`
	HiddenSize        int     `json:"hidden_size"`
	IntermediateSize  int     `json:"intermediate_size"`
	NumHiddenLayers   int     `json:"num_hidden_layers"`
	NumAttentionHeads int     `json:"num_attention_heads"`
	HiddenActivation  string  `json:"hidden_activation" null:"no"`
	MaxPositions      int     `json:"max_position_embeddings"` // which bounds nothing
	InitializerRange  float64 `json:"initializer_range"`
	InitializerCutoff float64 `json:"initializer_cutoff_factor"`
	NormEps           float64 `json:"norm_eps"`
	NormBias          bool    `json:"norm_bias"`
	PadTokenID        int     `json:"pad_token_id"`
	AttentionBias     bool    `json:"attention_bias"`
	AttentionDropout  float64 `json:"attention_dropout"`
	EmbeddingDropout  float64 `json:"embedding_dropout"`
	MLPBias           bool    `json:"mlp_bias"`
	MLPDropout        float64 `json:"mlp_dropout"`
	LocalAttention    int     `json:"local_attention"`
}

// modernBertFixed are keys by which versions of transformers do not mean the same.
var modernBertFixed = []string{
	"global_attn_every_n_layers", "global_rope_theta", "layer_types", "local_rope_theta", "rope_parameters", "rope_scaling", "rope_theta", "sliding_window",
}

func readModernBert(t *config.TextConfig) (m hfModel, err error) {
	var c modernBertConfig
	unknown, err := readHF(t, &c, nil)
	if err != nil {
		return m, err
	}
	for _, key := range unknown {
		if slices.Contains(modernBertFixed, key) {
			return m, fmt.Errorf("%s is %w: it is that of the model", hfKey(key), config.ErrUnsupported)
		}
	}
	activation, err := hfActivation("hidden_activation", c.HiddenActivation)
	if err = check.First(c.check(), err); err != nil {
		return m, err
	}
	return hfModel{
		width: c.HiddenSize, layers: c.NumHiddenLayers, vocabulary: c.VocabSize, padding: c.PadTokenID,
		pooler: "mean_pooler", unknown: unknown,
		encoder: func(bool) hfEncoder { return newModernBert(&c, activation) },
	}, nil
}

func (c *modernBertConfig) check() error {
	return check.First(
		check.OneOf(hfKey("model_type"), c.ModelType, "modernbert"),
		check.InRange(hfKey("vocab_size"), c.VocabSize, 1, check.MaxVocab),
		check.InRange(hfKey("hidden_size"), c.HiddenSize, 1, check.MaxWidth),
		check.InRange(hfKey("intermediate_size"), c.IntermediateSize, 1, check.MaxWidth),
		check.InRange(hfKey("num_hidden_layers"), c.NumHiddenLayers, 1, check.MaxLayers),
		check.InRange(hfKey("num_attention_heads"), c.NumAttentionHeads, 1, c.HiddenSize),
		check.Divisible(hfKey("hidden_size"), c.HiddenSize, "twice "+hfKey("num_attention_heads"), 2*c.NumAttentionHeads),
		check.InRange(hfKey("local_attention"), c.LocalAttention, 0, math.MaxInt32),
		check.InRange(hfKey("pad_token_id"), c.PadTokenID, 0, c.VocabSize-1),
		check.DropRate(hfKey("attention_dropout"), c.AttentionDropout),
		check.DropRate(hfKey("embedding_dropout"), c.EmbeddingDropout),
		check.DropRate(hfKey("mlp_dropout"), c.MLPDropout),
		hfNumber("norm_eps", c.NormEps),
		hfNumber("initializer_range", c.InitializerRange),
		hfNumber("initializer_cutoff_factor", c.InitializerCutoff),
	)
}

// modernBertModel is transformers' ModernBertModel (modeling_modernbert.py; Warner et
// al., 2024). Every third layer sees all tokens, from the first on; the others those
// within a window.
type modernBertModel struct {
	endless

	TokEmbeddings *layers.Embedding         `w:"embeddings.tok_embeddings"`
	Norm          *layers.LayerNorm         `w:"embeddings.norm"`
	Layers        []*layers.ModernBertLayer `w:"layers"`
	FinalNorm     *layers.LayerNorm         `w:"final_norm"`

	head, window int // width of a head; the distance up to which tokens see each other
	drop         float64
}

// The temperatures of the rotary positions, and how many layers there are to one that
// sees all.
const (
	globalRope   = 160000
	localRope    = 10000
	globalPeriod = 3
)

func newModernBert(c *modernBertConfig, activation ops.Function) *modernBertModel {
	block := &layers.ModernBertConfig{
		Width: c.HiddenSize, Heads: c.NumAttentionHeads, MLPWidth: c.IntermediateSize, Layers: c.NumHiddenLayers,
		Activation: activation, Eps: c.NormEps, NormBias: c.NormBias, AttnBias: c.AttentionBias, MLPBias: c.MLPBias,
		InitStd: c.InitializerRange, InitCut: c.InitializerCutoff, AttnDrop: c.AttentionDropout, MLPDrop: c.MLPDropout,
	}
	m := &modernBertModel{
		TokEmbeddings: block.Embedding(c.VocabSize, c.PadTokenID),
		Norm:          block.Norm(),
		FinalNorm:     block.Norm(),
		head:          c.HiddenSize / c.NumAttentionHeads, window: c.LocalAttention / 2, drop: c.EmbeddingDropout,
	}
	for i := range c.NumHiddenLayers {
		m.Layers = append(m.Layers, layers.NewModernBertLayer(block, i == 0))
	}
	return m
}

// windows reports whether some tokens of a text of that length are out of sight.
func (m *modernBertModel) windows(length int) bool { return length-1 > m.window }

func (m *modernBertModel) feed(rows [][]int32, inputs map[string]any) {
	length := len(rows[0])
	inputs["global_angles"] = ropeAngles(length, m.head, globalRope)
	inputs["local_angles"] = ropeAngles(length, m.head, localRope)
	if !m.windows(length) {
		return
	}
	window := make([]float32, length*length)
	for i := range window {
		if query, key := i/length, i%length; max(query-key, key-query) > m.window {
			window[i] = -math.MaxFloat32
		}
	}
	inputs["window"] = window
}

// ropeAngles are those of ops.Rotary for positions from 0 on, in f32 as in transformers
// and open_clip: [length, head].
func ropeAngles(length, head int, temperature float64) []float32 {
	angles := make([]float32, length*head)
	for pair := range head / 2 {
		frequency := 1 / float32(math.Pow(temperature, float64(float32(2*pair)/float32(head))))
		for position := range length {
			angle := float64(float32(position) * frequency)
			at := position*head + 2*pair
			angles[at], angles[at+1] = float32(math.Cos(angle)), float32(math.Sin(angle))
		}
	}
	return angles
}

func (m *modernBertModel) record(g *graph.Graph, ids graph.Tensor, mask layers.Mask, depth int) graph.Tensor {
	length := ids.Dim(1)
	global := g.Input("global_angles", graph.Shape{length, m.head}, graph.F32)
	local := g.Input("local_angles", graph.Shape{length, m.head}, graph.F32)
	near := mask
	if m.windows(length) {
		window := g.Input("window", graph.Shape{length, length}, graph.F32)
		rows := ops.MatMul(g, g.Fill(1, ids.Dim(0), length, 1), mask.Additive, false, false) // the mask, for each query
		near.Additive = ops.AddBroadcast(g, rows, window, 1)
	}
	x := g.Module("embeddings", func() graph.Tensor {
		x := g.Module("tok_embeddings", func() graph.Tensor { return m.TokEmbeddings.Forward(g, ids) })
		x = g.Module("norm", func() graph.Tensor { return m.Norm.Forward(g, x) })
		return ops.Dropout(g, x, m.drop)
	})
	for i := range depth {
		angles, seen := local, near
		if i%globalPeriod == 0 {
			angles, seen = global, mask
		}
		x = g.Block(fmt.Sprintf("layers.%d", i), func() graph.Tensor { return m.Layers[i].Forward(g, x, angles, seen) })
	}
	return g.Module("final_norm", func() graph.Tensor { return m.FinalNorm.Forward(g, x) })
}

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

// roberta is transformers' RobertaModel and XLMRobertaModel, which differ in their
// vocabularies alone.
var roberta = hfFamily(Family{
	Name: "RoBERTa", Recording: "hf_roberta_quick",
	NoDecay: []string{"transformer.embeddings.token_type_embeddings.weight", "transformer.embeddings.position_embeddings.weight"},
	Groups: [][]string{ // lock of open_clip's hf_model.py
		{"transformer.embeddings"},
		{"transformer.encoder.layer.*"},
		{"transformer.pooler", "proj"},
	},
	LayerNorm: "LayerNorm",
}, readRoberta, "roberta", "xlm-roberta")

// robertaConfig is transformers' RobertaConfig, as far as it counts in an encoder.
type robertaConfig struct {
	ModelType             string  `json:"model_type" null:"no"`
	VocabSize             int     `json:"vocab_size"`
	HiddenSize            int     `json:"hidden_size"`
	NumHiddenLayers       int     `json:"num_hidden_layers"`
	NumAttentionHeads     int     `json:"num_attention_heads"`
	IntermediateSize      int     `json:"intermediate_size"`
	HiddenAct             string  `json:"hidden_act" null:"no"`
	HiddenDropout         float64 `json:"hidden_dropout_prob"`
	AttentionDropout      float64 `json:"attention_probs_dropout_prob"`
	MaxPositionEmbeddings int     `json:"max_position_embeddings"`
	TypeVocabSize         int     `json:"type_vocab_size"`
	InitializerRange      float64 `json:"initializer_range"`
	LayerNormEps          float64 `json:"layer_norm_eps"`
	PadTokenID            int     `json:"pad_token_id"`

	IsDecoder             bool   `json:"is_decoder"`
	IsEncoderDecoder      bool   `json:"is_encoder_decoder"`
	AddCrossAttention     bool   `json:"add_cross_attention"`
	PositionEmbeddingType string `json:"position_embedding_type"`
}

// readRoberta reads the configuration of a text tower.
func readRoberta(t *config.TextConfig) (m hfModel, err error) {
	c := robertaConfig{PositionEmbeddingType: "absolute"}
	unknown, err := readHF(t, &c)
	if err != nil {
		return m, err
	}
	activation, err := hfActivation("hidden_act", c.HiddenAct)
	if err = check.First(c.check(), err); err != nil {
		return m, err
	}
	if c.InitializerRange == 0 {
		c.InitializerRange = 0.02 // as transformers has it
	}
	return hfModel{
		width: c.HiddenSize, layers: c.NumHiddenLayers, vocabulary: c.VocabSize, padding: c.PadTokenID,
		pooler: "mean_pooler", unknown: unknown,
		encoder: func(pooling bool) hfEncoder { return newRoberta(&c, activation, pooling) },
	}, nil
}

// check bounds what is divided, multiplied or allocated, and refuses what would make
// another kind of model.
func (c *robertaConfig) check() error {
	key := func(name string) string { return hfModelConfig + "." + name }
	switch {
	case c.IsDecoder || c.IsEncoderDecoder || c.AddCrossAttention:
		return fmt.Errorf("%s of a decoder is %w", hfModelConfig, config.ErrUnsupported)
	case c.PositionEmbeddingType != "absolute":
		return fmt.Errorf("%s %q is %w; supported is absolute", key("position_embedding_type"), c.PositionEmbeddingType, config.ErrUnsupported)
	case !(c.LayerNormEps >= 0 && c.LayerNormEps < math.Inf(1)):
		return fmt.Errorf("%w: %s is %v, want 0 or more", config.ErrConfig, key("layer_norm_eps"), c.LayerNormEps)
	case !(c.InitializerRange >= 0 && c.InitializerRange < math.Inf(1)):
		return fmt.Errorf("%w: %s is %v, want 0 or more", config.ErrConfig, key("initializer_range"), c.InitializerRange)
	}
	return check.First(
		check.OneOf(key("model_type"), c.ModelType, "roberta", "xlm-roberta"),
		check.InRange(key("vocab_size"), c.VocabSize, 1, check.MaxVocab),
		check.InRange(key("hidden_size"), c.HiddenSize, 1, check.MaxWidth),
		check.InRange(key("num_hidden_layers"), c.NumHiddenLayers, 1, check.MaxLayers),
		check.InRange(key("num_attention_heads"), c.NumAttentionHeads, 1, c.HiddenSize),
		check.Divisible(key("hidden_size"), c.HiddenSize, key("num_attention_heads"), c.NumAttentionHeads),
		check.InRange(key("intermediate_size"), c.IntermediateSize, 1, check.MaxWidth),
		check.InRange(key("max_position_embeddings"), c.MaxPositionEmbeddings, 1, check.MaxWidth),
		check.InRange(key("type_vocab_size"), c.TypeVocabSize, 1, check.MaxVocab),
		check.InRange(key("pad_token_id"), c.PadTokenID, -1, min(c.VocabSize, c.MaxPositionEmbeddings)-1),
		check.DropRate(key("hidden_dropout_prob"), c.HiddenDropout),
		check.DropRate(key("attention_probs_dropout_prob"), c.AttentionDropout),
	)
}

// robertaModel is transformers' RobertaModel (modeling_roberta.py; Liu et al., 2019).
type robertaModel struct {
	WordEmbeddings      *layers.Embedding   `w:"embeddings.word_embeddings"`
	TokenTypeEmbeddings *graph.Param        `w:"embeddings.token_type_embeddings.weight"` // [types, width], of which the first counts
	LayerNorm           *layers.LayerNorm   `w:"embeddings.LayerNorm"`
	PositionEmbeddings  *layers.Embedding   `w:"embeddings.position_embeddings"`
	Layers              []*layers.BertLayer `w:"encoder.layer"`
	Pooler              *layers.Linear      `w:"pooler.dense"` // with cls_pooler

	padding, positions int
	drop               float64 // rate of the embeddings' dropout
}

func newRoberta(c *robertaConfig, activation ops.Function, pooling bool) *robertaModel {
	width, std := c.HiddenSize, c.InitializerRange
	embedding := func(rows int) *layers.Embedding {
		return layers.NewPaddedEmbedding(rows, width, std, (c.PadTokenID+rows)%rows) // −1 is the last row to torch
	}
	r := &robertaModel{
		WordEmbeddings:      embedding(c.VocabSize),
		TokenTypeEmbeddings: layers.NewParam(layers.Normal(std), c.TypeVocabSize, width),
		PositionEmbeddings:  embedding(c.MaxPositionEmbeddings),
		LayerNorm:           layers.NewLayerNorm(width, c.LayerNormEps),
		padding:             c.PadTokenID, positions: c.MaxPositionEmbeddings, drop: c.HiddenDropout,
	}
	for range c.NumHiddenLayers {
		r.Layers = append(r.Layers, layers.NewBertLayer(layers.BertConfig{
			Width: width, Heads: c.NumAttentionHeads, MLPWidth: c.IntermediateSize,
			Activation: activation, Eps: c.LayerNormEps, InitStd: std,
			HiddenDrop: c.HiddenDropout, AttnDrop: c.AttentionDropout,
		}))
	}
	if pooling {
		r.Pooler = layers.NewBertLinear(width, width, std)
	}
	return r
}

// positionIDs are the positions of a row: that of padding is its id, from which on the
// others are counted (create_position_ids_from_input_ids).
func (r *robertaModel) positionIDs(row []int32) []int32 {
	ids, last := make([]int32, len(row)), int32(r.padding)
	for i, id := range row {
		ids[i] = int32(r.padding)
		if id != int32(r.padding) {
			last++
			ids[i] = last
		}
	}
	return ids
}

func (r *robertaModel) check(row []int32) error {
	if last := int(slices.Max(r.positionIDs(row))); last >= r.positions {
		return fmt.Errorf("%d tokens without padding, want at most %d", last-r.padding, r.positions-r.padding-1)
	}
	return nil
}

func (r *robertaModel) feed(rows [][]int32, inputs map[string]any) {
	var positions []int32
	for _, row := range rows {
		positions = append(positions, r.positionIDs(row)...)
	}
	inputs["positions"] = positions
}

func (r *robertaModel) record(g *graph.Graph, ids graph.Tensor, mask layers.Mask, depth int) graph.Tensor {
	x := g.Module("embeddings", func() graph.Tensor { return r.embed(g, ids) })
	defer g.Scope("encoder")()
	for i := range depth {
		x = g.Block(fmt.Sprintf("layer.%d", i), func() graph.Tensor { return r.Layers[i].Forward(g, x, mask) })
	}
	return x
}

func (r *robertaModel) embed(g *graph.Graph, ids graph.Tensor) graph.Tensor {
	positions := g.Input("positions", ids.Shape(), graph.I32)
	x := g.Module("word_embeddings", func() graph.Tensor { return r.WordEmbeddings.Forward(g, ids) })
	kind := g.Param(r.TokenTypeEmbeddings)
	if n := kind.Dim(0); n > 1 {
		kind = ops.Split(g, kind, 0, 1, n-1)[0]
	}
	x = ops.AddBroadcast(g, x, kind, 1)
	x = g.Add(x, g.Module("position_embeddings", func() graph.Tensor { return r.PositionEmbeddings.Forward(g, positions) }))
	x = g.Module("LayerNorm", func() graph.Tensor { return r.LayerNorm.Forward(g, x) })
	return ops.Dropout(g, x, r.drop)
}

// pool is RobertaPooler.
func (r *robertaModel) pool(g *graph.Graph, hidden graph.Tensor) graph.Tensor {
	if r.Pooler == nil {
		return graph.Tensor{}
	}
	return g.Module("pooler", func() graph.Tensor {
		h := g.Module("dense", func() graph.Tensor { return r.Pooler.Forward(g, firstToken(g, hidden)) })
		return ops.Map(g, h, ops.Tanh)
	})
}

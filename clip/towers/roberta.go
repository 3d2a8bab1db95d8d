package towers

import (
	"fmt"
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
}, bertReader("roberta", "xlm-roberta"), "roberta", "xlm-roberta")

// bert is transformers' BertModel, whose positions count padding, too.
var bert = hfFamily(Family{
	Name: "BERT", Recording: "hf_bert_cls_linear",
	NoDecay: roberta.NoDecay, Groups: roberta.Groups, LayerNorm: roberta.LayerNorm,
}, bertReader("bert"), "bert")

// bertConfig is transformers' BertConfig and RobertaConfig, as far as it counts in an
// encoder.
type bertConfig struct {
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

// bertReader reads the configuration of a text tower over one of some types of models.
func bertReader(types ...string) func(*config.TextConfig) (hfModel, error) {
	return func(t *config.TextConfig) (hfModel, error) { return readBert(t, types) }
}

func readBert(t *config.TextConfig, types []string) (m hfModel, err error) {
	c := bertConfig{PositionEmbeddingType: "absolute"}
	unknown, err := readHF(t, &c, nil)
	if err != nil {
		return m, err
	}
	activation, err := hfActivation("hidden_act", c.HiddenAct)
	if err = check.First(check.OneOf(hfModelConfig+".model_type", c.ModelType, types...), c.check(), err); err != nil {
		return m, err
	}
	if c.InitializerRange == 0 {
		c.InitializerRange = 0.02 // as transformers has it
	}
	pooler := "mean_pooler"
	if c.ModelType == bertType {
		pooler = "cls_pooler"
	}
	return hfModel{
		width: c.HiddenSize, layers: c.NumHiddenLayers, vocabulary: c.VocabSize, padding: c.PadTokenID,
		pooler: pooler, unknown: unknown,
		encoder: func(pooling bool) hfEncoder { return newBert(&c, activation, pooling) },
	}, nil
}

// check bounds what is divided, multiplied or allocated, and refuses what would make
// another kind of model.
func (c *bertConfig) check() error {
	key := hfKey
	switch {
	case c.IsDecoder || c.IsEncoderDecoder || c.AddCrossAttention:
		return fmt.Errorf("%s of a decoder is %w", hfModelConfig, config.ErrUnsupported)
	case c.PositionEmbeddingType != "absolute":
		return fmt.Errorf("%s %q is %w; supported is absolute", key("position_embedding_type"), c.PositionEmbeddingType, config.ErrUnsupported)
	}
	return check.First(
		hfNumber("layer_norm_eps", c.LayerNormEps),
		hfNumber("initializer_range", c.InitializerRange),
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

// bertModel is transformers' BertModel (modeling_bert.py; Devlin et al., 2019) and
// RobertaModel (modeling_roberta.py; Liu et al., 2019). State dicts have the tables of
// positions at different places.
type bertModel struct {
	WordEmbeddings      *layers.Embedding   `w:"embeddings.word_embeddings"`
	BertPositions       *layers.Embedding   `w:"embeddings.position_embeddings"`          // of BERT
	TokenTypeEmbeddings *graph.Param        `w:"embeddings.token_type_embeddings.weight"` // [types, width], of which the first counts
	LayerNorm           *layers.LayerNorm   `w:"embeddings.LayerNorm"`
	RobertaPositions    *layers.Embedding   `w:"embeddings.position_embeddings"` // of RoBERTa
	Layers              []*layers.BertLayer `w:"encoder.layer"`
	Pooler              *layers.Linear      `w:"pooler.dense"` // with cls_pooler

	padding, positions int
	drop               float64 // rate of the embeddings' dropout
}

const bertType = "bert"

func newBert(c *bertConfig, activation ops.Function, pooling bool) *bertModel {
	width, std := c.HiddenSize, c.InitializerRange
	padded := func(rows int) *layers.Embedding {
		return layers.NewPaddedEmbedding(rows, width, std, (c.PadTokenID+rows)%rows) // −1 is the last row to torch
	}
	r := &bertModel{
		WordEmbeddings:      padded(c.VocabSize),
		TokenTypeEmbeddings: layers.NewParam(layers.Normal(std), c.TypeVocabSize, width),
		LayerNorm:           layers.NewLayerNorm(width, c.LayerNormEps),
		padding:             c.PadTokenID, positions: c.MaxPositionEmbeddings, drop: c.HiddenDropout,
	}
	if c.ModelType == bertType {
		r.BertPositions = layers.NewEmbedding(layers.Normal(std), r.positions, width)
	} else {
		r.RobertaPositions = padded(r.positions)
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

// paddedPositions are the positions of a row: that of padding is its id, from which on the
// others are counted (create_position_ids_from_input_ids of several models).
func paddedPositions(row []int32, padding int) []int32 {
	ids, last := make([]int32, len(row)), int32(padding)
	for i, id := range row {
		ids[i] = int32(padding)
		if id != int32(padding) {
			last++
			ids[i] = last
		}
	}
	return ids
}

// positionIDs are the positions of a row, which BERT counts from the first token on.
func (r *bertModel) positionIDs(row []int32) []int32 {
	if r.BertPositions == nil {
		return paddedPositions(row, r.padding)
	}
	ids := make([]int32, len(row))
	for i := range ids {
		ids[i] = int32(i)
	}
	return ids
}

func (r *bertModel) check(row []int32) error {
	switch last := int(slices.Max(r.positionIDs(row))); {
	case last < r.positions:
		return nil
	case r.BertPositions != nil:
		return fmt.Errorf("%d tokens, want at most %d", len(row), r.positions)
	default:
		return fmt.Errorf("%d tokens without padding, want at most %d", last-r.padding, r.positions-r.padding-1)
	}
}

func (r *bertModel) feed(rows [][]int32, inputs map[string]any) {
	var positions []int32
	for _, row := range rows {
		positions = append(positions, r.positionIDs(row)...)
	}
	inputs["positions"] = positions
}

func (r *bertModel) record(g *graph.Graph, ids graph.Tensor, mask layers.Mask, depth int) graph.Tensor {
	x := g.Module("embeddings", func() graph.Tensor { return r.embed(g, ids) })
	defer g.Scope("encoder")()
	for i := range depth {
		x = g.Block(fmt.Sprintf("layer.%d", i), func() graph.Tensor { return r.Layers[i].Forward(g, x, mask) })
	}
	return x
}

func (r *bertModel) embed(g *graph.Graph, ids graph.Tensor) graph.Tensor {
	positions := g.Input("positions", ids.Shape(), graph.I32)
	x := g.Module("word_embeddings", func() graph.Tensor { return r.WordEmbeddings.Forward(g, ids) })
	kind := g.Param(r.TokenTypeEmbeddings)
	if n := kind.Dim(0); n > 1 {
		kind = ops.Split(g, kind, 0, 1, n-1)[0]
	}
	x = ops.AddBroadcast(g, x, kind, 1)
	table := r.RobertaPositions
	if table == nil {
		table = r.BertPositions
	}
	x = g.Add(x, g.Module("position_embeddings", func() graph.Tensor { return table.Forward(g, positions) }))
	x = g.Module("LayerNorm", func() graph.Tensor { return r.LayerNorm.Forward(g, x) })
	return ops.Dropout(g, x, r.drop)
}

// pool is BertPooler and RobertaPooler.
func (r *bertModel) pool(g *graph.Graph, hidden graph.Tensor) graph.Tensor {
	if r.Pooler == nil {
		return graph.Tensor{}
	}
	return g.Module("pooler", func() graph.Tensor {
		h := g.Module("dense", func() graph.Tensor { return r.Pooler.Forward(g, firstToken(g, hidden)) })
		return ops.Map(g, h, ops.Tanh)
	})
}

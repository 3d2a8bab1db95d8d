package towers

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// nllb is the encoder of transformers' M2M100Model, which NLLB's models are.
var nllb = hfFamily(Family{
	Name: "NLLB", Recording: "hf_nllb_cls_linear",
	Groups: [][]string{ // layer_norm is in none, as in open_clip
		{"transformer.embed_tokens"},
		{"transformer.layers.*"},
		{"proj"},
	},
	LayerNorm: "LayerNorm", // which names nothing here, as in open_clip
}, readM2M100, "m2m_100")

// m2m100Config is transformers' M2M100Config, as far as it counts in the encoder.
type m2m100Config struct {
	ModelType         string  `json:"model_type" null:"no"`
	VocabSize         int     `json:"vocab_size"`
	DModel            int     `json:"d_model"`
	Layers            int     `json:"encoder_layers"`
	Heads             int     `json:"encoder_attention_heads"`
	FFNDim            int     `json:"encoder_ffn_dim"`
	LayerDrop         float64 `json:"encoder_layerdrop"`
	Dropout           float64 `json:"dropout"`
	AttentionDropout  float64 `json:"attention_dropout"`
	ActivationDropout float64 `json:"activation_dropout"`
	Activation        string  `json:"activation_function" null:"no"`
	InitStd           float64 `json:"init_std"`
	ScaleEmbedding    bool    `json:"scale_embedding"`
	MaxPositions      int     `json:"max_position_embeddings"` // beyond which the table of positions grows
	PadTokenID        int     `json:"pad_token_id"`
}

func readM2M100(t *config.TextConfig) (hfModel, error) {
	return readEncoder(t, &m2m100Config{}, map[string]string{
		"hidden_size": "d_model", "num_attention_heads": "encoder_attention_heads", "num_hidden_layers": "encoder_layers",
	})
}

func (c *m2m100Config) model() hfModel {
	return hfModel{
		width: c.DModel, layers: c.Layers, vocabulary: c.VocabSize, padding: c.PadTokenID,
		pooler: "cls_pooler", encoder: func(bool) hfEncoder { return newM2M100(c) },
	}
}

func (c *m2m100Config) check() error {
	_, activation := hfActivation("activation_function", c.Activation)
	return check.First(
		check.OneOf(hfKey("model_type"), c.ModelType, "m2m_100"),
		check.InRange(hfKey("vocab_size"), c.VocabSize, 1, check.MaxVocab),
		check.InRange(hfKey("d_model"), c.DModel, 4, check.MaxWidth),
		check.InRange(hfKey("encoder_layers"), c.Layers, 1, check.MaxLayers),
		check.InRange(hfKey("encoder_attention_heads"), c.Heads, 1, c.DModel),
		check.Divisible(hfKey("d_model"), c.DModel, hfKey("encoder_attention_heads"), c.Heads),
		check.InRange(hfKey("encoder_ffn_dim"), c.FFNDim, 1, check.MaxWidth),
		check.InRange(hfKey("max_position_embeddings"), c.MaxPositions, 1, check.MaxWidth),
		check.InRange(hfKey("pad_token_id"), c.PadTokenID, 0, min(c.VocabSize, c.MaxPositions)-1),
		check.DropRate(hfKey("encoder_layerdrop"), c.LayerDrop),
		check.DropRate(hfKey("dropout"), c.Dropout),
		check.DropRate(hfKey("attention_dropout"), c.AttentionDropout),
		check.DropRate(hfKey("activation_dropout"), c.ActivationDropout),
		hfNumber("init_std", c.InitStd),
		activation,
	)
}

// m2m100Encoder is transformers' M2M100Encoder (modeling_m2m_100.py; NLLB Team, 2022).
type m2m100Encoder struct {
	endless

	EmbedTokens *layers.Embedding     `w:"embed_tokens"`
	Layers      []*layers.M2M100Layer `w:"layers"`
	LayerNorm   *layers.LayerNorm     `w:"layer_norm"`

	width, padding  int
	scale           float64 // of the tokens' embeddings
	drop, layerDrop float64
}

func newM2M100(c *m2m100Config) *m2m100Encoder {
	e := &m2m100Encoder{
		EmbedTokens: layers.NewPaddedEmbedding(c.VocabSize, c.DModel, c.InitStd, c.PadTokenID),
		LayerNorm:   layers.NewLayerNorm(c.DModel, 1e-5),
		width:       c.DModel, padding: c.PadTokenID, scale: 1, drop: c.Dropout, layerDrop: c.LayerDrop,
	}
	if c.ScaleEmbedding {
		e.scale = math.Sqrt(float64(c.DModel))
	}
	for range c.Layers {
		e.Layers = append(e.Layers, layers.NewM2M100Layer(layers.M2M100Config{
			Width: c.DModel, Heads: c.Heads, MLPWidth: c.FFNDim, Activation: hfActivations[c.Activation], InitStd: c.InitStd,
			Drop: c.Dropout, AttnDrop: c.AttentionDropout, ActivationDrop: c.ActivationDropout,
		}))
	}
	return e
}

// feed adds the rows of the table of positions that such texts can take, and which each
// token takes: the first is that of padding.
func (e *m2m100Encoder) feed(rows [][]int32, inputs map[string]any) {
	var positions []int32
	for _, row := range rows {
		for _, at := range paddedPositions(row, e.padding) {
			positions = append(positions, at-int32(e.padding))
		}
	}
	table := make([]float32, e.width)
	for i := range rows[0] {
		table = append(table, sinusoid(e.padding+1+i, e.width)...)
	}
	inputs["positions"], inputs["sinusoids"] = positions, table
}

// sinusoid is the embedding of a position: sines and then cosines of frequencies from 1
// down to 1/10000, in f32 as in M2M100SinusoidalPositionalEmbedding.
func sinusoid(position, width int) []float32 {
	row, half := make([]float32, width), width/2
	step := -float32(math.Log(10000) / float64(half-1))
	for i := range half {
		angle := float64(float32(position) * float32(math.Exp(float64(float32(i)*step))))
		row[i], row[half+i] = float32(math.Sin(angle)), float32(math.Cos(angle))
	}
	return row
}

func (e *m2m100Encoder) record(g *graph.Graph, ids graph.Tensor, mask layers.Mask, depth int) graph.Tensor {
	positions := g.Input("positions", ids.Shape(), graph.I32)
	table := g.Input("sinusoids", graph.Shape{ids.Dim(1) + 1, e.width}, graph.F32)
	x := g.Module("embed_tokens", func() graph.Tensor { return e.EmbedTokens.Forward(g, ids) })
	if e.scale != 1 {
		x = ops.Scale(g, x, e.scale)
	}
	x = ops.Dropout(g, g.Add(x, ops.Gather(g, table, positions)), e.drop)
	for i := range depth {
		x = g.Block(fmt.Sprintf("layers.%d", i), func() graph.Tensor {
			return layers.LayerDrop(g, x, e.Layers[i].Forward(g, x, mask), e.layerDrop)
		})
	}
	return g.Module("layer_norm", func() graph.Tensor { return e.LayerNorm.Forward(g, x) })
}

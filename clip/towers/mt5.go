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

// mt5 is the encoder of transformers' MT5Model.
var mt5 = hfFamily(Family{
	Name: "mT5", Recording: "hf_mt5_mean_mlp",
	NoDecay: []string{"transformer.block.0.layer.0.SelfAttention.relative_attention_bias.weight"},
	Groups: [][]string{ // final_layer_norm is in none, as in open_clip
		{"transformer.embed_tokens"},
		{"transformer.block.*"},
		{"proj"},
	},
	LayerNorm: "LayerNorm", // which names nothing here, as in open_clip
}, readMT5, "mt5")

// mt5Config is transformers' MT5Config, as far as it counts in the encoder. What it
// makes of feed_forward_proj are the last two, which alone count later.
type mt5Config struct {
	ModelType    string  `json:"model_type" null:"no"`
	VocabSize    int     `json:"vocab_size"`
	DModel       int     `json:"d_model"`
	DKV          int     `json:"d_kv"`
	DFF          int     `json:"d_ff"`
	NumLayers    int     `json:"num_layers"`
	NumHeads     int     `json:"num_heads"`
	NumBuckets   int     `json:"relative_attention_num_buckets"`
	MaxDistance  int     `json:"relative_attention_max_distance"`
	DropoutRate  float64 `json:"dropout_rate"`
	LayerNormEps float64 `json:"layer_norm_epsilon"`
	InitFactor   float64 `json:"initializer_factor"`
	PadTokenID   int     `json:"pad_token_id"`
	DenseActFn   string  `json:"dense_act_fn" null:"no"`
	IsGatedAct   bool    `json:"is_gated_act"`
}

func readMT5(t *config.TextConfig) (hfModel, error) {
	return readEncoder(t, &mt5Config{}, map[string]string{
		"hidden_size": "d_model", "num_attention_heads": "num_heads", "num_hidden_layers": "num_layers", "head_dim": "d_kv",
	})
}

func (c *mt5Config) model() hfModel {
	return hfModel{
		width: c.DModel, layers: c.NumLayers, vocabulary: c.VocabSize, padding: c.PadTokenID,
		pooler: "mean_pooler", encoder: func(bool) hfEncoder { return newMT5(c) },
	}
}

func (c *mt5Config) check() error {
	_, activation := hfActivation("dense_act_fn", c.DenseActFn)
	exact := c.NumBuckets / 4 // buckets of one distance, on each side
	return check.First(
		check.OneOf(hfKey("model_type"), c.ModelType, "mt5"),
		check.InRange(hfKey("vocab_size"), c.VocabSize, 1, check.MaxVocab),
		check.InRange(hfKey("d_model"), c.DModel, 1, check.MaxWidth),
		check.InRange(hfKey("d_kv"), c.DKV, 1, check.MaxWidth),
		check.InRange(hfKey("d_ff"), c.DFF, 1, check.MaxWidth),
		check.InRange(hfKey("num_layers"), c.NumLayers, 1, check.MaxLayers),
		check.InRange(hfKey("num_heads"), c.NumHeads, 1, check.MaxWidth),
		check.InRange(hfKey("d_kv")+" times num_heads", c.DKV*c.NumHeads, 1, check.MaxWidth),
		check.InRange(hfKey("relative_attention_num_buckets"), c.NumBuckets, 4, check.MaxWidth),
		check.InRange(hfKey("relative_attention_max_distance"), c.MaxDistance, exact+1, math.MaxInt32),
		check.InRange(hfKey("pad_token_id"), c.PadTokenID, 0, c.VocabSize-1),
		check.DropRate(hfKey("dropout_rate"), c.DropoutRate),
		hfNumber("layer_norm_epsilon", c.LayerNormEps),
		hfNumber("initializer_factor", c.InitFactor),
		activation,
	)
}

// mt5Encoder is transformers' MT5Stack (modeling_mt5.py; Xue et al., 2021).
type mt5Encoder struct {
	endless

	EmbedTokens    *layers.Embedding `w:"embed_tokens"`
	Blocks         []*layers.T5Block `w:"block"`
	FinalLayerNorm *layers.LayerNorm `w:"final_layer_norm"`

	buckets, distance int // of relative positions
	drop              float64
}

func newMT5(c *mt5Config) *mt5Encoder {
	block := layers.T5Config{
		Width: c.DModel, HeadWidth: c.DKV, Heads: c.NumHeads, MLPWidth: c.DFF, Gated: c.IsGatedAct,
		Activation: hfActivations[c.DenseActFn], Eps: c.LayerNormEps, InitFactor: c.InitFactor, Drop: c.DropoutRate,
	}
	e := &mt5Encoder{
		EmbedTokens:    layers.NewEmbedding(layers.Normal(c.InitFactor), c.VocabSize, c.DModel),
		FinalLayerNorm: layers.NewT5Norm(block),
		buckets:        c.NumBuckets, distance: c.MaxDistance, drop: c.DropoutRate,
	}
	for i := range c.NumLayers {
		buckets := 0
		if i == 0 {
			buckets = c.NumBuckets
		}
		e.Blocks = append(e.Blocks, layers.NewT5Block(block, buckets))
	}
	return e
}

func (e *mt5Encoder) feed(rows [][]int32, inputs map[string]any) {
	length := len(rows[0])
	buckets := make([]int32, 0, length*length)
	for query := range length {
		for key := range length {
			buckets = append(buckets, e.bucket(key-query))
		}
	}
	inputs["buckets"] = buckets
}

// bucket is that of a distance: half of them are for keys behind the query, and half of
// these for one distance each, the others for ranges that grow with it
// (_relative_position_bucket, in f32 as there).
func (e *mt5Encoder) bucket(distance int) int32 {
	half, first := e.buckets/2, 0
	if distance > 0 {
		first = half
	}
	distance = max(distance, -distance)
	exact := half / 2
	if distance < exact {
		return int32(first + distance)
	}
	log := float32(math.Log(float64(float32(distance) / float32(exact))))
	log = log / float32(math.Log(float64(e.distance)/float64(exact))) * float32(half-exact)
	return int32(first + min(half-1, exact+int(log)))
}

func (e *mt5Encoder) record(g *graph.Graph, ids graph.Tensor, mask layers.Mask, depth int) graph.Tensor {
	length := ids.Dim(1)
	buckets := g.Input("buckets", graph.Shape{length, length}, graph.I32)
	x := g.Module("embed_tokens", func() graph.Tensor { return e.EmbedTokens.Forward(g, ids) })
	x = ops.Dropout(g, x, e.drop)
	mask = e.Blocks[0].Attention.Mask(g, mask.Additive, buckets)
	for i := range depth {
		x = g.Block(fmt.Sprintf("block.%d", i), func() graph.Tensor { return e.Blocks[i].Forward(g, x, mask) })
	}
	x = g.Module("final_layer_norm", func() graph.Tensor { return e.FinalLayerNorm.Forward(g, x) })
	return ops.Dropout(g, x, e.drop)
}

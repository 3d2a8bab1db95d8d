package towers

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
)

// coca is a model whose decoder writes captions of what the image tower sees (Yu et al.,
// 2022).
var coca = Family{
	Name: "CoCa", Part: Whole, Recording: "coca_tiny",
	Matches: func(c *config.Config) bool { return c.MultimodalCfg != nil },
	Check:   checkCoCa,
	Tokens:  func(c *config.Config) int { return c.MultimodalCfg.Width },
	Decoder: newDecoder,
	Keys:    []string{"context_length", "vocab_size", "width", "heads", "layers"},
}

func checkCoCa(c *config.Config) error {
	m, t := c.MultimodalCfg, &c.TextCfg
	if !c.CustomText && hfModelName(c) == "" {
		return fmt.Errorf("%w: multimodal_cfg wants custom_text", config.ErrConfig)
	}
	if !c.VisionCfg.OutputTokens || !t.OutputTokens {
		return fmt.Errorf("%w: multimodal_cfg wants vision_cfg.output_tokens and text_cfg.output_tokens", config.ErrConfig)
	}
	return check.First(
		check.InRange("multimodal_cfg.width", m.Width, 1, check.MaxWidth),
		check.InRange("multimodal_cfg.layers", m.Layers, 1, check.MaxLayers),
		check.InRange("multimodal_cfg.heads", m.Heads, 1, m.Width),
		check.Divisible("multimodal_cfg.width", m.Width, "multimodal_cfg.heads", m.Heads),
		check.InRange("multimodal_cfg.context_length", m.ContextLength, 1, check.MaxSide),
		check.InRange("text_cfg.vocab_size", t.VocabSize, 1, check.MaxVocab),
	)
}

// Decoder predicts of a text's tokens, and of an image, the tokens that follow
// (MultimodalTransformer in open_clip's transformer.py).
type Decoder struct {
	TextProjection *layers.Weight                   `w:"text_projection"` // [width, vocabulary]
	Resblocks      []*layers.ResidualAttentionBlock `w:"resblocks"`
	CrossAttn      []*layers.ResidualAttentionBlock `w:"cross_attn"`
	LnFinal        *layers.LayerNorm                `w:"ln_final"`

	ContextLength int // texts are at most so long
}

// defaultMLPRatio is that of open_clip's blocks, which its decoder keeps.
const defaultMLPRatio = 4

func newDecoder(c *config.Config) *Decoder {
	m := c.MultimodalCfg
	t := layers.TransformerConfig{
		Width: m.Width, Layers: m.Layers, Heads: m.Heads, MLPWidth: defaultMLPRatio * m.Width,
		Activation: activation(c.QuickGELU, nil), Eps: normEps(nil), LSInit: m.LSInitValue,
	}
	cross := t
	cross.CrossAttention = true
	return &Decoder{
		// Upstream leaves it as the memory is, and means this by its init_parameters.
		TextProjection: layers.NewProjection(layers.Normal(math.Pow(float64(m.Width), -0.5)), m.Width, c.TextCfg.VocabSize),
		Resblocks:      layers.NewTransformer(t).Resblocks,
		CrossAttn:      layers.NewTransformer(cross).Resblocks,
		LnFinal:        layers.NewLayerNorm(m.Width, normEps(nil)),
		ContextLength:  m.ContextLength,
	}
}

// Forward maps the tokens of images [images, keys, width] and of texts [texts, length,
// width], as many of each image, to what follows each token of a text, [texts, length, width].
func (d *Decoder) Forward(g *graph.Graph, image, text graph.Tensor) graph.Tensor {
	texts, length, width := text.Dim(0), text.Dim(1), text.Dim(2)
	if length > d.ContextLength {
		g.Fail("%w: texts of %d tokens, of which the decoder takes %d at most", check.ErrInput, length, d.ContextLength)
		return graph.Tensor{}
	}
	x, n := text, image.Dim(0)
	for i, b := range d.Resblocks {
		x = g.Block(fmt.Sprintf("resblocks.%d", i), func() graph.Tensor { return b.Forward(g, x, layers.Mask{Causal: true}) })
		x = g.Reshape(x, n, texts/n*length, width) // the texts of an image ask it one by one
		x = g.Block(fmt.Sprintf("cross_attn.%d", i), func() graph.Tensor { return d.CrossAttn[i].Cross(g, x, image) })
		x = g.Reshape(x, texts, length, width)
	}
	return g.Module("ln_final", func() graph.Tensor { return d.LnFinal.Forward(g, x) })
}

// Logits maps [..., width] to the logits of the vocabulary.
func (d *Decoder) Logits(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return d.TextProjection.Forward(g, x, nil)
}

// DecoderScope is the prefix of the decoder's names.
const DecoderScope = "text_decoder"

// decode adds Logits to the outputs of both towers.
func (m *Model) decode(g *graph.Graph, outs Outputs) {
	defer g.Scope(DecoderScope)()
	outs[Logits] = m.Decoder.Logits(g, m.Decoder.Forward(g, outs[ImageTokens], outs[TextTokens]))
}

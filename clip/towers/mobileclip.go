package towers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// mobileCLIPB is the tower of MobileCLIP-B and MobileCLIP2-B: timm's
// VisionTransformer behind a stem of convolutions (vit_base_mci_224 in
// vision_transformer_hybrid.py; Vasu et al., 2024).
var mobileCLIPB = trunkReader(readMobileCLIP).family("MobileCLIP-B", "mobileclip_b_mci", func(c *config.Config) bool {
	return c.VisionCfg.TimmName() == "vit_base_mci_224"
}, weights.MobileCLIPB)

// convStemStride is the product of the strides in newConvStem.
const convStemStride = 16

// readMobileCLIP reads a VisionTransformer whose embed_layer is a convStem.
func readMobileCLIP(v *config.VisionConfig) (timmTrunk, error) {
	const section = "vision_cfg.timm_model_kwargs"
	t, err := readTimmTrunk(v)
	if err != nil {
		return t, err
	}
	if t.PatchSize != (config.Size{1, 1}) {
		return t, fmt.Errorf("%w: %s.patch_size is %v, want 1 with %s, which projects no patches", config.ErrConfig, section, t.PatchSize, v.TimmName())
	}
	t.embed, t.stride = newConvStem, config.Size{convStemStride, convStemStride}
	return t, check.First(
		check.InRange(section+".img_size", min(t.ImgSize[0], t.ImgSize[1]), convStemStride, check.MaxSide),
		check.Divisible(section+".embed_dim", t.EmbedDim, "4", 4),
	)
}

// convStem is timm's HybridEmbed (hybrid_embed.py) of a ConvStem, without a
// projection. Its channels are a quarter of the tokens' until the last convolution.
type convStem struct {
	Backbone []*layers.ConvNormAct `w:"backbone"`
}

func newConvStem(t *timmTrunk) patchEmbed {
	width := t.EmbedDim // 768 in timm, whose stem has no other
	return &convStem{[]*layers.ConvNormAct{
		layers.NewConvNormAct(layers.NewConv2D(3, width/4, 4, 4, 0), ops.GELU),
		layers.NewConvNormAct(layers.NewConv2D(width/4, width/4, 2, 2, 0), ops.GELU),
		{Conv: layers.NewConv2D(width/4, width, 2, 2, 0).WithBias()},
	}}
}

// Forward implements patchEmbed.
func (s *convStem) Forward(g *graph.Graph, image graph.Tensor, lead int) graph.Tensor {
	x := g.Module("patch_embed.backbone", func() graph.Tensor {
		x := layers.ChannelsLast(g, image)
		for i, c := range s.Backbone {
			x = g.Module(fmt.Sprint(i), func() graph.Tensor { return c.Forward(g, x) })
		}
		return x
	})
	return behindLead(g, x, lead)
}

// behindLead are the pixels of a feature map x [batch, height, width, channels] as tokens
// behind lead tokens of zeros.
func behindLead(g *graph.Graph, x graph.Tensor, lead int) graph.Tensor {
	batch, width := x.Dim(0), x.Dim(3)
	x = g.Reshape(x, batch, x.Dim(1)*x.Dim(2), width)
	if lead == 0 {
		return x
	}
	return ops.Concat(g, 1, g.Fill(0, batch, lead, width), x)
}

// TokenBias implements patchEmbed.
func (s *convStem) TokenBias() *graph.Param { return nil }

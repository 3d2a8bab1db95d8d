package towers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
	"github.com/clip-wgpu/clip-wgpu/layers"
)

// viTamin is timm's VisionTransformer behind stages of convolutions, with GeGLUs for MLPs
// (vitamin.py; Chen et al., ViTamin, 2024).
var viTamin = trunkReader(readViTamin).family("ViTamin", "vitamin_small", timmNamed("vitamin"))

// viTaminStride is the product of the strides in layers.ViTaminStem.
const viTaminStride = 16

type viTaminArgs struct {
	timmViTArgs
	PosEmbed string          `json:"pos_embed"`
	EmbedCfg viTaminStemArgs `json:"embed_cfg"`
}

// viTaminStemArgs are those of VitCfg that its models differ in. Of the stages two are
// convolutions, a third is the transformer.
type viTaminStemArgs struct {
	EmbedDim  []int `json:"embed_dim"`
	Depths    []int `json:"depths"`
	StemWidth int   `json:"stem_width"`
}

// UnmarshalJSON refuses keys that a does not have.
func (a *viTaminStemArgs) UnmarshalJSON(data []byte) error {
	type plain viTaminStemArgs
	return strictjson.Struct(data, (*plain)(a))
}

func readViTamin(v *config.VisionConfig) (timmTrunk, error) {
	a := viTaminArgs{
		timmViTArgs: timmViTArgs{timmArgs: timmDefaults(), FinalNorm: true, ProjBias: true, ActLayer: "gelu"},
		PosEmbed:    "learn", EmbedCfg: viTaminStemArgs{[]int{96, 192, 384, 768}, []int{2, 3, 5, 2}, 64},
	}
	if _, err := classArgs(v, "ViTamin"); err != nil {
		return timmTrunk{}, err
	}
	if err := timmKwargs(v, &a, &a.timmArgs); err != nil {
		return timmTrunk{}, err
	}
	if err := a.check(); err != nil {
		return timmTrunk{}, err
	}
	t, err := a.trunk(v)
	if err != nil {
		return t, err
	}
	t.stride, t.ceil, t.noPos = config.Size{viTaminStride, viTaminStride}, true, a.PosEmbed == "none"
	if t.noPos { // and nothing else depends on img_size, which ViTamin-XL-384 leaves as it is
		t.ImgSize = v.ImageSize
	}
	t.newBlock = func(_ *timmTrunk, c layers.TimmConfig) timmBlock { return layers.NewViTaminBlock(c) }
	t.embed = func(t *timmTrunk) patchEmbed {
		e := a.EmbedCfg
		return &viTaminEmbed{layers.NewViTaminStem(e.StemWidth, [2]int(e.Depths[:2]), [2]int(e.EmbedDim[:2]), t.EmbedDim)}
	}
	return t, nil
}

func (a *viTaminArgs) check() error {
	const section = kwargsSection + ".embed_cfg"
	e := a.EmbedCfg
	if len(e.EmbedDim) < 3 || len(e.Depths) < 2 {
		return fmt.Errorf("%w: %s.embed_dim and depths are %v and %v, want numbers of three and two stages", config.ErrConfig, section, e.EmbedDim, e.Depths)
	}
	err := check.First(
		check.InRange(section+".stem_width", e.StemWidth, 1, check.MaxWidth),
		check.OneOf(kwargsSection+".pos_embed", a.PosEmbed, "learn", "none"),
	)
	for i := range 2 {
		err = check.First(err,
			check.InRange(section+".embed_dim", e.EmbedDim[i], 1, check.MaxWidth/4),
			check.InRange(section+".depths", e.Depths[i], 1, check.MaxLayers))
	}
	switch {
	case err != nil:
		return err
	case e.EmbedDim[2] != a.EmbedDim:
		return fmt.Errorf("%w: %s.embed_dim is %v, want embed_dim (%d) for the third", config.ErrConfig, section, e.EmbedDim, a.EmbedDim)
	case a.PatchSize != config.Size{1, 1}:
		return fmt.Errorf("%w: %s.patch_size is %v, want 1 with ViTamin, which projects no patches", config.ErrConfig, kwargsSection, a.PatchSize)
	case a.PosEmbed == "none" && (a.ClassToken || a.RegTokens > 0):
		return fmt.Errorf("timm's pos_embed none beside class_token or reg_tokens is %w", config.ErrUnsupported)
	}
	return nil
}

// viTaminEmbed is timm's HybridEmbed of a layers.ViTaminStem, without a projection.
type viTaminEmbed struct {
	Backbone *layers.ViTaminStem `w:"backbone"`
}

// Forward implements patchEmbed.
func (e *viTaminEmbed) Forward(g *graph.Graph, image graph.Tensor, lead int) graph.Tensor {
	x := g.Module("patch_embed.backbone", func() graph.Tensor { return e.Backbone.Forward(g, layers.ChannelsLast(g, image)) })
	return behindLead(g, x, lead)
}

// TokenBias implements patchEmbed.
func (e *viTaminEmbed) TokenBias() *graph.Param { return nil }

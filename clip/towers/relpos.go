package towers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/layers"
)

// relPosViT is timm's VisionTransformerRelPos (vision_transformer_relpos.py): positions
// are biases of attention by how far apart patches are.
var relPosViT = trunkReader(readRelPos).family("relative-position ViT", "vit_relpos_cls", timmNamed("vit_relpos"))

// timmRelPosArgs are those of VisionTransformerRelPos, and four that it does not have:
// check refuses them.
type timmRelPosArgs struct {
	timmArgs
	FCNorm     bool   `json:"fc_norm"`
	RelPosType string `json:"rel_pos_type"`
	RelPosDim  int    `json:"rel_pos_dim"`
}

const defaultRelPosDim = 128

// readRelPos reads a VisionTransformerRelPos as readTimmTrunk reads a VisionTransformer.
func readRelPos(v *config.VisionConfig) (timmTrunk, error) {
	scale := 1e-6
	a := timmRelPosArgs{timmArgs: timmDefaults(), RelPosType: "mlp", RelPosDim: defaultRelPosDim}
	a.ClassToken, a.GlobalPool, a.InitValues = false, "avg", &scale
	_, err := classArgs(v, "VisionTransformerRelPos")
	if err == nil {
		err = timmKwargs(v, &a, &a.timmArgs)
	}
	if err == nil {
		err = a.check(v)
	}
	if err != nil {
		return timmTrunk{}, err
	}
	return a.trunk(v)
}

// check refuses what the class does not have.
func (a *timmRelPosArgs) check(v *config.VisionConfig) error {
	switch {
	case a.NoEmbedClass || a.DynamicImgSize || a.PosDropRate != 0 || a.PatchDropRate != 0:
		return fmt.Errorf("%s.no_embed_class, dynamic_img_size, pos_drop_rate and patch_drop_rate of %s are %w", kwargsSection, v.TimmName(), config.ErrUnsupported)
	case a.RelPosType != "mlp":
		return fmt.Errorf("timm's rel_pos_type %q is %w; supported is \"mlp\"", a.RelPosType, config.ErrUnsupported)
	case a.GlobalPool == "map":
		return fmt.Errorf("%w: timm's global_pool \"map\" wants a model that has attention pooling; %s has not", config.ErrConfig, v.TimmName())
	case a.RelPosDim == 0: // which is no number to Python
		a.RelPosDim = defaultRelPosDim
	}
	return check.InRange("timm's rel_pos_dim", a.RelPosDim, 1, check.MaxWidth)
}

func (a *timmRelPosArgs) trunk(v *config.VisionConfig) (timmTrunk, error) {
	block, err := a.block("gelu")
	if err != nil {
		return timmTrunk{}, err
	}
	t := timmTrunk{
		timmArgs: a.timmArgs, block: block, norm: !a.FCNorm, fcNorm: a.FCNorm, noPos: true,
		tokenInit: 1e-6, embed: newTimmPatches, stride: a.PatchSize,
	}
	grid := t.grid()
	tokens := t.prefix() + grid[0]*grid[1]
	if err := check.Elements("the biases between the patches of "+kwargsSection+".img_size", tokens*tokens, a.NumHeads); err != nil {
		return timmTrunk{}, err
	}
	relPos := layers.NewRelPosConfig(grid[0], grid[1], t.prefix(), a.RelPosDim)
	t.newBlock = func(_ *timmTrunk, c layers.TimmConfig) timmBlock { return layers.NewRelPosBlock(c, relPos) }
	return t, t.resetPool(v)
}

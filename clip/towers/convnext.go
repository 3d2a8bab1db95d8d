package towers

import (
	"fmt"
	"maps"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// convNeXt is timm's ConvNeXt (convnext.py; Liu et al., 2022).
var convNeXt = Family{
	Name: "ConvNeXt", Part: Visual, Recording: "convnext_base_linear",
	Matches: timmNamed("convnext"),
	Check:   checkConvNeXt,
	Image:   func(c *config.Config) ImageTower { return newConvNeXt(c) },
	Keys:    []string{"image_size"},
	Groups: [][]string{ // group_matcher of timm's class, what is left of the trunk, open_clip's head
		{"trunk.stem"},
		{"trunk.stages.*.downsample", "trunk.stages.*.blocks.*"},
		{"trunk"},
		{"head"},
	},
}

// convNeXtArgs are those of ConvNeXt that can be other than timm's defaults.
type convNeXtArgs struct {
	mapArgs
	Depths         []int    `json:"depths"`
	Dims           []int    `json:"dims"`
	KernelSizes    int      `json:"kernel_sizes"`
	LSInitValue    float64  `json:"ls_init_value"`
	PatchSize      int      `json:"patch_size"`
	HeadInitScale  float64  `json:"head_init_scale"`
	HeadHiddenSize int      `json:"head_hidden_size"`
	ConvMLP        bool     `json:"conv_mlp"`
	ConvBias       bool     `json:"conv_bias"`
	ActLayer       string   `json:"act_layer"`
	NormEps        *float64 `json:"norm_eps"` // nil: 1e-6
}

func readConvNeXt(v *config.VisionConfig) (convNeXtArgs, error) {
	a := convNeXtArgs{
		mapArgs: mapDefaults(), Depths: []int{3, 3, 9, 3}, Dims: []int{96, 192, 384, 768}, KernelSizes: 7,
		LSInitValue: 1e-6, PatchSize: 4, HeadInitScale: 1, ConvBias: true, ActLayer: "gelu",
	}
	args, err := classArgs(v, "ConvNeXt")
	err = check.First(err, a.read(v, args, &a))
	return a, err
}

func checkConvNeXt(c *config.Config) error {
	const section = kwargsSection
	v := &c.VisionCfg
	if err := checkTimmHead(v); err != nil {
		return err
	}
	a, err := readConvNeXt(v)
	if err != nil {
		return err
	}
	if len(a.Depths) != stagesOfConvNeXt || len(a.Dims) != stagesOfConvNeXt {
		return fmt.Errorf("%w: %s.depths and dims are %v and %v, want %d numbers each", config.ErrConfig, section, a.Depths, a.Dims, stagesOfConvNeXt)
	}
	for i := range a.Depths {
		err = check.First(err,
			check.InRange(section+".depths", a.Depths[i], 1, check.MaxLayers),
			check.InRange(section+".dims", a.Dims[i], 1, check.MaxWidth))
	}
	err = check.First(err,
		check.InRange(section+".patch_size", a.PatchSize, 1, 7), // from 8 on timm dilates
		check.InRange("vision_cfg.image_size", min(v.ImageSize[0], v.ImageSize[1]), 8*a.PatchSize, check.MaxSide),
		check.InRange(section+".kernel_sizes", a.KernelSizes, 1, 63),
		check.InRange(section+".head_hidden_size", a.HeadHiddenSize, 0, check.MaxWidth),
		a.check(),
	)
	_, known := timmActivations[a.ActLayer]
	switch {
	case err != nil:
		return err
	case !timmOwnHead(v) && a.width() != a.Dims[stagesOfConvNeXt-1]: // which open_clip's head overlooks
		return fmt.Errorf("%w: vision_cfg.timm_proj %s wants %s.head_hidden_size (%d) equal to the last of dims (%d)",
			config.ErrConfig, config.Value(v.TimmProj), section, a.HeadHiddenSize, a.Dims[stagesOfConvNeXt-1])
	case a.KernelSizes%2 == 0:
		return fmt.Errorf("timm's kernel_sizes %d, which is even, is %w", a.KernelSizes, config.ErrUnsupported)
	case a.PatchSize == 2:
		return fmt.Errorf("timm's patch_size 2, with which the first stage strides, is %w", config.ErrUnsupported)
	case !known:
		return fmt.Errorf("timm's act_layer %q is %w; supported are %q", a.ActLayer, config.ErrUnsupported, slices.Sorted(maps.Keys(timmActivations)))
	case !(a.eps() >= 0 && a.eps() < 1):
		return fmt.Errorf("%w: %s.norm_eps is %v, want 0 or more and below 1", config.ErrConfig, section, a.eps())
	}
	return checkNoProjection(c, a.width())
}

const stagesOfConvNeXt = 4

func (a *convNeXtArgs) eps() float64 {
	if a.NormEps == nil {
		return 1e-6
	}
	return *a.NormEps
}

// width is the number of features that the trunk gives.
func (a *convNeXtArgs) width() int {
	if a.HeadHiddenSize > 0 {
		return a.HeadHiddenSize
	}
	return a.Dims[stagesOfConvNeXt-1]
}

// convNeXtTower is open_clip's TimmModel over timm's ConvNeXt.
type convNeXtTower struct {
	Stem      convNeXtStem     `w:"trunk.stem"`
	Stages    []*convNeXtStage `w:"trunk.stages"`
	TrunkHead convNeXtHead     `w:"trunk.head"`
	timmHead  `w:""`

	pixels
}

// convNeXtStem is a convolution whose stride is its kernel.
type convNeXtStem struct {
	Conv *layers.PatchEmbed `w:"0"`
	Bias *graph.Param       `w:"0.bias"`
	Norm *layers.LayerNorm  `w:"1"`
}

type convNeXtStage struct {
	Norm   *layers.LayerNorm       `w:"downsample.0"`
	Conv   *layers.Conv2D          `w:"downsample.1"` // nil where the stage keeps the image's size and channels
	Blocks []*layers.ConvNeXtBlock `w:"blocks"`
}

// convNeXtHead is timm's NormMlpClassifierHead (classifier.py).
type convNeXtHead struct {
	Norm      *layers.LayerNorm `w:"norm"`
	PreLogits *layers.Linear    `w:"pre_logits.fc"` // with head_hidden_size
	FC        *layers.Linear    `w:"fc"`            // timm_proj ""

	drop float64
}

// newConvNeXt makes the tower of a config that checkConvNeXt has passed.
func newConvNeXt(c *config.Config) *convNeXtTower {
	a, _ := readConvNeXt(&c.VisionCfg)
	t := &convNeXtTower{
		Stem:     convNeXtStem{Conv: layers.NewPatchEmbed(a.Dims[0], a.PatchSize, a.PatchSize), Norm: layers.NewLayerNorm(a.Dims[0], a.eps())},
		timmHead: newTimmHead(c, a.width()), pixels: pixels{c.VisionCfg.ImageSize},
	}
	t.Stem.Conv.Weight.Source = layers.Normal(0.02)
	if a.ConvBias {
		t.Stem.Bias = layers.NewParam(layers.Constant(0), a.Dims[0])
	}
	for i, rates := range dropPaths(a.DropPathRate, a.Depths) {
		s := &convNeXtStage{}
		if i > 0 {
			s.Norm, s.Conv = layers.NewLayerNorm(a.Dims[i-1], a.eps()), layers.NewConv2D(a.Dims[i-1], a.Dims[i], 2, 2, 0)
			s.Conv.Weight.Source = layers.Normal(0.02)
			if a.ConvBias {
				s.Conv.Bias = layers.NewParam(layers.Constant(0), a.Dims[i])
			}
		}
		for _, rate := range rates {
			s.Blocks = append(s.Blocks, layers.NewConvNeXtBlock(layers.ConvNeXtConfig{
				Width: a.Dims[i], Kernel: a.KernelSizes, ConvMLP: a.ConvMLP, Bias: a.ConvBias, Activation: timmActivations[a.ActLayer],
				Eps: a.eps(), LSInit: a.LSInitValue, DropPath: rate,
			}))
		}
		t.Stages = append(t.Stages, s)
	}
	t.TrunkHead = a.head(c)
	return t
}

func (a *convNeXtArgs) head(c *config.Config) convNeXtHead {
	last := a.Dims[stagesOfConvNeXt-1]
	h := convNeXtHead{Norm: layers.NewLayerNorm(last, a.eps()), drop: a.DropRate}
	if a.HeadHiddenSize > 0 {
		h.PreLogits = layers.NewTimmLinear(last, a.HeadHiddenSize, true)
		h.PreLogits.Weight.Source = layers.Normal(0.02 * a.HeadInitScale)
	}
	if config.Value(c.VisionCfg.TimmProj) == "" {
		h.FC = layers.NewTimmLinear(a.width(), c.EmbedDim, true)
		h.FC.Weight.Source = layers.Normal(0.02 * a.HeadInitScale)
	}
	return h
}

// Depth implements Tower: it counts stages.
func (t *convNeXtTower) Depth() int { return len(t.Stages) }

// Forward implements mapStage.
func (s *convNeXtStage) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	x = g.Module("downsample", func() graph.Tensor {
		if s.Conv == nil {
			return x
		}
		return s.Conv.Forward(g, s.Norm.Forward(g, x))
	})
	for i, b := range s.Blocks {
		x = g.Block(fmt.Sprintf("blocks.%d", i), func() graph.Tensor { return b.Forward(g, x) })
	}
	return x
}

// Record implements Tower. Stages have no norm of their own at the end.
func (t *convNeXtTower) Record(g *graph.Graph, batch, _, depth int) Recorded {
	defer g.Scope("trunk")()
	image := t.input(g, batch)
	x := g.Module("stem", func() graph.Tensor { return patchMap(g, image, t.Stem.Conv, t.Stem.Bias, t.Stem.Norm) })
	all := recordStages(g, x, "stages", t.Stages[:depth])
	x = g.Tap(all[depth-1], "norm_pre")
	return Recorded{
		Outputs: func() Outputs { return Outputs{Features: t.project(g, t.head(g, x))} },
		Block:   func(i int, _ bool) Block { return Block{Tokens: all[i]} },
	}
}

// head pools the last recorded stage's output.
func (t *convNeXtTower) head(g *graph.Graph, x graph.Tensor) graph.Tensor {
	defer g.Scope("trunk")()
	h := &t.TrunkHead
	wantWidth(g, x, h.Norm.Weight.Shape[0])
	return g.Tap(g.Module("head", func() graph.Tensor {
		x = h.Norm.Forward(g, poolMap(g, x))
		if h.PreLogits != nil {
			x = ops.Map(g, h.PreLogits.Forward(g, x), ops.GELU)
		}
		if x = ops.Dropout(g, x, h.drop); h.FC != nil {
			x = h.FC.Forward(g, x)
		}
		return x
	}))
}

// BlockOptions refuses NLC and drops Normalize, as timm's ConvNeXt does.
func (t *convNeXtTower) BlockOptions(o BlockOptions) (BlockOptions, error) {
	return mapOptions(o, "ConvNeXt")
}

// Adapt does nothing: nothing of the tower depends on the image size.
func (t *convNeXtTower) Adapt(weights.Map, *config.Config) error { return nil }

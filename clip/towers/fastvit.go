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

// fastViT is timm's FastVit (fastvit.py; Vasu et al., 2023), the tower of MobileCLIP S0 to
// S2 and MobileCLIP2 S0 to S4 (Vasu et al., 2024; Faghri et al., 2025).
var fastViT = Family{
	Name: "FastViT", Part: Visual, Recording: "fastvit_mci0",
	Matches: timmNamed("fastvit"),
	Check:   checkFastViT,
	Image:   func(c *config.Config) ImageTower { return newFastViT(c) },
	Layouts: []*weights.Layout{weights.MobileCLIPS},
	Keys:    []string{"image_size"},
	Groups: [][]string{ // group_matcher of timm's class, what is left of the trunk, open_clip's head
		{"trunk.stem"},
		{"trunk.stages.*.downsample", "trunk.stages.*.pos_emb", "trunk.stages.*.blocks.*"},
		{"trunk"},
		{"head"},
	},
}

// fastViTArgs are those of FastVit that can be other than timm's defaults.
type fastViTArgs struct {
	mapArgs
	Layers             []int     `json:"layers"`
	TokenMixers        []string  `json:"token_mixers"`
	EmbedDims          []int     `json:"embed_dims"`
	MLPRatios          []float64 `json:"mlp_ratios"`
	Downsamples        []bool    `json:"downsamples"`
	SEDownsamples      []bool    `json:"se_downsamples"`
	RepMixerKernelSize int       `json:"repmixer_kernel_size"`
	DownPatchSize      int       `json:"down_patch_size"`
	LKCUseAct          bool      `json:"lkc_use_act"`
	StemUseScaleBranch bool      `json:"stem_use_scale_branch"`
	ClsRatio           float64   `json:"cls_ratio"`
	LayerScaleInit     float64   `json:"layer_scale_init_value"`
	ProjDropRate       float64   `json:"proj_drop_rate"` // acts in training only

	fixed fastViTFixed
}

// fastViTFixed is what timm gives by classes, which no config can.
type fastViTFixed struct {
	PosEmbs      []bool  `json:"pos_embs"`       // nil: no stage has one
	LayerNormEps float64 `json:"layer_norm_eps"` // of the norm before attention; 0: it is a batch norm
}

func readFastViT(v *config.VisionConfig) (fastViTArgs, error) {
	a := fastViTArgs{
		mapArgs: mapDefaults(), Downsamples: []bool{false, true, true, true}, SEDownsamples: []bool{false, false, false, false},
		RepMixerKernelSize: 3, DownPatchSize: 7, StemUseScaleBranch: true, ClsRatio: 2, LayerScaleInit: 1e-5,
	}
	if _, err := classArgs(v, "FastViT"); err != nil {
		return a, err
	}
	args, err := fixedArgs(v.TimmName(), &a.fixed)
	if err != nil {
		return a, err
	}
	if err := a.read(v, args, &a); err != nil {
		return a, err
	}
	if a.fixed.PosEmbs == nil {
		a.fixed.PosEmbs = make([]bool, len(a.Layers))
	}
	return a, nil
}

func checkFastViT(c *config.Config) error {
	const section = kwargsSection
	v := &c.VisionCfg
	if err := checkTimmHead(v); err != nil {
		return err
	}
	a, err := readFastViT(v)
	if err != nil {
		return err
	}
	n := len(a.Layers)
	for name, have := range map[string]int{
		"token_mixers": len(a.TokenMixers), "embed_dims": len(a.EmbedDims), "mlp_ratios": len(a.MLPRatios),
		"downsamples": len(a.Downsamples), "se_downsamples": len(a.SEDownsamples), "layers as the model's": len(a.fixed.PosEmbs),
	} {
		if have != n || n == 0 {
			return fmt.Errorf("%w: %s.layers has %d stages, and %s %d", config.ErrConfig, section, n, name, have)
		}
	}
	for i := range n {
		err = check.First(err, a.checkStage(i))
	}
	err = check.First(err,
		check.Ratio(section+".cls_ratio", a.ClsRatio, a.EmbedDims[n-1]),
		check.DropRate(section+".proj_drop_rate", a.ProjDropRate),
		check.InRange(section+".repmixer_kernel_size", a.RepMixerKernelSize, 3, 63),
		check.InRange(section+".down_patch_size", a.DownPatchSize, 3, 63),
		a.check(),
	)
	switch {
	case err != nil:
		return err
	case a.RepMixerKernelSize%2 == 0 || a.DownPatchSize%2 == 0:
		return fmt.Errorf("timm's repmixer_kernel_size %d and down_patch_size %d: an even one is %w", a.RepMixerKernelSize, a.DownPatchSize, config.ErrUnsupported)
	case a.width()%a.EmbedDims[n-1] != 0:
		return fmt.Errorf("%w: %s.cls_ratio is %v: timm wants a whole multiple of the last stage's %d channels", config.ErrConfig, section, a.ClsRatio, a.EmbedDims[n-1])
	}
	return checkNoProjection(c, a.width())
}

func (a *fastViTArgs) checkStage(i int) error {
	const section = kwargsSection
	width, before := a.EmbedDims[i], a.EmbedDims[max(0, i-1)]
	err := check.First(
		check.InRange(section+".layers", a.Layers[i], 1, check.MaxLayers),
		check.InRange(section+".embed_dims", width, 1, check.MaxWidth),
		check.OneOf(section+".token_mixers", a.TokenMixers[i], "repmixer", "attention"),
		check.InRange(section+".embed_dims", before, 1, check.MaxWidth),
	)
	if err == nil {
		err = check.First(
			check.Ratio(section+".mlp_ratios", a.MLPRatios[i], width),
			check.Divisible(section+".embed_dims", width, "the stage before", before),
		)
	}
	if err == nil && a.TokenMixers[i] == "attention" {
		err = check.Divisible(section+".embed_dims", width, "the width of a head", 32)
	}
	return err
}

// width is the number of features that the trunk gives.
func (a *fastViTArgs) width() int { return int(float64(a.EmbedDims[len(a.EmbedDims)-1]) * a.ClsRatio) }

// fastViTTower is open_clip's TimmModel over timm's FastVit.
type fastViTTower struct {
	Stem      layers.MobileOnes `w:"trunk.stem"`
	Stages    []*fastViTStage   `w:"trunk.stages"`
	FinalConv *layers.MobileOne `w:"trunk.final_conv"`
	mapHead   `w:""`

	pixels
}

type fastViTStage struct {
	Conv   *layers.LargeKernelConv `w:"downsample.proj.0"` // nil where the stage keeps the image's size and channels
	Mix    *layers.MobileOne       `w:"downsample.proj.1"`
	PosEmb *layers.CondPosEnc      `w:"pos_emb"`
	Blocks []*layers.FastViTBlock  `w:"blocks"`
}

// newFastViT makes the tower of a config that checkFastViT has passed.
func newFastViT(c *config.Config) *fastViTTower {
	a, _ := readFastViT(&c.VisionCfg)
	first, last, width := a.EmbedDims[0], a.EmbedDims[len(a.EmbedDims)-1], a.width()
	t := &fastViTTower{
		Stem: layers.MobileOnes{
			layers.NewMobileOne(3, first, 3, 2, a.StemUseScaleBranch, ops.GELU),
			layers.NewMobileOneDepthwise(first, first, 3, 2, a.StemUseScaleBranch, ops.GELU),
			layers.NewMobileOne(first, first, 1, 1, false, ops.GELU),
		},
		FinalConv: layers.NewMobileOneDepthwise(last, width, 3, 1, true, ops.GELU),
		mapHead:   newMapHead(c, width, a.DropRate), pixels: pixels{c.VisionCfg.ImageSize},
	}
	t.FinalConv.SE = layers.NewSqueezeExcite(width, max(1, int(float64(width)/16+0.5)))
	in, rates := first, dropPaths(a.DropPathRate, a.Layers)
	for i, out := range a.EmbedDims {
		s := &fastViTStage{}
		if a.Downsamples[i] || in != out {
			s.Conv = layers.NewLargeKernelConv(out, a.DownPatchSize, 2, a.SEDownsamples[i], a.LKCUseAct)
			s.Mix = layers.NewMobileOne(out, out, 1, 1, true, ops.GELU)
		}
		if a.fixed.PosEmbs[i] {
			s.PosEmb = layers.NewCondPosEnc(out)
		}
		for _, rate := range rates[i] {
			s.Blocks = append(s.Blocks, layers.NewFastViTBlock(layers.FastViTConfig{
				Width: out, MLPWidth: int(float64(out) * a.MLPRatios[i]), Kernel: a.RepMixerKernelSize,
				Attention: a.TokenMixers[i] == "attention", NormEps: a.fixed.LayerNormEps, LSInit: a.LayerScaleInit,
				ProjDrop: a.ProjDropRate, DropPath: rate,
			}))
		}
		t.Stages = append(t.Stages, s)
		in = out
	}
	return t
}

// Forward implements mapStage.
func (s *fastViTStage) Forward(g *graph.Graph, x graph.Tensor) graph.Tensor {
	x = g.Module("downsample", func() graph.Tensor {
		if s.Conv == nil {
			return x
		}
		h := g.Module("proj.0", func() graph.Tensor { return s.Conv.Forward(g, x) })
		return g.Module("proj.1", func() graph.Tensor { return s.Mix.Forward(g, h) })
	})
	if s.PosEmb != nil {
		x = g.Module("pos_emb", func() graph.Tensor { return s.PosEmb.Forward(g, x) })
	}
	for i, b := range s.Blocks {
		x = g.Block(fmt.Sprintf("blocks.%d", i), func() graph.Tensor { return b.Forward(g, x) })
	}
	return x
}

// Depth implements Tower: it counts stages.
func (t *fastViTTower) Depth() int { return len(t.Stages) }

// Record implements Tower. Stages have no norm of their own at the end.
func (t *fastViTTower) Record(g *graph.Graph, batch, _, depth int) Recorded {
	defer g.Scope("trunk")()
	x := g.Module("stem", func() graph.Tensor { return t.Stem.Forward(g, layers.ChannelsLast(g, t.input(g, batch))) })
	all := recordStages(g, x, "stages", t.Stages[:depth])
	last := func() graph.Tensor {
		x := all[depth-1]
		if depth == len(t.Stages) {
			x = g.Module("final_conv", func() graph.Tensor { return t.FinalConv.Forward(g, x) })
		}
		wantWidth(g, x, t.width)
		return x
	}
	return Recorded{
		Outputs: func() Outputs { return Outputs{Features: t.features(g, last)} },
		Block:   func(i int, _ bool) Block { return Block{Tokens: all[i]} },
	}
}

// BlockOptions refuses NLC and drops Normalize, as timm's FastVit does.
func (t *fastViTTower) BlockOptions(o BlockOptions) (BlockOptions, error) {
	return mapOptions(o, "FastViT")
}

// Adapt takes checkpoints that were fused for inference. Nothing of the tower depends on
// the image size.
func (t *fastViTTower) Adapt(m weights.Map, _ *config.Config) error { return unfuse(m, t) }

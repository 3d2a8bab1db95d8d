package towers

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/posembed"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// swin is timm's SwinTransformer (swin_transformer.py; Liu et al., 2021).
var swin = Family{
	Name: "Swin", Part: Visual, Recording: "swin_base",
	Matches: timmNamed("swin_"),
	Check:   checkSwin,
	Image:   func(c *config.Config) ImageTower { return newSwin(c) },
	Keys:    []string{"image_size"},
	Resize:  resizeSwin, ChannelsLast: true,
	Groups: [][]string{ // group_matcher of timm's class, what is left of the trunk, open_clip's head
		{"trunk.patch_embed"},
		{"trunk.layers.*.downsample", "trunk.layers.*.blocks.*", "trunk.norm"},
		{"trunk"},
		{"head"},
	},
}

// swinArgs are those of SwinTransformer that can be other than timm's defaults. The rates
// act in training only.
type swinArgs struct {
	mapArgs
	ImgSize      config.Size `json:"img_size"`
	PatchSize    config.Size `json:"patch_size"`
	EmbedDim     int         `json:"embed_dim"`
	Depths       []int       `json:"depths"`
	NumHeads     []int       `json:"num_heads"`
	WindowSize   windowSizes `json:"window_size"`
	MLPRatio     float64     `json:"mlp_ratio"`
	QKVBias      bool        `json:"qkv_bias"`
	ProjDropRate float64     `json:"proj_drop_rate"`
	AttnDropRate float64     `json:"attn_drop_rate"`
}

// windowSizes are the sizes of the stages' windows, or one for all.
type windowSizes []config.Size

// UnmarshalJSON implements json.Unmarshaler. Two numbers are a height and a width.
func (w *windowSizes) UnmarshalJSON(data []byte) error {
	var one config.Size
	if json.Unmarshal(data, &one) == nil {
		*w = windowSizes{one}
		return nil
	}
	if json.Unmarshal(data, (*[]config.Size)(w)) != nil {
		return strictjson.WantError("a whole number, a pair [height, width], or a list of these")
	}
	return nil
}

// of is the size of stage i's windows.
func (w windowSizes) of(i int) config.Size { return w[min(i, len(w)-1)] }

func readSwin(v *config.VisionConfig) (swinArgs, error) {
	a := swinArgs{
		mapArgs: mapDefaults(), ImgSize: config.Size{224, 224}, PatchSize: config.Size{4, 4}, EmbedDim: 96, Depths: []int{2, 2, 6, 2},
		NumHeads: []int{3, 6, 12, 24}, WindowSize: windowSizes{{7, 7}}, MLPRatio: 4, QKVBias: true,
	}
	a.DropPathRate = 0.1
	args, err := classArgs(v, "SwinTransformer")
	err = check.First(err, a.read(v, args, &a), a.check())
	return a, err
}

// check bounds what is divided, multiplied or allocated.
func (a *swinArgs) check() error {
	const section = kwargsSection
	stages := len(a.Depths)
	if stages < 1 || stages > 8 || len(a.NumHeads) != stages || len(a.WindowSize) != 1 && len(a.WindowSize) != stages {
		return fmt.Errorf("%w: %s.depths, num_heads and window_size are %v, %v and %v, want a number for each of up to 8 stages", config.ErrConfig, section, a.Depths, a.NumHeads, a.WindowSize)
	}
	err := check.First(
		check.InRange(section+".img_size", a.ImgSize[0], 1, check.MaxSide), check.InRange(section+".img_size", a.ImgSize[1], 1, check.MaxSide),
		check.InRange(section+".patch_size", a.PatchSize[0], 1, a.ImgSize[0]), check.InRange(section+".patch_size", a.PatchSize[1], 1, a.ImgSize[1]),
		check.InRange(section+".embed_dim", a.EmbedDim, 1, check.MaxWidth>>(stages-1)),
		check.DropRate(section+".proj_drop_rate", a.ProjDropRate), check.DropRate(section+".attn_drop_rate", a.AttnDropRate),
		a.mapArgs.check(),
	)
	for i := range stages {
		w := a.WindowSize.of(i)
		err = check.First(err,
			check.InRange(section+".depths", a.Depths[i], 1, check.MaxLayers),
			check.InRange(section+".num_heads", a.NumHeads[i], 1, check.MaxWidth),
			check.InRange(section+".window_size", min(w[0], w[1]), 1, check.MaxSide))
	}
	if err != nil {
		return err
	}
	for i, grid := range a.grids() {
		w := a.window(i, grid)
		tokens := graph.Ceil(grid[0], w[0]) * graph.Ceil(grid[1], w[1]) * w[0] * w[1]
		err = check.First(err,
			check.Divisible("the width of a stage", a.EmbedDim<<i, section+".num_heads", a.NumHeads[i]),
			check.Ratio(section+".mlp_ratio", a.MLPRatio, a.EmbedDim<<i),
			// Every window may have biases of its own, of each token to each.
			check.Elements("the biases within the windows of "+section+".window_size", tokens*w[0]*w[1], a.NumHeads[i]))
	}
	return err
}

// grids are the rows and columns of tokens of the stages.
func (a *swinArgs) grids() (grids []config.Size) {
	grid := config.Size{a.ImgSize[0] / a.PatchSize[0], a.ImgSize[1] / a.PatchSize[1]}
	for range a.Depths {
		grids = append(grids, grid)
		grid = config.Size{(grid[0] + 1) / 2, (grid[1] + 1) / 2}
	}
	return grids
}

// window is the size of the windows of stage i, which has such a grid: they are no larger.
func (a *swinArgs) window(i int, grid config.Size) config.Size {
	w := a.WindowSize.of(i)
	return config.Size{min(w[0], grid[0]), min(w[1], grid[1])}
}

// width is the number of channels of the last stage.
func (a *swinArgs) width() int { return a.EmbedDim << (len(a.Depths) - 1) }

func checkSwin(c *config.Config) error {
	v := &c.VisionCfg
	a, err := readSwin(v)
	if err = check.First(checkTimmHead(v), err); err != nil {
		return err
	}
	return check.First(checkImageSize(v, a.ImgSize), checkNoProjection(c, a.width()))
}

// resizeSwin sets img_size in v's timm_model_kwargs and, as set_input_size of timm's class,
// the windows, which cover as large a part of the image as before. A v that cannot be read
// stays as it is: checkSwin will say what is wrong.
func resizeSwin(v *config.VisionConfig, size config.Size) {
	a, err := readSwin(v)
	if err != nil || a.ImgSize == size {
		return
	}
	var windows [][2]int
	for i := range a.Depths {
		w := a.WindowSize.of(i)
		for axis := range w {
			patch := a.PatchSize[axis]
			w[axis] = max(1, w[axis]*(size[axis]/patch)/(a.ImgSize[axis]/patch))
		}
		windows = append(windows, w)
	}
	setKwarg(v, "img_size", size)
	setKwarg(v, "window_size", windows)
}

// swinTower is open_clip's TimmModel over timm's SwinTransformer.
type swinTower struct {
	PatchEmbed *layers.PatchEmbed  `w:"trunk.patch_embed.proj"`
	PatchBias  *graph.Param        `w:"trunk.patch_embed.proj.bias"`
	PatchNorm  *layers.LayerNorm   `w:"trunk.patch_embed.norm"`
	Layers     []*layers.SwinStage `w:"trunk.layers"`
	Norm       *layers.LayerNorm   `w:"trunk.norm"`
	mapHead    `w:""`

	args swinArgs
	pixels
}

// swinEps is that of torch's nn.LayerNorm.
const swinEps = 1e-5

// newSwin makes the tower of a config that checkSwin has passed.
func newSwin(c *config.Config) *swinTower {
	a, _ := readSwin(&c.VisionCfg)
	patches := layers.NewPatchEmbed(a.EmbedDim, a.PatchSize[0], a.PatchSize[1])
	t := &swinTower{
		PatchEmbed: patches, PatchBias: layers.NewParam(patches.Weight.Source, a.EmbedDim), PatchNorm: layers.NewLayerNorm(a.EmbedDim, swinEps),
		Norm: layers.NewLayerNorm(a.width(), swinEps), mapHead: newMapHead(c, a.width(), a.DropRate),
		args: a, pixels: pixels{c.VisionCfg.ImageSize},
	}
	rates := dropPaths(a.DropPathRate, a.Depths)
	for i, grid := range a.grids() {
		width := a.EmbedDim << i
		t.Layers = append(t.Layers, layers.NewSwinStage(layers.SwinConfig{
			TimmConfig: layers.TimmConfig{
				Width: width, Heads: a.NumHeads[i], MLPWidth: int(float64(width) * a.MLPRatio), QKVBias: a.QKVBias, ProjBias: true,
				Activation: ops.GELU, Eps: swinEps, ProjDrop: a.ProjDropRate, AttnDrop: a.AttnDropRate,
			},
			Grid: grid, Window: a.window(i, grid), DropPaths: rates[i], Merge: i > 0,
		}))
	}
	return t
}

// Depth implements Tower: it counts stages.
func (t *swinTower) Depth() int { return len(t.Layers) }

// Record implements Tower.
func (t *swinTower) Record(g *graph.Graph, batch, _, depth int) Recorded {
	defer g.Scope("trunk")()
	image := t.input(g, batch)
	x := g.Module("patch_embed", func() graph.Tensor { return patchMap(g, image, t.PatchEmbed, t.PatchBias, t.PatchNorm) })
	all := recordStages(g, x, "layers", t.Layers[:depth])
	last := func() graph.Tensor {
		wantWidth(g, all[depth-1], t.width)
		return g.Module("norm", func() graph.Tensor { return t.Norm.Forward(g, all[depth-1]) })
	}
	return Recorded{
		Outputs: func() Outputs { return Outputs{Features: t.features(g, last)} },
		Block: func(i int, normalize bool) Block {
			if normalize && i == len(t.Layers)-1 { // it has the width of the last stage
				return Block{Tokens: t.Norm.Forward(g, all[i])}
			}
			return Block{Tokens: all[i]}
		},
	}
}

// BlockOptions refuses NLC, as timm's SwinTransformer does.
func (t *swinTower) BlockOptions(o BlockOptions) (BlockOptions, error) {
	return o, wantMaps(o, "SwinTransformer")
}

// Adapt resizes the biases of a checkpoint for other windows, as set_input_size of timm's
// class does once it is loaded.
func (t *swinTower) Adapt(m weights.Map, stored *config.Config) error {
	from, err := readSwin(&stored.VisionCfg)
	if err != nil || from.ImgSize == t.args.ImgSize || !slices.Equal(from.Depths, t.args.Depths) {
		return nil // what does not fit is for Bind to report
	}
	old, grids := from.grids(), t.args.grids()
	for i, s := range t.Layers {
		was, is := from.window(i, old[i]), t.args.window(i, grids[i])
		if was == is {
			continue
		}
		for _, table := range s.Tables() {
			heads := table.Shape[1]
			err := replace(m, table, []int{(2*was[0] - 1) * (2*was[1] - 1), heads}, func(data []float32) []float32 {
				return posembed.ResizeOffsets(data, heads, was, is)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

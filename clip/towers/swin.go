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
	ImgSize      config.Size `json:"img_size"`
	PatchSize    config.Size `json:"patch_size"`
	InChans      int         `json:"in_chans"`
	GlobalPool   string      `json:"global_pool"`
	EmbedDim     int         `json:"embed_dim"`
	Depths       []int       `json:"depths"`
	NumHeads     []int       `json:"num_heads"`
	WindowSize   windowSizes `json:"window_size"`
	MLPRatio     float64     `json:"mlp_ratio"`
	QKVBias      bool        `json:"qkv_bias"`
	DropRate     float64     `json:"drop_rate"`
	ProjDropRate float64     `json:"proj_drop_rate"`
	AttnDropRate float64     `json:"attn_drop_rate"`
	DropPathRate float64     `json:"drop_path_rate"`
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
	var all []config.Size
	if json.Unmarshal(data, &all) != nil {
		return strictjson.WantError("a whole number, a pair [height, width], or a list of these")
	}
	*w = all
	return nil
}

// of is the size of stage i's windows.
func (w windowSizes) of(i int) config.Size { return w[min(i, len(w)-1)] }

func readSwin(v *config.VisionConfig) (swinArgs, error) {
	a := swinArgs{
		ImgSize: config.Size{224, 224}, PatchSize: config.Size{4, 4}, InChans: 3, GlobalPool: "avg", EmbedDim: 96, Depths: []int{2, 2, 6, 2},
		NumHeads: []int{3, 6, 12, 24}, WindowSize: windowSizes{{7, 7}}, MLPRatio: 4, QKVBias: true, DropPathRate: 0.1,
	}
	args, err := classArgs(v, "SwinTransformer")
	if err == nil {
		err = decodeKwargs(v, args, &a)
	}
	readMapPool(v, &a.GlobalPool)
	return a, check.First(err, a.check())
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
		check.InRange(section+".in_chans", a.InChans, 3, 3),
		check.InRange(section+".embed_dim", a.EmbedDim, 1, check.MaxWidth>>(stages-1)),
		check.DropRate(section+".drop_rate", a.DropRate), check.DropRate(section+".proj_drop_rate", a.ProjDropRate),
		check.DropRate(section+".attn_drop_rate", a.AttnDropRate), check.DropRate(section+".drop_path_rate", a.DropPathRate),
		checkMapPool(a.GlobalPool),
	)
	for i := range stages {
		w := a.WindowSize.of(i)
		err = check.First(err,
			check.InRange(section+".depths", a.Depths[i], 1, check.MaxLayers),
			check.InRange(section+".num_heads", a.NumHeads[i], 1, check.MaxWidth),
			check.InRange(section+".window_size", min(w[0], w[1]), 1, check.MaxSide))
		if err == nil {
			err = check.First(
				check.Divisible("the width of a stage", a.EmbedDim<<i, section+".num_heads", a.NumHeads[i]),
				check.Ratio(section+".mlp_ratio", a.MLPRatio, a.EmbedDim<<i))
		}
	}
	if err != nil {
		return err
	}
	for i, grid := range a.grids() { // every window may have biases of its own
		w := a.WindowSize.of(i)
		area := min(w[0], grid[0]) * min(w[1], grid[1])
		err = check.First(err, check.Elements("the biases within the windows of "+section+".window_size", graph.Ceil(grid[0], w[0])*graph.Ceil(grid[1], w[1])*area*area, a.NumHeads[i]))
	}
	return err
}

// grids are the rows and columns of tokens of the stages.
func (a *swinArgs) grids() []config.Size {
	grids := make([]config.Size, len(a.Depths))
	for i := range grids {
		if grids[i] = (config.Size{a.ImgSize[0] / a.PatchSize[0], a.ImgSize[1] / a.PatchSize[1]}); i > 0 {
			grids[i] = config.Size{(grids[i-1][0] + 1) / 2, (grids[i-1][1] + 1) / 2}
		}
	}
	return grids
}

// width is the number of channels of the last stage.
func (a *swinArgs) width() int { return a.EmbedDim << (len(a.Depths) - 1) }

func checkSwin(c *config.Config) error {
	v := &c.VisionCfg
	if err := checkTimmHead(v); err != nil {
		return err
	}
	a, err := readSwin(v)
	if err != nil {
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
	PatchEmbed swinPatches         `w:"trunk.patch_embed"`
	Layers     []*layers.SwinStage `w:"trunk.layers"`
	Norm       *layers.LayerNorm   `w:"trunk.norm"`
	TrunkHead  *layers.Linear      `w:"trunk.head.fc"` // timm_proj ""
	timmHead   `w:""`

	args swinArgs
	pixels
}

// swinPatches is timm's PatchEmbed with a norm.
type swinPatches struct {
	*layers.PatchEmbed `w:"proj"`
	Bias               *graph.Param      `w:"proj.bias"`
	Norm               *layers.LayerNorm `w:"norm"`
}

// swinEps is that of torch's nn.LayerNorm.
const swinEps = 1e-5

// newSwin makes the tower of a config that checkSwin has passed.
func newSwin(c *config.Config) *swinTower {
	a, _ := readSwin(&c.VisionCfg)
	patches := layers.NewPatchEmbed(a.EmbedDim, a.PatchSize[0], a.PatchSize[1])
	t := &swinTower{
		PatchEmbed: swinPatches{patches, layers.NewParam(patches.Weight.Source, a.EmbedDim), layers.NewLayerNorm(a.EmbedDim, swinEps)},
		Norm:       layers.NewLayerNorm(a.width(), swinEps), timmHead: newTimmHead(c, a.width()),
		args: a, pixels: pixels{c.VisionCfg.ImageSize},
	}
	rates := dropPaths(a.DropPathRate, a.Depths)
	for i, grid := range a.grids() {
		width := a.EmbedDim << i
		s := layers.SwinConfig{
			TimmConfig: layers.TimmConfig{
				Width: width, Heads: a.NumHeads[i], MLPWidth: int(float64(width) * a.MLPRatio), QKVBias: a.QKVBias, ProjBias: true,
				Activation: ops.GELU, Eps: swinEps, ProjDrop: a.ProjDropRate, AttnDrop: a.AttnDropRate,
			},
			Grid: grid, Window: a.WindowSize.of(i), DropPaths: rates[i],
		}
		if i > 0 {
			s.In = width / 2
		}
		t.Layers = append(t.Layers, layers.NewSwinStage(s))
	}
	if config.Value(c.VisionCfg.TimmProj) == "" {
		t.TrunkHead = layers.NewTimmLinear(a.width(), c.EmbedDim, true)
	}
	return t
}

// Depth implements Tower: it counts stages.
func (t *swinTower) Depth() int { return len(t.Layers) }

func (t *swinTower) patches(g *graph.Graph, image graph.Tensor) graph.Tensor {
	return g.Module("patch_embed", func() graph.Tensor {
		p, grid := &t.PatchEmbed, t.args.grids()[0]
		x := ops.AddBroadcast(g, p.Forward(g, image, 0), g.Param(p.Bias), 1)
		return p.Norm.Forward(g, g.Reshape(x, x.Dim(0), grid[0], grid[1], x.Dim(2)))
	})
}

// Record implements Tower.
func (t *swinTower) Record(g *graph.Graph, batch, _, depth int) Recorded {
	defer g.Scope("trunk")()
	x := t.patches(g, t.input(g, batch))
	all := make([]graph.Tensor, depth)
	for i := range all {
		x = g.Module(fmt.Sprintf("layers.%d", i), func() graph.Tensor { return t.Layers[i].Forward(g, x) })
		all[i] = x
	}
	return Recorded{
		Outputs: func() Outputs { return Outputs{Features: t.project(g, t.head(g, x))} },
		Block: func(i int, normalize bool) Block {
			if normalize && i == len(t.Layers)-1 { // it has the width of the last stage
				return Block{Tokens: t.Norm.Forward(g, all[i])}
			}
			return Block{Tokens: all[i]}
		},
	}
}

// head pools the last stage's output.
func (t *swinTower) head(g *graph.Graph, x graph.Tensor) graph.Tensor {
	defer g.Scope("trunk")()
	wantWidth(g, x, t.args.width())
	x = g.Module("norm", func() graph.Tensor { return t.Norm.Forward(g, x) })
	return g.Tap(g.Module("head", func() graph.Tensor {
		x = poolMap(g, x)
		if x = ops.Dropout(g, x, t.args.DropRate); t.TrunkHead != nil {
			x = t.TrunkHead.Forward(g, x)
		}
		return x
	}))
}

// BlockOptions refuses NLC, as timm's SwinTransformer does.
func (t *swinTower) BlockOptions(o BlockOptions) (BlockOptions, error) {
	if o.Format == "NLC" {
		return o, fmt.Errorf("%w: the image output format of a SwinTransformer must be NCHW", check.ErrInput)
	}
	return o, nil
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
		was, is := windowIn(from.WindowSize.of(i), old[i]), windowIn(t.args.WindowSize.of(i), grids[i])
		for _, table := range s.Tables() {
			x, ok := m[table.Name]
			heads := table.Shape[1]
			if !ok || was == is || !x.DType.IsFloat() || !slices.Equal(x.Shape, []int{(2*was[0] - 1) * (2*was[1] - 1), heads}) {
				continue
			}
			data := make([]float32, x.Len())
			if err := x.ReadF32(data, 0); err != nil {
				return err
			}
			if m[table.Name], err = weights.FromF32(table.Name, table.Shape, posembed.ResizeOffsets(data, heads, was, is)); err != nil {
				return err
			}
		}
	}
	return nil
}

// windowIn is a window that is no larger than the grid.
func windowIn(w, grid config.Size) config.Size {
	return config.Size{min(w[0], grid[0]), min(w[1], grid[1])}
}

package towers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/timm"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// timmResNet is timm's ResNet with its plain stem and blocks (resnet.py; He et al., 2016).
var timmResNet = Family{
	Name: "timm ResNet", Part: Visual, Recording: "timm_resnet18",
	Matches: func(c *config.Config) bool { return timm.Classes["ResNet"][c.VisionCfg.TimmName()] != nil },
	Check:   checkTimmResNet,
	Image:   func(c *config.Config) ImageTower { return newTimmResNet(c) },
	Keys:    []string{"image_size"},
	Groups: [][]string{ // group_matcher of timm's class, what is left of the trunk, open_clip's head
		{"trunk.conv1", "trunk.bn1"},
		{"trunk.layer1.*"}, {"trunk.layer2.*"}, {"trunk.layer3.*"}, {"trunk.layer4.*"},
		{"trunk"},
		{"head"},
	},
}

// timmResNetArgs are those of ResNet that can be other than timm's defaults.
type timmResNetArgs struct {
	mapArgs
	Layers   []int `json:"layers"`
	Channels []int `json:"channels"`

	fixed timmResNetFixed
}

// timmResNetFixed is what timm gives by classes, which no config can.
type timmResNetFixed struct {
	Block string `json:"block"` // BasicBlock or Bottleneck
}

func (a *timmResNetArgs) bottleneck() bool { return a.fixed.Block == "Bottleneck" }

const (
	stagesOfResNet    = 4
	stemOfTimmResNet  = 64
	bottleneckWidener = 4
)

func readTimmResNet(v *config.VisionConfig) (timmResNetArgs, error) {
	a := timmResNetArgs{mapArgs: mapDefaults(), Channels: []int{64, 128, 256, 512}}
	args, err := fixedArgs(v.TimmName(), &a.fixed)
	err = check.First(err, a.read(v, args, &a))
	return a, err
}

func checkTimmResNet(c *config.Config) error {
	const section = kwargsSection
	v := &c.VisionCfg
	if err := checkTimmHead(v); err != nil {
		return err
	}
	a, err := readTimmResNet(v)
	if err != nil {
		return err
	}
	if len(a.Layers) != stagesOfResNet || len(a.Channels) != stagesOfResNet {
		return fmt.Errorf("%w: %s.layers and channels are %v and %v, want %d numbers each", config.ErrConfig, section, a.Layers, a.Channels, stagesOfResNet)
	}
	for i := range a.Layers {
		err = check.First(err,
			check.InRange(section+".layers", a.Layers[i], 1, check.MaxLayers),
			check.InRange(section+".channels", a.Channels[i], 1, check.MaxWidth/bottleneckWidener))
	}
	return check.First(err, a.check(), checkNoProjection(c, a.width()))
}

// width is the number of features that the trunk gives.
func (a *timmResNetArgs) width() int {
	if a.bottleneck() {
		return bottleneckWidener * a.Channels[stagesOfResNet-1]
	}
	return a.Channels[stagesOfResNet-1]
}

// timmResNetTower is open_clip's TimmModel over timm's ResNet.
type timmResNetTower struct {
	Conv1     *layers.Conv2D        `w:"trunk.conv1"`
	BN1       *layers.BatchNorm2D   `w:"trunk.bn1"`
	Layer1    []*layers.ResNetBlock `w:"trunk.layer1"`
	Layer2    []*layers.ResNetBlock `w:"trunk.layer2"`
	Layer3    []*layers.ResNetBlock `w:"trunk.layer3"`
	Layer4    []*layers.ResNetBlock `w:"trunk.layer4"`
	TrunkHead *layers.Linear        `w:"trunk.fc"` // timm_proj ""
	timmHead  `w:""`

	headDrop float64 // rate of dropout before TrunkHead
	width    int     // of the features that the head takes
	pixels
}

// newTimmResNet makes the tower of a config that checkTimmResNet has passed.
func newTimmResNet(c *config.Config) *timmResNetTower {
	a, _ := readTimmResNet(&c.VisionCfg)
	t := &timmResNetTower{
		Conv1: layers.NewResNetConv(3, stemOfTimmResNet, 7, 2), BN1: layers.NewBatchNorm2D(stemOfTimmResNet),
		timmHead: newTimmHead(c, a.width()), headDrop: a.DropRate, width: a.width(), pixels: pixels{c.VisionCfg.ImageSize},
	}
	in, rates := stemOfTimmResNet, dropPaths(a.DropPathRate, a.Layers)
	for i, stage := range []*[]*layers.ResNetBlock{&t.Layer1, &t.Layer2, &t.Layer3, &t.Layer4} {
		stride := min(i+1, 2)
		for _, rate := range rates[i] {
			b := layers.NewResNetBlock(in, a.Channels[i], stride, a.bottleneck(), rate)
			*stage = append(*stage, b)
			if in, stride = a.Channels[i], 1; a.bottleneck() {
				in *= bottleneckWidener
			}
		}
	}
	if config.Value(c.VisionCfg.TimmProj) == "" {
		t.TrunkHead = layers.NewLinear(a.width(), c.EmbedDim, true)
	}
	return t
}

// Depth counts the stem and the four stages.
func (t *timmResNetTower) Depth() int { return 1 + stagesOfResNet }

// Record implements Tower. Stages have no norm of their own at the end.
func (t *timmResNetTower) Record(g *graph.Graph, batch, _, depth int) Recorded {
	defer g.Scope("trunk")()
	x := layers.ConvNormReLU(g, "1", t.Conv1, t.BN1, layers.ChannelsLast(g, t.input(g, batch)))
	all := []graph.Tensor{x}
	x = g.Module("maxpool", func() graph.Tensor { return layers.MaxPoolOfReLU(g, x) })
	for i, stage := range [][]*layers.ResNetBlock{t.Layer1, t.Layer2, t.Layer3, t.Layer4}[:depth-1] {
		x = g.Module(fmt.Sprintf("layer%d", i+1), func() graph.Tensor {
			for j, b := range stage {
				x = g.Block(fmt.Sprint(j), func() graph.Tensor { return b.Forward(g, x) })
			}
			return x
		})
		all = append(all, x)
	}
	return Recorded{
		Outputs: func() Outputs { return Outputs{Features: t.project(g, t.head(g, x))} },
		Block:   func(i int, _ bool) Block { return Block{Tokens: all[i]} },
	}
}

// head pools the last recorded stage's output.
func (t *timmResNetTower) head(g *graph.Graph, x graph.Tensor) graph.Tensor {
	defer g.Scope("trunk")()
	wantWidth(g, x, t.width)
	x = g.Module("global_pool", func() graph.Tensor {
		return poolMap(g, x)
	})
	x = ops.Dropout(g, x, t.headDrop)
	return g.Tap(g.Module("fc", func() graph.Tensor {
		if t.TrunkHead == nil {
			return x
		}
		return t.TrunkHead.Forward(g, x)
	}))
}

// BlockOptions refuses NLC and drops Normalize, as timm's ResNet does.
func (t *timmResNetTower) BlockOptions(o BlockOptions) (BlockOptions, error) {
	return mapOptions(o, "timm ResNet")
}

// Adapt does nothing: nothing of the tower depends on the image size.
func (t *timmResNetTower) Adapt(weights.Map, *config.Config) error { return nil }

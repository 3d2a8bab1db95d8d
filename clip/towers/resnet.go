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

// modifiedResNet is OpenAI's convolutional tower.
var modifiedResNet = Family{
	Name: "ModifiedResNet", Part: Visual, Recording: "modified_resnet",
	Matches: func(c *config.Config) bool { return c.VisionCfg.TimmName() == "" && len(c.VisionCfg.Layers) > 1 },
	Check:   checkModifiedResNet,
	Image:   func(c *config.Config) ImageTower { return newModifiedResNet(c) },
	Layouts: []*weights.Layout{weights.OpenAI},
	Keys:    []string{"image_size", "layers", "width", "patch_size"},
	Groups: [][]string{
		{"conv1", "bn1", "conv2", "bn2", "conv3", "bn3"},
		{"layer1"}, {"layer2"}, {"layer3"}, {"layer4"},
		{"attnpool"},
	},
	// open_clip's freeze_batch_norm_2d replaces what is within the modules of a group.
	// These are modules of a group themselves.
	UnlockedStats: []string{"bn1", "bn2", "bn3"},
}

func checkModifiedResNet(c *config.Config) error {
	v := &c.VisionCfg
	if len(v.Layers) != 4 {
		return fmt.Errorf("%w: vision_cfg.layers is %v, want one number or those of four stages", config.ErrConfig, []int(v.Layers))
	}
	err := check.First(
		check.InRange("vision_cfg.width", v.Width, 2, check.MaxWidth/32),
		check.InRange("vision_cfg.head_width", v.HeadWidth, 1, 32*v.Width),
		check.Divisible("32 · vision_cfg.width", 32*v.Width, "its number of heads (32 · width / head_width)", 32*v.Width/max(1, v.HeadWidth)),
		check.InRange("vision_cfg.image_size", v.ImageSize[0], 32, check.MaxSide),
	)
	for _, n := range v.Layers {
		err = check.First(err, check.InRange("vision_cfg.layers", n, 1, check.MaxLayers))
	}
	switch size := v.ImageSize; {
	case err != nil:
		return err
	case size[0] != size[1]:
		return fmt.Errorf("%w: vision_cfg.image_size is %d×%d, want a square with a ModifiedResNet", config.ErrConfig, size[0], size[1])
	case (size[0]+1)/32 != size[0]/32: // the first convolution rounds up
		return fmt.Errorf("%w: vision_cfg.image_size is %d, for which a ModifiedResNet has fewer positions than pixels to pool", config.ErrConfig, size[0])
	}
	return nil
}

// modifiedResNetTower is the image tower of OpenAI's RN models (open_clip's
// modified_resnet.py; He et al., 2016, with a stem of three convolutions, average
// pools that stride and pooling by attention).
type modifiedResNetTower struct {
	Conv1    *layers.Conv2D          `w:"conv1"`
	BN1      *layers.BatchNorm2D     `w:"bn1"`
	Conv2    *layers.Conv2D          `w:"conv2"`
	BN2      *layers.BatchNorm2D     `w:"bn2"`
	Conv3    *layers.Conv2D          `w:"conv3"`
	BN3      *layers.BatchNorm2D     `w:"bn3"`
	Layer1   []*layers.Bottleneck    `w:"layer1"`
	Layer2   []*layers.Bottleneck    `w:"layer2"`
	Layer3   []*layers.Bottleneck    `w:"layer3"`
	Layer4   []*layers.Bottleneck    `w:"layer4"`
	AttnPool *layers.AttentionPool2D `w:"attnpool"`

	pixels
}

func newModifiedResNet(c *config.Config) *modifiedResNetTower {
	v := c.VisionCfg
	stem := v.Width / 2
	t := &modifiedResNetTower{
		Conv1: layers.NewConv2D(3, stem, 3, 2, 1), BN1: layers.NewBatchNorm2D(stem),
		Conv2: layers.NewConv2D(stem, stem, 3, 1, 1), BN2: layers.NewBatchNorm2D(stem),
		Conv3: layers.NewConv2D(stem, v.Width, 3, 1, 1), BN3: layers.NewBatchNorm2D(v.Width),
		AttnPool: layers.NewAttentionPool2D(v.ImageSize[0]/32, 32*v.Width, 32*v.Width/v.HeadWidth, c.EmbedDim),
		pixels:   pixels{v.ImageSize},
	}
	in := v.Width
	for i, stage := range []*[]*layers.Bottleneck{&t.Layer1, &t.Layer2, &t.Layer3, &t.Layer4} {
		planes, stride := v.Width<<i, min(i+1, 2)
		for range v.Layers[i] {
			b := layers.NewBottleneck(in, planes, stride)
			*stage = append(*stage, b)
			in, stride = b.Conv3.Weight.Shape[0], 1
		}
	}
	return t
}

// stem maps an image [batch, 3, height, width] to [batch, height/4, width/4, width].
func (t *modifiedResNetTower) stem(g *graph.Graph, image graph.Tensor) graph.Tensor {
	x := layers.ConvNormReLU(g, "1", t.Conv1, t.BN1, layers.ChannelsLast(g, image))
	x = layers.ConvNormReLU(g, "2", t.Conv2, t.BN2, x)
	x = layers.ConvNormReLU(g, "3", t.Conv3, t.BN3, x)
	return g.Module("avgpool", func() graph.Tensor { return ops.AvgPool2D(g, x, 2, 2, 0) })
}

// Depth counts the stem and the four stages.
func (t *modifiedResNetTower) Depth() int { return 5 }

// stages runs the stem and the first depth-1 stages and returns the output of each,
// [batch, height, width, channels].
func (t *modifiedResNetTower) stages(g *graph.Graph, image graph.Tensor, depth int) []graph.Tensor {
	outs := []graph.Tensor{t.stem(g, image)}
	for i, stage := range [][]*layers.Bottleneck{t.Layer1, t.Layer2, t.Layer3, t.Layer4}[:depth-1] {
		outs = append(outs, g.Module(fmt.Sprintf("layer%d", i+1), func() graph.Tensor {
			x := outs[i]
			for j, b := range stage {
				x = g.Block(fmt.Sprint(j), func() graph.Tensor { return b.Forward(g, x) })
			}
			return x
		}))
	}
	return outs
}

func (t *modifiedResNetTower) pool(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return g.Module("attnpool", func() graph.Tensor { return t.AttnPool.Forward(g, x) })
}

// Record implements Tower. Stages have no norm of their own at the end.
func (t *modifiedResNetTower) Record(g *graph.Graph, batch, _, depth int) Recorded {
	all := t.stages(g, t.input(g, batch), depth)
	return Recorded{
		Outputs: func() Outputs { return Outputs{Features: t.pool(g, all[depth-1])} },
		Block:   func(i int, _ bool) Block { return Block{Tokens: all[i]} },
	}
}

// BlockOptions refuses NLC, drops Normalize, as stages have no norm of their own, and
// turns StopEarly round, as open_clip does: without it the tower ends at the last stage
// that is taken, and there are features only where that is the last of all.
func (t *modifiedResNetTower) BlockOptions(o BlockOptions) (BlockOptions, error) {
	if o.Format == "NLC" {
		return o, fmt.Errorf("%w: the image output format of a ModifiedResNet must be NCHW", check.ErrInput)
	}
	o.StopEarly, o.Normalize = !o.StopEarly, false
	return o, nil
}

// Adapt does nothing: open_clip does not resize the positions of attention pooling.
func (t *modifiedResNetTower) Adapt(weights.Map, *config.Config) error { return nil }

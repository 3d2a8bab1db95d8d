package towers

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// timmHead is what open_clip's TimmModel (timm_model.py) puts behind a trunk of timm's.
type timmHead struct {
	Proj *layers.Linear  `w:"head.proj"` // timm_proj linear
	MLP  *layers.TimmMLP `w:"head.mlp"`  // timm_proj mlp

	drop float64 // rate of dropout before Proj
}

// newTimmHead makes the head of a trunk that gives width features.
func newTimmHead(c *config.Config, width int) timmHead {
	v := &c.VisionCfg
	switch config.Value(v.TimmProj) {
	case "linear":
		return timmHead{Proj: layers.NewLinear(width, c.EmbedDim, v.TimmProjBias), drop: v.TimmDrop}
	case "mlp":
		return timmHead{MLP: &layers.TimmMLP{
			FC1: layers.NewLinear(width, 2*c.EmbedDim, true), FC2: layers.NewLinear(2*c.EmbedDim, c.EmbedDim, v.TimmProjBias),
			Activation: ops.GELU, HiddenDrop: v.TimmDrop,
		}}
	}
	return timmHead{}
}

// project maps what the trunk gives to the features.
func (h *timmHead) project(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return g.Module("head", func() graph.Tensor {
		switch {
		case h.Proj != nil:
			return h.Proj.Forward(g, ops.Dropout(g, x, h.drop))
		case h.MLP != nil:
			return h.MLP.Forward(g, x)
		}
		return x
	})
}

// checkTimmHead checks what configs say of the head, and of rates in training.
func checkTimmHead(v *config.VisionConfig) error {
	return check.First(
		check.DropRate("vision_cfg.timm_drop", v.TimmDrop),
		check.DropRate("vision_cfg.timm_drop_path", config.Value(v.TimmDropPath)),
		check.OneOf("vision_cfg.timm_proj", config.Value(v.TimmProj), "", "none", "linear", "mlp"),
	)
}

// checkNoProjection wants features of the trunk's own width where nothing projects them.
func checkNoProjection(c *config.Config, width int) error {
	if config.Value(c.VisionCfg.TimmProj) == "none" && c.EmbedDim != width {
		return fmt.Errorf("%w: vision_cfg.timm_proj none wants embed_dim (%d) equal to the width of %s (%d)", config.ErrConfig, c.EmbedDim, c.VisionCfg.TimmName(), width)
	}
	return nil
}

// wantWidth refuses features of a map x that ends at an earlier stage, whose channels are
// not the width that the head takes. timm fails there, too, and not where they are.
func wantWidth(g *graph.Graph, x graph.Tensor, width int) {
	if have := x.Dim(3); have != width {
		g.Fail("features want the %d channels of the last stage, and stop_early ended where there are %d: ask for intermediates only", width, have)
	}
}

// poolMap is the mean of a map [batch, height, width, channels] over its places.
func poolMap(g *graph.Graph, x graph.Tensor) graph.Tensor {
	return ops.MeanAxis(g, g.Reshape(x, x.Dim(0), x.Dim(1)*x.Dim(2), x.Dim(3)), 1)
}

// dropPaths are the rates of drop path of stages of as many blocks as depths say. They
// rise from 0 in the first block to rate in the last.
func dropPaths(rate float64, depths []int) (stages [][]float64) {
	last, at := -1, 0
	for _, depth := range depths {
		last += depth
	}
	for _, depth := range depths {
		var rates []float64
		for range depth {
			rates = append(rates, rate*float64(at)/float64(max(1, last)))
			at++
		}
		stages = append(stages, rates)
	}
	return stages
}

// readMapPool sets pool, the global_pool of a class of timm's, to v's where that counts.
func readMapPool(v *config.VisionConfig, pool *string) {
	if set := config.Value(v.TimmPool); set != "" || timmOwnHead(v) {
		*pool = set
	}
}

// checkMapPool takes the pooling of feature maps that can be built.
func checkMapPool(pool string) error {
	if pool != "avg" {
		return fmt.Errorf("timm's global_pool %q is %w; supported is \"avg\"", pool, config.ErrUnsupported)
	}
	return nil
}

// mapOptions are the options of a tower of feature maps without a final norm.
func mapOptions(o BlockOptions, tower string) (BlockOptions, error) {
	if o.Format == "NLC" {
		return o, fmt.Errorf("%w: the image output format of a %s must be NCHW", check.ErrInput, tower)
	}
	o.Normalize = false
	return o, nil
}

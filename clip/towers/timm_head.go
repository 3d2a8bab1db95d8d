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

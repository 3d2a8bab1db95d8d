package clip

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// ImageTower is what a model asks of its image tower, whose parameters are the
// fields of the struct behind it: *VisionTransformer, for one.
type ImageTower interface {
	// forward maps images [batch, 3, height, width] to features [batch, embed_dim],
	// or [batch, tokens, embed_dim] where the tower does not pool.
	forward(g *graph.Graph, image graph.Tensor) graph.Tensor
	// depth is the number of blocks, or stages, whose outputs can be had.
	depth() int
	// blocks runs the first depth of them. It returns their outputs and how to
	// record the features that follow from the last one.
	blocks(g *graph.Graph, image graph.Tensor, depth int, o IntermediatesOptions) (outs []featureMap, head func() graph.Tensor)
	// intermediatesOptions refuses what the tower cannot do and returns what it
	// makes of the rest.
	intermediatesOptions(o IntermediatesOptions) (IntermediatesOptions, error)
	// adapt changes a state dict as open_clip does before loading it.
	adapt(m weights.Map) error
}

// featureMap is the output of one block.
type featureMap struct {
	spatial graph.Tensor // [batch, height, width, channels]
	prefix  graph.Tensor // [batch, tokens, channels]; not valid where there are none
}

// imageFamily is a kind of image tower. Each registers itself in its own file.
type imageFamily struct {
	name  string                     // as errors list it
	takes func(v *VisionConfig) bool // at most one family takes a config
	check func(c *Config) error      // the config rules that are its own
	build func(c *Config) ImageTower // of a config that passed check
}

var imageFamilies []imageFamily

func registerImageTower(f imageFamily) { imageFamilies = append(imageFamilies, f) }

// imageFamily finds the family of c's image tower.
func (c *Config) imageFamily() (imageFamily, error) {
	var names []string
	for _, f := range imageFamilies {
		if f.takes(&c.VisionCfg) {
			return f, nil
		}
		names = append(names, f.name)
	}
	if v := &c.VisionCfg; v.isTimm() {
		return imageFamily{}, fmt.Errorf("timm_model_name %q is %w; supported are %q", *v.TimmModelName, ErrUnsupported, names)
	}
	return imageFamily{}, fmt.Errorf("%w: vision_cfg.layers is missing", ErrConfig)
}

func (v *VisionConfig) isTimm() bool { return v.TimmModelName != nil && *v.TimmModelName != "" }

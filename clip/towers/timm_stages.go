package towers

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// What timm's towers have in common that give feature maps, [batch, height, width,
// channels], stage by stage.

// mapArgs are arguments of all their classes. The rates act in training only.
type mapArgs struct {
	InChans      int     `json:"in_chans"`
	GlobalPool   string  `json:"global_pool"`
	DropRate     float64 `json:"drop_rate"`
	DropPathRate float64 `json:"drop_path_rate"`
}

func mapDefaults() mapArgs { return mapArgs{InChans: 3, GlobalPool: "avg"} }

// read decodes the kwargs of v to dst, of which a is a part, over the arguments that a
// model has. v's own pooling counts more.
func (a *mapArgs) read(v *config.VisionConfig, args map[string]json.RawMessage, dst any) error {
	err := decodeKwargs(v, args, dst)
	if set := config.Value(v.TimmPool); set != "" || timmOwnHead(v) {
		a.GlobalPool = set
	}
	return err
}

func (a *mapArgs) check() error {
	const section = kwargsSection
	err := check.First(
		check.InRange(section+".in_chans", a.InChans, 3, 3),
		check.DropRate(section+".drop_rate", a.DropRate), check.DropRate(section+".drop_path_rate", a.DropPathRate),
	)
	if err == nil && a.GlobalPool != "avg" {
		err = fmt.Errorf("timm's global_pool %q is %w; supported is \"avg\"", a.GlobalPool, config.ErrUnsupported)
	}
	return err
}

// mapStage maps a feature map to the next.
type mapStage interface {
	Forward(g *graph.Graph, x graph.Tensor) graph.Tensor
}

// recordStages records stages, modules of a name and a number, and returns what each gives.
func recordStages[S mapStage](g *graph.Graph, x graph.Tensor, name string, stages []S) []graph.Tensor {
	all := make([]graph.Tensor, len(stages))
	for i, s := range stages {
		x = g.Module(fmt.Sprintf("%s.%d", name, i), func() graph.Tensor { return s.Forward(g, x) })
		all[i] = x
	}
	return all
}

// patchMap maps an image to the map of its patches, with a bias or nil, and normalises it.
func patchMap(g *graph.Graph, image graph.Tensor, patch *layers.PatchEmbed, bias *graph.Param, norm *layers.LayerNorm) graph.Tensor {
	x, size := patch.Forward(g, image, 0), patch.Weight.Shape[2:]
	if bias != nil {
		x = ops.AddBroadcast(g, x, g.Param(bias), 1)
	}
	return norm.Forward(g, g.Reshape(x, x.Dim(0), image.Dim(2)/size[0], image.Dim(3)/size[1], x.Dim(2)))
}

// mapHead pools a map and classifies it (ClassifierHead of timm's classifier.py), and is
// open_clip's head behind that.
type mapHead struct {
	TrunkHead *layers.Linear `w:"trunk.head.fc"` // timm_proj ""
	timmHead  `w:""`

	width    int     // of the features that it takes
	dropRate float64 // before TrunkHead
}

func newMapHead(c *config.Config, width int, dropRate float64) mapHead {
	h := mapHead{timmHead: newTimmHead(c, width), width: width, dropRate: dropRate}
	if config.Value(c.VisionCfg.TimmProj) == "" {
		h.TrunkHead = layers.NewTimmLinear(width, c.EmbedDim, true)
	}
	return h
}

// features are those of what the trunk's last layer gives, in its scope.
func (h *mapHead) features(g *graph.Graph, last func() graph.Tensor) graph.Tensor {
	end := g.Scope("trunk")
	x := last()
	x = g.Tap(g.Module("head", func() graph.Tensor {
		x := ops.Dropout(g, poolMap(g, x), h.dropRate)
		if h.TrunkHead == nil {
			return x
		}
		return h.TrunkHead.Forward(g, x)
	}))
	end()
	return h.project(g, x)
}

// wantWidth refuses features of a map x that ends at an earlier stage, whose channels are
// not the width that the head takes. timm fails there, too, and not where they are.
func wantWidth(g *graph.Graph, x graph.Tensor, width int) {
	if have := x.Dim(3); have != width {
		g.Fail("features want the %d channels of the last stage, and stop_early ended where there are %d: ask for intermediates only", width, have)
	}
}

// poolMap is the mean of a map over its places.
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

// mapOptions are the options of a tower of feature maps without a final norm.
func mapOptions(o BlockOptions, tower string) (BlockOptions, error) {
	o.Normalize = false
	return o, wantMaps(o, tower)
}

// wantMaps refuses rows of tokens.
func wantMaps(o BlockOptions, tower string) error {
	if o.Format == "NLC" {
		return fmt.Errorf("%w: the image output format of a %s must be NCHW", check.ErrInput, tower)
	}
	return nil
}

// replace puts what f makes of p's values in a checkpoint in their place, where they have
// the shape was. What does not fit is for Bind to report.
func replace(m weights.Map, p *graph.Param, was []int, f func(old []float32) []float32) error {
	x, ok := m[p.Name]
	if !ok || !x.DType.IsFloat() || !slices.Equal(x.Shape, was) {
		return nil
	}
	old := make([]float32, x.Len())
	err := x.ReadF32(old, 0)
	if err == nil {
		m[p.Name], err = weights.FromF32(p.Name, p.Shape, f(old))
	}
	return err
}

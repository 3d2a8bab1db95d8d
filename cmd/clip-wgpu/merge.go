package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
	"github.com/spf13/cobra"
)

func newMergeCommand(g *globals) *cobra.Command {
	var output string
	var alpha float64
	dtype := dtypeFlag(weights.F32)
	cmd := &cobra.Command{
		Use:   "merge MODEL [OTHER] -o FOLDER",
		Short: "Write a model with its adapter, or the mean of two models, as one",
		Long: `merge writes a model in open_clip's layout, as convert does. --adapter adds a LoRA to the
weights, so that the model needs none any more.

With OTHER, a model of the same config, every weight is the mean of both: 1 - alpha times
MODEL's and alpha times OTHER's. Between a model and what was fine-tuned from it, such a
mean often knows the new and keeps what the old one knew (WiSE-FT; Wortsman et al., 2022).
--adapter then is OTHER's.`,
		Example: `  clip-wgpu merge ViT-B-32:laion2b_s34b_b79k --adapter mine/adapter -o merged
  clip-wgpu merge ViT-B-32:laion2b_s34b_b79k mine/model --alpha 0.5 -o both`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			switch {
			case len(args) == 0 || len(args) > 2:
				return usageErrorf(cmd, "one or two models expected, %d given", len(args))
			case output == "":
				return usageErrorf(cmd, "no output given: -o FOLDER")
			case !(alpha >= 0 && alpha <= 1):
				return usageErrorf(cmd, "--alpha %v: want 0 to 1", alpha)
			case len(args) == 1 && cmd.Flags().Changed("alpha"):
				return usageErrorf(cmd, "--alpha goes with two models")
			case len(args) == 1 && g.adapter == "":
				return usageErrorf(cmd, "nothing to merge: want --adapter or two models")
			}
			warnings, err := merge(cmd, g, args, alpha, output, checkpoint.SaveOptions{DType: weights.DType(dtype), Replace: g.force})
			g.console().clear()
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%w (--force replaces it)", err)
			}
			for _, w := range warnings {
				g.console().note("warning: %s", w)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "`folder` to write")
	f.Float64Var(&alpha, "alpha", 0.5, "`share` of OTHER")
	f.Var(&dtype, "dtype", "element type of the weights: f32, f16 or bf16")
	return cmd
}

// merge saves the last of the models, with its adapter, mixed with the one before it.
func merge(cmd *cobra.Command, g *globals, args []string, alpha float64, output string, to checkpoint.SaveOptions) (warnings []string, err error) {
	last := args[len(args)-1]
	c, err := checkpoint.Open(cmd.Context(), last, g.checkpoint())
	if err != nil {
		return nil, loadHint(last, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if len(args) == 2 {
		o := g.checkpoint()
		o.Adapter = ""
		base, err := checkpoint.Open(cmd.Context(), args[0], o)
		if err != nil {
			return nil, loadHint(args[0], err)
		}
		defer base.Close()
		if to.Values, err = mix(base, c, alpha); err != nil {
			return nil, err
		}
	}
	odd, err := c.Save(cmd.Context(), output, to)
	return append(c.Warnings, odd...), err
}

// mix gives the values of other's parameters, its adapter merged into them and taken from
// it, mixed with those of base.
func mix(base, other *checkpoint.Checkpoint, alpha float64) (func(p *graph.Param) graph.Source, error) {
	a, b := base.Model.Config, other.Model.Config // what shapes do not show
	if a.QuickGELU != b.QuickGELU || a.VisionCfg.HeadWidth != b.VisionCfg.HeadWidth || a.TextCfg.Heads != b.TextCfg.Heads {
		return nil, fmt.Errorf("%s and %s have other activations or heads (quick_gelu, head_width, heads): want models of one config", base.Name, other.Name)
	}
	of := map[string]*graph.Param{}
	for name, p := range base.Model.Parameters() {
		of[name] = p
	}
	values := map[*graph.Param]graph.Source{}
	for name, p := range other.Model.Parameters() {
		source, err := p.Source, error(nil)
		if other.Adapter != nil {
			source, err = other.Adapter.Merged(p, nil)
		}
		q := of[name]
		switch {
		case err != nil:
			return nil, err
		case source == nil: // of the adapter
			continue
		case q == nil:
			return nil, fmt.Errorf("tensor %s: %s has none: want models of one config", name, base.Name)
		case !slices.Equal(q.Shape, p.Shape):
			return nil, fmt.Errorf("tensor %s: %s has %v, %s has %v: want models of one config", name, base.Name, q.Shape, other.Name, p.Shape)
		case !p.Integer:
			source = mixed{q.Source, source, alpha}
		}
		values[p] = source
		delete(of, name)
	}
	for name := range of {
		return nil, fmt.Errorf("tensor %s: %s has none: want models of one config", name, other.Name)
	}
	other.Adapter = nil
	return func(p *graph.Param) graph.Source { return values[p] }, nil
}

// mixed is the mean of two sources, with alpha of the second.
type mixed struct {
	a, b  graph.Source
	alpha float64
}

// ReadF32 implements graph.Source.
func (m mixed) ReadF32(dst []float32, offset int) error {
	other := make([]float32, len(dst))
	if err := m.a.ReadF32(other, offset); err != nil {
		return err
	}
	if err := m.b.ReadF32(dst, offset); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = float32((1-m.alpha)*float64(other[i]) + m.alpha*float64(dst[i]))
	}
	return nil
}

// Package lora gives a model's linear maps low-rank adapters (Hu et al., LoRA, 2021), with
// the names and files of Hugging Face's PEFT. The model's own weights stay as they are, in
// whatever format they are stored (QLoRA; Dettmers et al., 2023). It needs no device.
package lora

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// ErrAdapter is matched by errors about adapters that do not fit a model, and about their
// configs.
var ErrAdapter = errors.New("the adapter does not fit")

// AllLinear, as the only target, means every linear map of both towers.
const AllLinear = "all-linear"

// Config is what adapters are taken of PEFT's LoraConfig.
type Config struct {
	Rank    int      `json:"r"`
	Alpha   float64  `json:"lora_alpha"`     // what an adapter adds is multiplied by Alpha/Rank
	Targets []string `json:"target_modules"` // names of modules, or the last parts of their names
	RSLoRA  bool     `json:"use_rslora"`     // by Alpha/√Rank instead (Kalajdzievski, 2023)
	Dropout float64  `json:"lora_dropout"`   // in training, of what enters an adapter
}

// scale is what the product of both matrices of a module is multiplied by. PEFT, up to
// 0.21 at least, adds that of a MultiheadAttention's output twice (MultiheadAttention.merge
// of its tuners/lora/layer.py), and adapters are trained so. Its gradients are those of
// once; ours are the true ones.
func (c Config) scale(module string) float64 {
	alpha := c.Alpha
	if strings.HasSuffix(module, outProjection) {
		alpha *= 2
	}
	if c.RSLoRA {
		return alpha / math.Sqrt(float64(c.Rank))
	}
	return alpha / float64(c.Rank)
}

// outProjection ends PEFT's name of the output of an attention that is adapted whole.
const outProjection = ".base_layer.out_proj"

func (c Config) check() error {
	switch {
	case c.Rank < 1 || c.Rank > 1<<12:
		return fmt.Errorf("%w: a rank of %d, want 1 to 4096", ErrAdapter, c.Rank)
	case !(c.Alpha > 0 && c.Alpha <= math.MaxFloat32/2): // which an attention's output doubles
		return fmt.Errorf("%w: lora_alpha %v, want a number above 0 and below 1e38", ErrAdapter, c.Alpha)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("%w: lora_dropout %v, want 0 to less than 1", ErrAdapter, c.Dropout)
	case len(c.Targets) == 0:
		return fmt.Errorf("%w: no target_modules", ErrAdapter)
	}
	return nil
}

// Adapter holds the adapters of a model's weights.
type Adapter struct {
	Config Config
	pairs  []*pair // in the order of the model's weights
}

// pair adds scale · (x · Aᵀ) · Bᵀ to what a weight gives.
type pair struct {
	A *graph.Param `w:"lora_A"` // [rank, in]
	B *graph.Param `w:"lora_B"` // [out, rank]

	module  string // PEFT's name of the module
	weight  *layers.Weight
	scale   float64
	dropout float64
}

// Adapt implements layers.Adapter.
func (p *pair) Adapt(g *graph.Graph, x, y graph.Tensor, first int) graph.Tensor {
	h := ops.Linear(g, ops.Dropout(g, x, p.dropout), g.Param(p.A), graph.Tensor{})
	return g.Add(y, ops.Scale(g, ops.LinearRows(g, h, g.Param(p.B), graph.Tensor{}, first, y.Dim(-1)), p.scale))
}

// New gives the targets below tree, the Tree of a model that has not computed yet, adapters
// that change nothing at first: A is drawn from seed as PEFT draws it, B is zero. Of the
// model only they are trained: batch norms keep their statistics, too, as they are in no
// adapter. A target that is no linear map gives ErrAdapter.
func New(tree any, c Config, seed uint64) (*Adapter, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	targets, names, err := choose(tree, c.Targets)
	if err != nil {
		return nil, err
	}
	c.Targets = names
	a := &Adapter{Config: c}
	for _, t := range targets {
		out, in := t.weight.Matrix()
		p := &pair{module: t.module, weight: t.weight, scale: c.scale(t.module), dropout: c.Dropout}
		p.A = layers.NewParam(layers.Uniform(1/math.Sqrt(float64(in))), c.Rank, in)
		p.B = layers.NewParam(layers.Constant(0), out, c.Rank)
		p.A.Name, p.B.Name = t.name+".lora_A", t.name+".lora_B"
		layers.Seed(p.A, seed)
		a.pairs = append(a.pairs, p)
	}
	a.attach(tree)
	return a, nil
}

// attach freezes what is below tree and sets the adapters.
func (a *Adapter) attach(tree any) {
	weights.Walk(tree, func(_ string, p *graph.Param) { p.Frozen = true })
	weights.Find(tree, func(_ string, b *layers.BatchNorm2D) { b.Eval = true })
	for _, p := range a.pairs {
		p.weight.Adapter = p
	}
}

// Parameters iterates over those of all adapters, by PEFT's names.
func (a *Adapter) Parameters() iter.Seq2[string, *graph.Param] {
	return func(yield func(string, *graph.Param) bool) {
		for _, p := range a.pairs {
			if !yield(prefix+p.module+".lora_A.weight", p.A) || !yield(prefix+p.module+".lora_B.weight", p.B) {
				return
			}
		}
	}
}

// prefix is how PEFT's names begin.
const prefix = "base_model.model."

// target is a linear map that gets an adapter.
type target struct {
	name   string // of the weight in the state dict
	module string
	weight *layers.Weight
}

// linearMaps lists the linear maps below tree, in order, with their modules' names in the
// model, and the other weights.
func linearMaps(tree any) (maps []target, others map[string]bool) {
	tables := map[*layers.Weight]bool{}
	weights.Find(tree, func(_ string, e *layers.Embedding) { tables[e.Weight] = true })
	others = map[string]bool{}
	weights.Find(tree, func(name string, w *layers.Weight) {
		module, isModule := strings.CutSuffix(name, ".weight")
		fused, isFused := strings.CutSuffix(name, ".in_proj_weight") // of torch's MultiheadAttention
		switch {
		case len(w.Shape) == 2 && !w.Transposed && !tables[w] && isFused:
			maps = append(maps, target{name, fused, w})
		case len(w.Shape) == 2 && !w.Transposed && !tables[w] && isModule:
			maps = append(maps, target{name, module, w})
		default:
			others[strings.TrimSuffix(name, ".weight")] = true
		}
	})
	return maps, others
}

// names tells whether a target means a module: by its whole name or the last parts of it.
func names(target, module string) bool {
	return module == target || strings.HasSuffix(module, "."+target)
}

// choose finds what targets mean, in the model's order, and how PEFT writes them. As in
// PEFT, a MultiheadAttention that is a target has an adapter of its output, too, which lies
// in base_layer.
func choose(tree any, targets []string) (chosen []target, written []string, err error) {
	maps, others := linearMaps(tree)
	if slices.Equal(targets, []string{AllLinear}) {
		targets = nil
		for _, m := range maps {
			last := m.module[strings.LastIndexByte(m.module, '.')+1:]
			if parent := strings.TrimSuffix(m.module, ".out_proj"); parent != m.module && has(maps, parent) {
				continue // it comes with its attention
			}
			if !slices.Contains(targets, last) {
				targets = append(targets, last)
			}
		}
	}
	found := map[string]bool{}
	for _, m := range maps {
		parent := strings.TrimSuffix(m.module, ".out_proj")
		for _, t := range targets {
			whole := parent != m.module && names(t, parent) && has(maps, parent)
			if !whole && !names(t, m.module) {
				continue
			}
			if found[t] = true; whole {
				m.module = parent + outProjection
			}
			chosen = append(chosen, m)
			break
		}
	}
	for _, t := range targets {
		if found[t] {
			continue
		}
		for other := range others {
			if names(t, other) {
				return nil, nil, fmt.Errorf("%w: target %q is %s, which is no linear map", ErrAdapter, t, other)
			}
		}
		return nil, nil, fmt.Errorf("%w: the model has no module %q; linear maps are %s", ErrAdapter, t, kinds(maps))
	}
	return chosen, targets, nil
}

// has tells whether a module is the attention that a fused projection belongs to.
func has(maps []target, module string) bool {
	return slices.ContainsFunc(maps, func(m target) bool { return m.module == module && strings.HasSuffix(m.name, ".in_proj_weight") })
}

// kinds lists the last parts of modules' names, each once.
func kinds(maps []target) string {
	var all []string
	for _, m := range maps {
		if last := m.module[strings.LastIndexByte(m.module, '.')+1:]; !slices.Contains(all, last) {
			all = append(all, last)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

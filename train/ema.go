package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// average is the moving averages of what changes in a slab: the parameters that are
// trained and the running statistics of batch norms.
type average struct {
	moment
	home    *graph.State
	stored  []*graph.Param // that lie in home
	of      []*graph.Param // one for each of the moment's parts
	records []int32        // see ops.Average
	input   string         // with the records
}

// averages returns the averages of a model's parameters, a slab for each of homes that
// has any. There are none without EMADecay.
func (m *model) averages(c Config, limit int64) (all []average) {
	if c.EMADecay == 0 {
		return nil
	}
	for i, stored := range m.homes(limit) {
		a := average{home: side("parameters", stored), stored: stored, input: fmt.Sprintf("averages %d", i)}
		for _, p := range stored {
			if p.Buffer && !p.Frozen || p.RequiresGrad() {
				a.of = append(a.of, p)
			}
		}
		if a.of == nil {
			continue
		}
		a.moment = newMoment("ema", a.of)
		like := side("averaged", a.of)
		rows := make([][]int32, len(a.of))
		for i, p := range a.of {
			rows[i] = ops.Record(&p.State, offset(like, i), offset(a.home, slices.Index(stored, p)), false, 1)
		}
		a.records = ops.Records(like.Shape.Elems(), rows...)
		all = append(all, a)
	}
	return all
}

// follow records a step of the averages towards the parameters. A factor of 0 at run
// time leaves them as they are.
func (a *average) follow(g *graph.Graph, rate float64, factor graph.Tensor) {
	readFrom(g, a.stored)
	records := g.Input(a.input, graph.Shape{len(a.records)}, graph.I32)
	ops.Average(g, a.State, a.home, rate, records, factor)
}

// feedAverages gives the inputs that follow declares.
func (t *Trainer) feedAverages(feed map[string]any) {
	for _, a := range t.ema {
		feed[a.input] = a.records
	}
}

// beginAverages copies the parameters to the averages, once, before the first step.
// The caller has the turn.
func (t *Trainer) beginAverages(ctx context.Context) error {
	if t.ema == nil || t.averaged {
		return nil
	}
	g := t.graph()
	for _, a := range t.ema {
		a.follow(g, 1, g.Fill(1, 1))
	}
	prog, err := g.Build()
	if err != nil {
		return err
	}
	s, err := load(ctx, t.on, prog)
	if err != nil {
		return err
	}
	defer s.close()
	feed := map[string]any{}
	t.feedAverages(feed)
	if err := s.run(ctx, feed); err != nil {
		return err
	}
	t.averaged = true
	return nil
}

// EMA reads the averages that Config.EMADecay asks for as a state dict. Parameters that
// are frozen, and counters, are those of the model. Written by weights.Save they are a
// checkpoint that clip.Load opens with the model's config. Without EMADecay it gives
// clip.ErrInput.
func (t *Trainer) EMA(ctx context.Context) (map[string]clip.Array, error) {
	if err := t.acquire(ctx); err != nil {
		return nil, err
	}
	defer t.turn.Unlock()
	if t.ema == nil {
		return nil, fmt.Errorf("%w: the trainer's EMADecay is 0", clip.ErrInput)
	}
	if err := t.beginAverages(ctx); err != nil {
		return nil, err
	}
	averages := map[*graph.Param]*graph.Param{}
	for _, a := range t.ema {
		for i, p := range a.of {
			averages[p] = a.params[i]
		}
	}
	all := map[string]clip.Array{}
	for name, p := range t.structure.Parameters() {
		if average := averages[p]; average != nil {
			p = average
		}
		var err error
		if all[name], err = t.read(ctx, p); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// read is a parameter, or what lies like one, as it is on the device.
func (t *Trainer) read(ctx context.Context, p *graph.Param) (clip.Array, error) {
	x := clip.Array{Shape: p.Shape, Data: make([]float32, p.Shape.Elems())}
	return x, t.on.Store().ReadParam(ctx, p, x.Data)
}

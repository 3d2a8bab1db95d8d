package train

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// slab is parameters that one dispatch updates, which finds them, their gradients
// and each of their moments in one binding each.
type slab struct {
	stored  []*graph.Param // that lie in home, frozen ones too: it is the same for all trainers of a model
	home    *graph.State
	trained []*graph.Param
	like    *graph.State // how gradients and moments lie: those of trained alone
	moments []moment     // by the rule's
	sums    *graph.State // like, for gradients that several Programs add up
	records []int32      // see ops.Update
}

// moment is what a trainer keeps beside every element of some of a slab's parameters.
type moment struct {
	*graph.State
	params []*graph.Param // its parts, one for each parameter
}

// zeros is the Source of a moment before the first step.
type zeros struct{}

func (zeros) ReadF32(dst []float32, _ int) error { clear(dst); return nil }

// slabBytes is how long a model's slabs should be: few dispatches, but the memory of
// a slab's gradients is taken when the first of them is made. ViT-B-32 at batch 8
// needs 767 MB of activations with slabs of a sixteenth, and 815 MB with slabs of an
// eighth.
func (m *model) slabBytes() int64 {
	bytes := int64(0)
	for _, p := range m.stored {
		bytes += p.Bytes()
	}
	return min(max(bytes/16, 4<<20), m.target.BindingLimit())
}

// homes distributes a model's parameters over slabs of at most limit bytes. One that
// is longer has a slab to itself.
func (m *model) homes(limit int64) (homes [][]*graph.Param) {
	for rest := m.stored; len(rest) > 0; {
		n := fitting(rest, limit)
		homes, rest = append(homes, rest[:n]), rest[n:]
	}
	return homes
}

// slabs returns a slab for each of homes that has trainable parameters.
func (m *model) slabs(c Config, limit int64) []slab {
	var all []slab
	rates := m.rates(c)
	for _, stored := range m.homes(limit) {
		b := slab{stored: stored, home: side("parameters", stored)}
		for _, p := range b.stored {
			if p.RequiresGrad() {
				b.trained = append(b.trained, p)
			}
		}
		if b.trained == nil {
			continue
		}
		b.like = side("trained", b.trained)
		b.sums = b.gradients()
		for _, name := range c.Optimizer.Rule().Moments {
			b.moments = append(b.moments, newMoment(name, b.trained))
		}
		rows := make([][]int32, len(b.trained))
		for i, p := range b.trained {
			rows[i] = ops.Record(&p.State, offset(b.like, i), offset(b.home, slices.Index(b.stored, p)), c.Decays(p), rates[p])
		}
		b.records = ops.Records(b.like.Shape.Elems(), rows...)
		all = append(all, b)
	}
	return all
}

// fitting returns how many of params, from the first on, fit one slab of limit bytes:
// at least one.
func fitting(params []*graph.Param, limit int64) int {
	bytes := int64(0)
	for i, p := range params {
		if bytes += aligned(p.Bytes()); bytes > limit && i > 0 {
			return i
		}
	}
	return len(params)
}

func aligned(bytes int64) int64 { return (bytes + ops.SlabAlign - 1) / ops.SlabAlign * ops.SlabAlign }

// side lays params side by side in a slab. A single row-major parameter needs none and
// is returned itself; it may be longer than a binding.
func side(name string, params []*graph.Param) *graph.State {
	if len(params) == 1 && !params[0].Packed() {
		return &params[0].State
	}
	s := &graph.State{Name: fmt.Sprintf("%s from %s on", name, params[0].Name)}
	end := int64(0)
	for _, p := range params {
		s.Parts, s.Offsets = append(s.Parts, &p.State), append(s.Offsets, end)
		end += aligned(p.Bytes())
	}
	s.Shape = graph.Shape{int(end / 4)}
	return s
}

// offset is where part i of a slab, or the only parameter, begins.
func offset(s *graph.State, i int) int64 {
	if s.Parts == nil {
		return 0
	}
	return s.Offsets[i]
}

// newMoment makes the moment of a name for params. Its elements lie as those of the
// parameters do.
func newMoment(name string, params []*graph.Param) moment {
	var m moment
	for _, p := range params {
		s := p.State
		s.Name = name + "." + p.Name
		m.params = append(m.params, &graph.Param{State: s, Source: zeros{}})
	}
	m.State = side(name, m.params)
	return m
}

// gradients makes the State that holds the gradients of the trained parameters,
// row-major at the offsets of b.like.
func (b *slab) gradients() *graph.State {
	of := func(p *graph.Param) *graph.State { return &graph.State{Name: "grad." + p.Name, Spec: p.Spec} }
	if b.like.Parts == nil {
		return of(b.trained[0])
	}
	s := &graph.State{Name: "gradients from " + b.trained[0].Name + " on", Spec: b.like.Spec, Offsets: b.like.Offsets}
	for _, p := range b.trained {
		s.Parts = append(s.Parts, of(p))
	}
	return s
}

// update appends the step of the slab's parameters, given their gradients and what to
// multiply them by.
func (b *slab) update(g *graph.Graph, rule *ops.Rule, grad, factor, records, settings graph.Tensor) {
	readFrom(g, b.stored)
	moments := make([]*graph.State, len(b.moments))
	for i, m := range b.moments {
		moments[i] = m.State
	}
	ops.Update(g, rule, b.home, moments, grad, factor, records, settings)
}

// readFrom makes whoever loads a slab fill it from the sources of its parameters.
func readFrom(g *graph.Graph, stored []*graph.Param) {
	for _, p := range stored {
		g.Param(p)
	}
}

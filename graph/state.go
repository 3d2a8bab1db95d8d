package graph

import (
	"errors"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

// State is a named tensor that persists between runs: a parameter, an
// optimizer's moment, a running statistic.
type State struct {
	Name string
	Spec
	Format     packing.Format // on the device; only ops that say so (Op.Packed) read a packed one
	Transposed bool           // the weight P [K, N] of x·P instead of W [N, K …] of x·Wᵀ
	// Parts are the States that lie in this one, a slab: a vector of f32 whose memory is
	// theirs. A kernel that binds the slab sees them all, as they lie on the device.
	Parts   []*State
	Offsets []int64 // of the parts, ascending, in bytes; multiples of 256
}

// Source gives a parameter's values, piece by piece, so that weights stream to
// the device without a second copy on the host.
type Source interface {
	// ReadF32 fills dst with the elements from offset on, row-major. It may be
	// called while other parameters' sources are read.
	ReadF32(dst []float32, offset int) error
}

// Param is a State of the model: metadata and a lazy source, never a host copy.
type Param struct {
	State
	Source  Source
	Frozen  bool // training leaves it alone
	Buffer  bool // no parameter, but kept with them: torch's buffers, such as running means
	NoDecay bool // AdamW's weight decay leaves it alone, as a no_weight_decay of open_clip's asks
	// Integer marks a buffer of whole numbers: files store int64, and one that lacks it
	// leaves the Source as it is.
	Integer bool
}

// Packed tells whether s lies in blocks.
func (s *State) Packed() bool { return s.Format != packing.RowMajor }

// Matrix gives the sizes of the linear map y [N] = f(x [K]) that s, of at least
// one dimension, is the weight of.
func (s *State) Matrix() (n, k int) {
	if s.Transposed {
		return s.Shape[len(s.Shape)-1], s.Shape[:len(s.Shape)-1].Elems()
	}
	return s.Shape[0], s.Shape[1:].Elems()
}

// Bytes is the size on any device.
func (s *State) Bytes() int64 {
	if s.Packed() {
		return Target{}.Packing(s).Bytes()
	}
	return s.Spec.Bytes()
}

// Trainable refuses a State whose format rounds what is assigned.
func (s *State) Trainable() error {
	if s.Packed() && s.Format != packing.F32 {
		return fmt.Errorf("%s is stored as %v: training wants its weights in f32", s.Name, s.Format)
	}
	return nil
}

// RequiresGrad tells whether training changes p, as torch's requires_grad does.
func (p *Param) RequiresGrad() bool { return !p.Frozen && !p.Buffer }

// Check refuses a State that its format cannot hold, or its slab on such a device.
func (t Target) Check(s *State) error {
	if !s.Format.Valid() || s.Packed() && (len(s.Shape) < 2 || s.Element != F32) {
		return fmt.Errorf("state %s %v cannot be packed: want f32 of two dimensions or more", s.Name, s.Spec)
	}
	if len(s.Offsets) != len(s.Parts) || s.Parts != nil && (s.Packed() || s.Element != F32 || len(s.Shape) != 1) {
		return fmt.Errorf("state %s %v cannot hold %d others at %d offsets: want a vector of f32", s.Name, s.Spec, len(s.Parts), len(s.Offsets))
	}
	end := int64(0)
	for i, part := range s.Parts {
		if err := t.Check(part); err != nil {
			return err
		}
		if at := s.Offsets[i]; at < end || at%alignment != 0 || part.Parts != nil || len(t.Buffers(part)) > 1 {
			return fmt.Errorf("state %s cannot hold %s %v at byte %d", s.Name, part.Name, part.Spec, at)
		}
		end = s.Offsets[i] + part.Bytes()
	}
	if end > s.Bytes() {
		return fmt.Errorf("state %s %v cannot hold %d bytes", s.Name, s.Spec, end)
	}
	if s.Parts != nil && len(t.Buffers(s)) > 1 {
		return &SizeError{s.Spec, t.BindingLimit()}
	}
	return nil
}

// What reads and changes States, and slabs: States that others lie in.

// State reads s as it is at this point of the tape.
func (g *Graph) State(s *State) Tensor {
	if s == nil {
		g.Fail("nil state")
		return Tensor{}
	}
	if t, ok := g.states[s]; ok {
		return t
	}
	if err := g.Check(s); err != nil {
		g.Fail("%w", err)
	}
	t := g.leaf(stateOp, s, s.Spec)
	g.states[s] = t
	return t
}

// Assign stores x, of dst's shape and type, in dst, whose Format must not round. What
// was recorded before reads the old value. A Tensor of dst that State or Param returned
// before must not be used after: Build refuses that.
func (g *Graph) Assign(dst *State, x Tensor) {
	g.apply(assignOp, nil, []*State{dst}, []Tensor{x})
	g.forget(dst)
}

// Update records an op that changes states where they lie. Its first inputs and
// outputs are their old and new values, of which a kernel binds the outputs alone
// and finds the old values there; its other inputs are in. Handles taken before
// must not be used after, as with Assign.
func (g *Graph) Update(op *Op, attr any, states []*State, in ...Tensor) {
	old := make([]Tensor, len(states))
	for i, s := range states {
		old[i] = g.State(s)
	}
	g.apply(op, attr, slices.Clone(states), append(old, in...))
	for _, s := range states {
		g.forget(s)
	}
}

// forget makes State return a new handle of whatever shares memory with s.
func (g *Graph) forget(s *State) {
	for other := range g.states {
		if other.shares(s) {
			delete(g.states, other)
		}
	}
}

// shares reports whether s and other lie, in part, in the same memory.
func (s *State) shares(other *State) bool {
	return s == other || s != nil && slices.Contains(s.Parts, other) || other != nil && slices.Contains(other.Parts, s)
}

// checkInto refuses outputs that cannot be new values of the States they go into.
func (n *Node) checkInto(out []Spec) error {
	if len(out) < len(n.into) {
		return fmt.Errorf("%d new values for %d states", len(out), len(n.into))
	}
	for i, s := range n.into {
		if s == nil {
			return errors.New("nil state")
		}
		if out[i].Element != s.Element || !slices.Equal(out[i].Shape, s.Shape) {
			return fmt.Errorf("%v into %s %v", out[i], s.Name, s.Spec)
		}
		for _, s := range append(slices.Clone(s.Parts), s) {
			if err := s.Trainable(); err != nil {
				return err
			}
		}
	}
	return nil
}

// partsOf returns the values of a slab in Eval, which are those of its parts,
// row-major, at their offsets.
func (s *State) partsOf(state map[*State][]float64) []float64 {
	v := make([]float64, s.Shape.Elems())
	for i, part := range s.Parts {
		copy(v[s.Offsets[i]/4:], state[part])
	}
	return v
}

// setParts writes the values v of a slab in Eval back to its parts.
func (s *State) setParts(state map[*State][]float64, v []float64) {
	for i, part := range s.Parts {
		at := s.Offsets[i] / 4
		state[part] = slices.Clone(v[at : at+int64(part.Shape.Elems())])
	}
}

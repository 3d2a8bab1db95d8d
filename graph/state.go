package graph

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

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

// Check refuses a State that its format cannot hold.
func (s *State) Check() error {
	if !s.Format.Valid() || s.Packed() && (len(s.Shape) < 2 || s.DType != F32) {
		return fmt.Errorf("state %s %v cannot be packed: want f32 of two dimensions or more", s.Name, s.Spec)
	}
	return nil
}

package ops

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// axisIn resolves an axis, counted from the end when negative.
func axisIn(s graph.Spec, axis int) (int, error) {
	at := fromStart(s.Shape, axis)
	if at < 0 || at >= len(s.Shape) {
		return 0, fmt.Errorf("%v has no axis %d", s, axis)
	}
	return at, nil
}

func fromStart(s graph.Shape, axis int) int {
	if axis < 0 {
		axis += len(s)
	}
	return axis
}

// around splits a shape into the product outer of the dimensions before the axis, the
// length of the axis, and the product inner of those behind it.
func around(s graph.Shape, axis int) (outer, length, inner int) {
	axis = fromStart(s, axis)
	return s[:axis].Elems(), s[axis], s[axis+1:].Elems()
}

// slice is one launch of copy_slice.wgsl: outer times length runs of inner
// elements, from x to y. Of each tensor, runs say where the first one lies, and how
// far apart the outer ones are, in elements. xStep is between the inner runs of x;
// those of y adjoin.
type slice struct {
	outer, length, inner int
	x, y                 runs
	xStep                int
}

type runs struct{ first, step int }

func (s slice) launch(x, y graph.Arg) graph.Launch {
	return elementwise(kernel("copy_slice"), s.outer*s.length*s.inner, []graph.Arg{x, y},
		uint32(s.length), uint32(s.inner),
		uint32(s.x.first), uint32(s.x.step), uint32(s.xStep),
		uint32(s.y.first), uint32(s.y.step))
}

// ref computes on the CPU what the launch computes.
func (s slice) ref(x, y []float64) {
	for o := range s.outer {
		for l := range s.length {
			from := s.x.first + o*s.x.step + l*s.xStep
			copy(y[s.y.first+o*s.y.step+l*s.inner:][:s.inner], x[from:from+s.inner])
		}
	}
}

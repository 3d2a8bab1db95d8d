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

// around sees a shape as [outer, length, inner] with the axis in the middle.
func around(s graph.Shape, axis int) (outer, length, inner int) {
	axis = fromStart(s, axis)
	return s[:axis].Elems(), s[axis], s[axis+1:].Elems()
}

// slice is one launch of copy_slice.wgsl: outer times length runs of inner
// elements, from their places in one tensor to those in another. A place is
// where the first run lies, in elements, and how far apart the outer ones are;
// xStep is between the runs of x, those of y adjoin.
type slice struct {
	outer, length, inner int
	x, y                 place
	xStep                int
}

type place struct{ at, outer int }

func (s slice) launch(x, y graph.Arg) graph.Launch {
	return elementwise(kernel("copy_slice"), s.outer*s.length*s.inner, []graph.Arg{x, y},
		uint32(s.length), uint32(s.inner),
		uint32(s.x.at), uint32(s.x.outer), uint32(s.xStep),
		uint32(s.y.at), uint32(s.y.outer))
}

// ref is what the launch does.
func (s slice) ref(x, y []float64) {
	for o := range s.outer {
		for l := range s.length {
			from := s.x.at + o*s.x.outer + l*s.xStep
			copy(y[s.y.at+o*s.y.outer+l*s.inner:][:s.inner], x[from:from+s.inner])
		}
	}
}

// Package posembed resizes position embeddings as open_clip does when a checkpoint
// has another image size or text length than the model.
package posembed

import (
	"math"
	"slices"
)

// Resize makes a position embedding of a square grid, [1 + side², width], one of the
// grid [height, width]: [1 + height·width, width]. The class token comes first and is
// kept; ResizeGrid does the rest. A grid of as many cells is returned as it is,
// whatever its sides, as resize_pos_embed of open_clip's model.py does. The result is
// nil where the old grid is not square.
func Resize(old []float32, width int, grid [2]int) []float32 {
	cells := len(old)/width - 1
	if cells == grid[0]*grid[1] {
		return slices.Clone(old)
	}
	side := int(math.Sqrt(float64(cells)))
	if side*side != cells {
		return nil
	}
	return append(slices.Clone(old[:width]), ResizeGrid(old[width:], width, [2]int{side, side}, grid)...)
}

// ResizeGrid interpolates an embedding of the grid from, [from[0]·from[1], width], at
// the cells of the grid to: [to[0]·to[1], width]. It is bicubic with antialiasing.
func ResizeGrid(old []float32, width int, from, to [2]int) []float32 {
	columns := resample(from[1], to[1], bicubic, true)
	rows := resample(from[0], to[0], bicubic, true)
	half := make([]float32, from[0]*to[1]*width) // columns resized, rows not
	for y := range from[0] {
		columns.apply(half[y*to[1]*width:][:to[1]*width], old[y*from[1]*width:], width)
	}
	out := make([]float32, to[0]*to[1]*width)
	rows.apply(out, half, to[1]*width)
	return out
}

// Weights are the linear map that resizes an embedding of the grid from to the grid to, with
// antialiasing, as torch's interpolate does it: bicubic as in ResizeGrid, or bilinear. They
// are those of the first rows cells of the grid to, [rows, from[0]·from[1]]; rows behind its
// end are zeros.
func Weights(from, to [2]int, bilinear bool, rows int) []float32 {
	k := bicubic
	if bilinear {
		k = linear
	}
	vertical, horizontal := resample(from[0], to[0], k, true), resample(from[1], to[1], k, true)
	cells := from[0] * from[1]
	out := make([]float32, rows*cells)
	for i := range min(rows, to[0]*to[1]) {
		y, x := i/to[1], i%to[1]
		for j, wy := range vertical.weights[y] {
			at := i*cells + (vertical.first[y]+j)*from[1] + horizontal.first[x]
			for k, wx := range horizontal.weights[x] {
				out[at+k] = float32(wy * wx)
			}
		}
	}
	return out
}

// ResizeText interpolates a position embedding [n, width] at length positions:
// [length, width]. It is linear without antialiasing, as resize_text_pos_embed of
// open_clip's model.py.
func ResizeText(old []float32, width, length int) []float32 {
	out := make([]float32, length*width)
	resample(len(old)/width, length, linear, false).apply(out, old, width)
	return out
}

// kernel is an interpolation filter and its radius.
type kernel struct {
	at     func(x float64) float64
	radius float64
}

var (
	linear  = kernel{func(x float64) float64 { return max(0, 1-math.Abs(x)) }, 1}
	bicubic = kernel{func(x float64) float64 { // Keys, 1981, with a = -1/2, as torch's antialiased resampling
		const a = -0.5
		x = math.Abs(x)
		switch {
		case x < 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return (((x-5)*x+8)*x - 4) * a
		}
		return 0
	}, 2}
)

// resampling is a linear map along one axis: for each output element, the
// first input it reads and its weights.
type resampling struct {
	first   []int
	weights [][]float64
}

// resample follows torch's interpolate with align_corners=False. With
// antialias the kernel widens when shrinking and its weights are renormalised
// at the border; without, the border is repeated.
func resample(n, to int, k kernel, antialias bool) resampling {
	scale := float64(n) / float64(to)
	kernelScale := 1.0
	if antialias {
		kernelScale = max(1, scale)
	}
	r := resampling{make([]int, to), make([][]float64, to)}
	for i := range to {
		center := (float64(i)+0.5)*scale - 0.5
		if !antialias {
			center = max(0, min(center, float64(n-1)))
		}
		lo := max(0, int(math.Ceil(center-k.radius*kernelScale)))
		hi := min(n-1, int(math.Floor(center+k.radius*kernelScale)))
		w := make([]float64, hi-lo+1)
		var sum float64
		for j := range w {
			w[j] = k.at((float64(lo+j) - center) / kernelScale)
			sum += w[j]
		}
		for j := range w {
			w[j] /= sum
		}
		r.first[i], r.weights[i] = lo, w
	}
	return r
}

// apply maps rows of width elements.
func (r resampling) apply(dst, src []float32, width int) {
	for i, w := range r.weights {
		for c := range width {
			var sum float64
			for j, wj := range w {
				sum += wj * float64(src[(r.first[i]+j)*width+c])
			}
			dst[i*width+c] = float32(sum)
		}
	}
}

package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
)

// plotPoints is how many points a curve has at most: of more, neighbours are averaged.
const plotPoints = 400

// Sizes of loss.svg, in pixels.
const (
	plotWidth  = 760
	plotLeft   = 80 // of the axis; to its left are the numbers
	plotHeight = 240
	plotGap    = 50 // below a curve, with the steps
	plotTicks  = 5
)

// plot draws the losses of lines, and below them the learning rates, as loss.svg. It is
// drawn here because gonum/plot adds 8 MB to the program, and panics at losses of 1e30.
func (r *runFolder) plot(lines []logLine) error {
	if len(lines) == 0 {
		return nil
	}
	svg := &strings.Builder{}
	fmt.Fprintf(svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth+20, 2*(plotHeight+plotGap)+20)
	fmt.Fprintln(svg, `<rect width="100%" height="100%" fill="white"/>`)
	curve(svg, 20, "loss", lines, func(l logLine) float64 { return l.Loss })
	curve(svg, 20+plotHeight+plotGap, "learning rate", lines, func(l logLine) float64 { return l.LR })
	fmt.Fprintln(svg, "</svg>")
	if err := atomicfile.Write(r.at(plotName), []byte(svg.String()), true); err != nil {
		return outputError(r.at(plotName), err)
	}
	return nil
}

// curve draws one quantity over the steps, from top down.
func curve(svg *strings.Builder, top int, name string, lines []logLine, value func(logLine) float64) {
	xs, ys := averaged(lines, value)
	x, y := newAxis(xs, plotLeft, plotWidth), newAxis(ys, float64(top+plotHeight), float64(top))
	fmt.Fprintf(svg, `<g fill="none" stroke="#ddd">`)
	for _, v := range y.ticks() {
		fmt.Fprintf(svg, `<path d="M%d %.1fH%d"/>`, plotLeft, y.at(v), plotWidth)
	}
	fmt.Fprintf(svg, "</g>\n<g fill=\"#333\">")
	for _, v := range y.ticks() {
		fmt.Fprintf(svg, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, plotLeft-6, y.at(v)+4, strconv.FormatFloat(v, 'g', 3, 64))
	}
	for _, v := range x.ticks() {
		fmt.Fprintf(svg, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`, x.at(v), top+plotHeight+16, v)
	}
	fmt.Fprintf(svg, `<text x="%d" y="%d" font-weight="bold">%s</text></g>`+"\n", plotLeft, top-6, name)
	fmt.Fprint(svg, `<polyline fill="none" stroke="#1f5fa8" stroke-width="1.5" points="`)
	for i := range xs {
		fmt.Fprintf(svg, "%.1f,%.1f ", x.at(xs[i]), y.at(ys[i]))
	}
	fmt.Fprintln(svg, `"/>`)
}

// averaged are the points of a curve, each the mean of its share of the lines.
func averaged(lines []logLine, value func(logLine) float64) (xs, ys []float64) {
	share := (len(lines) + plotPoints - 1) / plotPoints
	for lo := 0; lo < len(lines); lo += share {
		part := lines[lo:min(lo+share, len(lines))]
		var x, y float64
		for _, l := range part {
			x += float64(l.Step) / float64(len(part))
			y += value(l) / float64(len(part))
		}
		xs, ys = append(xs, x), append(ys, y)
	}
	return xs, ys
}

// axis maps the values from lo to hi to pixels.
type axis struct{ lo, hi, from, to float64 }

func newAxis(values []float64, from, to float64) axis {
	a := axis{math.Inf(1), math.Inf(-1), from, to}
	for _, v := range values {
		a.lo, a.hi = min(a.lo, v), max(a.hi, v)
	}
	return a
}

func (a axis) at(v float64) float64 {
	if a.hi == a.lo {
		return (a.from + a.to) / 2
	}
	return a.from + (a.to-a.from)*((v-a.lo)/(a.hi-a.lo))
}

// ticks are values at equal distances, the ends among them.
func (a axis) ticks() (all []float64) {
	if a.hi == a.lo {
		return []float64{a.lo}
	}
	for i := range plotTicks {
		all = append(all, a.lo+(a.hi-a.lo)*(float64(i)/(plotTicks-1)))
	}
	return all
}

package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Sizes of the picture in pixels.
const (
	flameWidth  = 1200.0
	flameMargin = 16.0
	flameRow    = 22.0
	flameText   = 12.0
	charWidth   = 6.7 // of the font, on average
)

// palette colours kernels, the longest first; groups of steps are grey.
var palette = []string{"#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#499894", "#b6992d", "#b07aa1", "#d37295", "#9c755f"}

const (
	otherKernels = "#79706e"
	groupLight   = "#eef1f4"
	groupDark    = "#dfe4ea"
	ink          = "#1f2933"
)

// frame is a box of the picture: a part of the model and what it consists of.
type frame struct {
	name, path string
	kernel     string // of a single dispatch
	calls      int
	duration   time.Duration
	children   []*frame
}

// flames nests steps by their scopes, in the order of execution.
func flames(all steps) *frame {
	root := &frame{name: "all"}
	for _, s := range all {
		f := root
		f.add(1, s.duration)
		for part := range strings.SplitSeq(s.scope, ".") {
			if part != "" {
				f = f.child(part)
				f.add(1, s.duration)
			}
		}
		step := &frame{name: s.op, path: f.inside(s.op), kernel: s.kernel}
		step.add(1, s.duration)
		f.children = append(f.children, step)
	}
	return root
}

func (f *frame) add(calls int, d time.Duration) {
	f.calls += calls
	f.duration += d
}

func (f *frame) inside(name string) string { return strings.TrimPrefix(f.path+"."+name, ".") }

// child is the last part of f, or a new one when that has another name.
func (f *frame) child(name string) *frame {
	if n := len(f.children); n > 0 && f.children[n-1].name == name && f.children[n-1].kernel == "" {
		return f.children[n-1]
	}
	c := &frame{name: name, path: f.inside(name)}
	f.children = append(f.children, c)
	return c
}

// blocksTogether is f with the parts that only have numbers, as the blocks of a
// transformer, made one.
func (f *frame) blocksTogether() *frame {
	g := *f
	g.children = nil
	for _, c := range f.children {
		c = c.blocksTogether()
		if _, err := strconv.Atoi(c.name); err != nil {
			g.children = append(g.children, c)
			continue
		}
		blocks := &frame{children: g.children}
		blocks.merge(c)
		g.children = blocks.children
	}
	return &g
}

// merge adds the parts of other to those of f: the first of a name to the first
// of that name, the second to the second …
func (f *frame) merge(other *frame) {
	f.add(other.calls, other.duration)
	taken := map[*frame]bool{}
	for _, o := range other.children {
		i := slices.IndexFunc(f.children, func(c *frame) bool { return c.name == o.name && c.kernel == o.kernel && !taken[c] })
		if i < 0 {
			f.children = append(f.children, o)
			taken[o] = true
			continue
		}
		f.children[i].merge(o)
		taken[f.children[i]] = true
	}
}

// folded is f with the parts that consist of one other part made one with it.
func (f *frame) folded() *frame {
	g := *f
	for len(g.children) == 1 && g.children[0].kernel == "" {
		c := g.children[0]
		g.name, g.path, g.children = g.name+"."+c.name, c.path, c.children
	}
	children := make([]*frame, len(g.children))
	for i, c := range g.children {
		children[i] = c.folded()
	}
	g.children = children
	return &g
}

func (f *frame) depth() int {
	deepest := 0
	for _, c := range f.children {
		deepest = max(deepest, c.depth())
	}
	return 1 + deepest
}

// flamePicture is an SVG in the making.
type flamePicture struct {
	strings.Builder
	y       float64
	total   time.Duration
	colours map[string]string // by kernel
}

// writeFlame draws the steps: nested boxes as wide as the time they take, once
// in the order of execution and once with equal blocks together, and a bar for
// each kernel.
func writeFlame(w io.Writer, title string, all steps) error {
	total := all.total()
	kernels := all.by(func(s timedStep) string { return s.kernel })
	p := &flamePicture{total: max(1, total.duration), colours: map[string]string{}}
	for i, k := range kernels {
		p.colours[k.name] = otherKernels
		if i < len(palette) {
			p.colours[k.name] = palette[i]
		}
	}
	p.y = flameMargin + 8
	p.text(flameMargin, p.y, 16, "bold", title)
	p.y += 20
	p.text(flameMargin, p.y, flameText, "normal", fmt.Sprintf("%.1f ms in %d dispatches, %.1f GFLOP/s", milliseconds(total.duration), total.calls, total.gflops()))
	p.section("In the order of execution")
	p.flame(flames(all).folded())
	p.section("Equal blocks together")
	p.flame(flames(all).blocksTogether().folded())
	p.section("By kernel")
	p.bars(kernels)
	height := p.y + flameMargin
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %[1]g %[2]g" font-family="DejaVu Sans, Verdana, sans-serif">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, flameWidth, height, p.String())
	return err
}

func (p *flamePicture) section(heading string) {
	p.y += 30
	p.text(flameMargin, p.y, 13, "bold", heading)
	p.y += 8
}

// flame draws f below y and moves y there.
func (p *flamePicture) flame(f *frame) {
	p.box(f, flameMargin, p.y, 0)
	p.y += float64(f.depth()) * flameRow
}

func (p *flamePicture) box(f *frame, x, y float64, level int) {
	width := (flameWidth - 2*flameMargin) * float64(f.duration) / float64(p.total)
	fill, colour := [2]string{groupLight, groupDark}[level%2], ink
	label := f.name
	if f.kernel != "" {
		fill, colour = p.colours[f.kernel], "#ffffff"
	}
	hint := fmt.Sprintf("%s: %.3f ms, %s", orAll(f.path), milliseconds(f.duration), p.percent(f.duration))
	if f.kernel != "" {
		hint += ", " + f.kernel
	}
	if f.calls > 1 {
		hint += fmt.Sprintf(", %d dispatches", f.calls)
	}
	if f.duration < p.total {
		label += " " + p.percent(f.duration)
	}
	fmt.Fprintf(p, `<g><title>%s</title><rect x="%.2f" y="%.2f" width="%.2f" height="%g" fill="%s" stroke="#ffffff" stroke-width="%g"/>`,
		escape(hint), x, y, max(0.2, width), flameRow, fill, min(1, width/4))
	if label = fitted(label, f.name, width-6); label != "" {
		p.coloured(x+width/2, y+flameRow/2+4, 11, colour, label)
	}
	p.WriteString("</g>\n")
	for _, c := range f.children {
		p.box(c, x, y+flameRow, level+1)
		x += (flameWidth - 2*flameMargin) * float64(c.duration) / float64(p.total)
	}
}

func orAll(path string) string {
	if path == "" {
		return "all"
	}
	return path
}

func (p *flamePicture) percent(d time.Duration) string {
	return fmt.Sprintf("%.1f %%", 100*float64(d)/float64(p.total))
}

// fitted is what of a label fits a width: all, or the name, or its start, or nothing.
func fitted(label, name string, width float64) string {
	room := int(width / charWidth)
	switch {
	case utf8.RuneCountInString(label) <= room:
		return label
	case utf8.RuneCountInString(name) <= room:
		return name
	case room < 4:
		return ""
	}
	return string([]rune(name)[:room-1]) + "…"
}

// bars draws a bar for each kernel, beside what it says in figures.
func (p *flamePicture) bars(kernels []share) {
	const height, longest, name = 16.0, 420.0, 696.0 // and where the figures end and the names begin:
	columns := []float64{490, 560, 610, 680}
	p.y += 14
	for i, heading := range []string{"%", "ms", "calls", "GFLOP/s"} {
		p.figure(columns[i], p.y, heading)
	}
	p.text(name, p.y, flameText, "normal", "kernel")
	for _, k := range kernels {
		p.y += 4
		width := max(2, longest*float64(k.duration)/float64(p.total))
		fmt.Fprintf(p, `<rect x="%g" y="%.2f" width="%.2f" height="%g" fill="%s"/>`+"\n", flameMargin, p.y, width, height, p.colours[k.name])
		p.y += height
		percent := strings.TrimSuffix(p.percent(k.duration), " %")
		for i, text := range []string{percent, fmt.Sprintf("%.2f", milliseconds(k.duration)), strconv.Itoa(k.calls), k.rate()} {
			p.figure(columns[i], p.y-4, text)
		}
		p.text(name, p.y-4, flameText, "normal", k.name)
	}
}

// figure is text that ends at x.
func (p *flamePicture) figure(x, y float64, s string) {
	fmt.Fprintf(p, `<text x="%.2f" y="%.2f" font-size="%g" text-anchor="end" fill="%s">%s</text>`+"\n", x, y, flameText, ink, escape(s))
}

func (p *flamePicture) text(x, y, size float64, weight, s string) {
	fmt.Fprintf(p, `<text x="%.2f" y="%.2f" font-size="%g" font-weight="%s" fill="%s">%s</text>`+"\n", x, y, size, weight, ink, escape(s))
}

// coloured is text around x.
func (p *flamePicture) coloured(x, y, size float64, colour, s string) {
	fmt.Fprintf(p, `<text x="%.2f" y="%.2f" font-size="%g" text-anchor="middle" fill="%s">%s</text>`, x, y, size, colour, escape(s))
}

func escape(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}

package preprocess

import (
	"math"
	"math/rand/v2"
)

// warp is how a picture comes to lie in the model's: stretched along its own axes, turned,
// and shifted.
type warp struct {
	width, height float64 // shares of the model's size that the picture gets
	turn          float64 // clockwise, in radians
	right, down   float64 // how far its middle moves, in shares of the model's size
}

// drawWarp draws one of strength Affine. Strength 0 has nothing but the whole picture.
func (a Augmentation) drawWarp(rng *rand.Rand) warp {
	g := a.Affine
	if g == 0 {
		return warp{width: 1, height: 1}
	}
	scale := 1 / (1.1 - 0.5*g*rng.Float64())
	stretch := math.Exp(uniform(rng, -0.12*g, 0.12*g) / 2) // of both sides: their ratio has its square
	return warp{
		width: scale * stretch, height: scale / stretch, turn: uniform(rng, -0.2*g, 0.2*g),
		right: uniform(rng, -0.2*g, 0.2*g), down: uniform(rng, -0.2*g, 0.2*g),
	}
}

// warped puts m on a canvas of one colour: RGB [height, width, 3]. A transparent picture is
// put over the colour, too, where over says so, else its alpha is dropped.
func (m *Image) warped(w warp, size [2]int, around [3]uint8, over bool) []uint8 {
	m = m.shrunk(w, size)
	if over {
		m = m.over(around)
	}
	m = &Image{mode: modeRGB, width: m.width, height: m.height, pix: m.RGB()}
	height, width := size[0], size[1]
	sin, cos := math.Sincos(w.turn)
	stepX, stepY := float64(m.width)/(w.width*float64(width)), float64(m.height)/(w.height*float64(height))
	out := make([]uint8, 3*width*height)
	for y := range height {
		dy := float64(y) + 0.5 - float64(height)*(0.5+w.down)
		for x := range width {
			dx := float64(x) + 0.5 - float64(width)*(0.5+w.right)
			px := float64(m.width)/2 + (cos*dx+sin*dy)*stepX
			py := float64(m.height)/2 + (cos*dy-sin*dx)*stepY
			m.sample(out[3*(y*width+x):], px, py, around)
		}
	}
	return out
}

// shrunk resizes m along the axes of which a warp would leave pixels out: bilinear sampling
// reads two of an axis.
func (m *Image) shrunk(w warp, size [2]int) *Image {
	along := func(n int, share float64, most int) axis {
		to := max(1, int(math.Round(share*float64(most))))
		if n <= 2*to {
			to = n
		}
		return axis{n, to, 0, to}
	}
	x, y := along(m.width, w.width, size[1]), along(m.height, w.height, size[0])
	if !x.resized() && !y.resized() {
		return m
	}
	if !m.hasAlpha() { // modes without colours in between have some in RGB
		m = &Image{mode: modeRGB, width: m.width, height: m.height, pix: m.RGB()}
	}
	return m.resize(x, y, bicubic)
}

// over puts a picture with alpha on a colour. Others it returns as they are.
func (m *Image) over(colour [3]uint8) *Image {
	if !m.hasAlpha() {
		return m
	}
	out, n := &Image{mode: modeRGB, width: m.width, height: m.height, pix: m.RGB()}, m.bands()
	for i := range m.width * m.height {
		alpha := uint32(m.pix[i*n+n-1])
		for c, v := range out.pix[3*i : 3*i+3] {
			out.pix[3*i+c] = uint8((uint32(v)*alpha + uint32(colour[c])*(255-alpha) + 127) / 255)
		}
	}
	return out
}

// sample writes the colour of an RGB image at a point, 0 to its width and its height,
// between the middles of four pixels. The image ends within one pixel beyond its border.
func (m *Image) sample(dst []uint8, x, y float64, around [3]uint8) {
	right, bottom := float64(m.width), float64(m.height)
	inside := min(1, 1+x, 1+right-x) * min(1, 1+y, 1+bottom-y)
	if x <= -1 || x >= right+1 || y <= -1 || y >= bottom+1 {
		copy(dst, around[:])
		return
	}
	x, y = max(0, min(x-0.5, right-1)), max(0, min(y-0.5, bottom-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, m.width-1), min(y0+1, m.height-1)
	fx, fy, in := float32(x-float64(x0)), float32(y-float64(y0)), float32(inside)
	a, b := m.pix[3*(y0*m.width+x0):][:3], m.pix[3*(y0*m.width+x1):][:3]
	c, d := m.pix[3*(y1*m.width+x0):][:3], m.pix[3*(y1*m.width+x1):][:3]
	for i := range 3 {
		top := float32(a[i]) + fx*(float32(b[i])-float32(a[i]))
		low := float32(c[i]) + fx*(float32(d[i])-float32(c[i]))
		v, out := top+fy*(low-top), float32(around[i])
		dst[i] = uint8(out + in*(v-out) + 0.5)
	}
}

// drawBackground draws white, a gray, or any colour, one as often as the other.
func drawBackground(rng *rand.Rand) [3]uint8 {
	level := func() uint8 { return uint8(rng.IntN(256)) }
	switch rng.IntN(3) {
	case 0:
		return [3]uint8{255, 255, 255}
	case 1:
		v := level()
		return [3]uint8{v, v, v}
	}
	return [3]uint8{level(), level(), level()}
}

// colours is a linear map of RGB.
type colours [3][3]float32

// The shares of red, green and blue in gray, and what turns what is left of a colour, by a
// right angle, around gray (hueRotate of the W3C's Filter Effects, feColorMatrix).
var (
	grayOf    = [3]float64{0.213, 0.715, 0.072}
	rightTurn = [3][3]float64{{-0.213, -0.715, 0.928}, {0.143, 0.140, -0.283}, {-0.787, 0.715, 0.072}}
)

// newColours turns the hue, in turns, and multiplies saturation and brightness.
func newColours(hue, saturation, brightness float64) (c colours) {
	sin, cos := math.Sincos(2 * math.Pi * hue)
	for i := range c {
		for j, gray := range grayOf {
			rest := -gray
			if i == j {
				rest++
			}
			c[i][j] = float32(brightness * (gray + saturation*(cos*rest+sin*rightTurn[i][j])))
		}
	}
	return c
}

// drawColours draws a change of strength Affine.
func (a Augmentation) drawColours(rng *rand.Rand) colours {
	g := a.Affine
	return newColours(uniform(rng, -0.04*g, 0.04*g), uniform(rng, 1-0.5*g, 1+0.5*g), uniform(rng, 1-0.5*g, 1+0.5*g))
}

// apply changes RGB pixels [n, 3] in place.
func (c colours) apply(pix []uint8) {
	for ; len(pix) >= 3; pix = pix[3:] {
		r, g, b := float32(pix[0]), float32(pix[1]), float32(pix[2])
		for i := range c {
			pix[i] = uint8(max(0, min(c[i][0]*r+c[i][1]*g+c[i][2]*b+0.5, 255)))
		}
	}
}

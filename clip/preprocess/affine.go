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

// drawWarp draws one of strength Affine.
func (a Augmentation) drawWarp(rng *rand.Rand) warp {
	g := a.Affine
	scale := 1.1 - float64(0.5*g*rng.Float64())
	stretch := math.Exp(uniform(rng, -0.12*g, 0.12*g) / 2) // of both sides: their ratio has its square
	return warp{
		width: scale * stretch, height: scale / stretch, turn: uniform(rng, -0.2*g, 0.2*g),
		right: uniform(rng, -0.1*g, 0.1*g), down: uniform(rng, -0.1*g, 0.1*g),
	}
}

// warped puts m on a canvas of one colour: RGB [height, width, 3]. Alpha is dropped at the
// end, as by Transform: colours in between have been weighed by it.
func (m *Image) warped(w warp, size [2]int, around [3]uint8) []uint8 {
	m = m.shrunk(w, size).premultiplied()
	height, width := size[0], size[1]
	sin, cos := math.Sincos(w.turn)
	stepX, stepY := float64(m.width)/(w.width*float64(width)), float64(m.height)/(w.height*float64(height))
	out := newImage(modeRGBA, width, height)
	canvas := [4]uint8{around[0], around[1], around[2], 255}
	for y := range height {
		dy := float64(y) + 0.5 - float64(float64(height)*(0.5+w.down))
		for x := range width {
			dx := float64(x) + 0.5 - float64(float64(width)*(0.5+w.right))
			px := float64(m.width)/2 + float64((float64(cos*dx)+float64(sin*dy))*stepX)
			py := float64(m.height)/2 + float64((float64(cos*dy)-float64(sin*dx))*stepY)
			m.sample(out.pix[4*(y*width+x):], px, py, canvas)
		}
	}
	unpremultiply(out.pix, 4)
	return out.RGB()
}

// mostStep is the longest way from one sample to the next, in pixels. Bilinear sampling sees
// the pixels around each: with longer ways it misses some, and what is fine aliases.
const mostStep = 1.5

// shrunk resizes m along the axes of which a warp would take larger steps.
func (m *Image) shrunk(w warp, size [2]int) *Image {
	along := func(n int, share float64, all int) axis {
		to := max(1, int(math.Round(share*float64(all))))
		if float64(n) <= mostStep*float64(to) {
			to = n
		}
		return scaled(0, n, to)
	}
	x, y := along(m.width, w.width, size[1]), along(m.height, w.height, size[0])
	if !x.resized() && !y.resized() {
		return m
	}
	if !m.hasAlpha() { // modes without colours in between have some in RGB
		m = m.inRGB()
	}
	return m.resize(x, y, bicubic)
}

// premultiplied is m in RGBA, its colours multiplied by alpha.
func (m *Image) premultiplied() *Image {
	out, rgb := newImage(modeRGBA, m.width, m.height), m.inRGB().pix
	for i := range m.width * m.height {
		px, from := out.pix[4*i:4*i+4:4*i+4], rgb[3*i:3*i+3:3*i+3]
		px[0], px[1], px[2], px[3] = from[0], from[1], from[2], 255
	}
	if m.hasAlpha() {
		for i, v := range m.alpha() {
			out.pix[4*i+3] = v
		}
		premultiplyInto(out.pix, out.pix, 4)
	}
	return out
}

// alpha is that of all pixels [height, width], or nil where none is transparent.
func (m *Image) alpha() []uint8 {
	if !m.hasAlpha() && m.opacity == nil {
		return nil
	}
	out, n := make([]uint8, m.width*m.height), m.bands()
	for i := range out {
		if out[i] = m.pix[i*n+n-1]; m.opacity != nil {
			out[i] = m.opacity[out[i]]
		}
	}
	return out
}

// over is a transparent m on a colour, in RGB, and any other as it is.
func (m *Image) over(colour [3]uint8) *Image {
	alpha := m.alpha()
	if alpha == nil {
		return m
	}
	out := &Image{mode: modeRGB, width: m.width, height: m.height, pix: m.RGB()}
	for i, v := range alpha {
		share := uint32(v)
		for c, v := range out.pix[3*i : 3*i+3] {
			out.pix[3*i+c] = uint8((uint32(v)*share + uint32(colour[c])*(255-share) + 127) / 255)
		}
	}
	return out
}

// sample writes what an RGBA image shows at a point, 0 to its width and its height, in
// between the middles of four pixels. From its border on it fades within a pixel.
func (m *Image) sample(dst []uint8, x, y float64, around [4]uint8) {
	right, bottom := float64(m.width), float64(m.height)
	if x <= -1 || x >= right+1 || y <= -1 || y >= bottom+1 {
		copy(dst, around[:])
		return
	}
	inside := float32(min(1, 1+x, 1+right-x) * min(1, 1+y, 1+bottom-y))
	x, y = max(0, min(x-0.5, right-1)), max(0, min(y-0.5, bottom-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, m.width-1), min(y0+1, m.height-1)
	fx, fy := float32(x-float64(x0)), float32(y-float64(y0))
	a, b := m.pix[4*(y0*m.width+x0):][:4], m.pix[4*(y0*m.width+x1):][:4]
	c, d := m.pix[4*(y1*m.width+x0):][:4], m.pix[4*(y1*m.width+x1):][:4]
	for i, out := range around {
		top := between(float32(a[i]), float32(b[i]), fx)
		low := between(float32(c[i]), float32(d[i]), fx)
		dst[i] = uint8(between(float32(out), between(top, low, fy), inside) + 0.5)
	}
}

// between is a at share 0 and b at 1.
func between(a, b, share float32) float32 { return a + float32(share*(b-a)) }

// drawBackground draws white in three of five, else a gray or any colour, one as often as
// the other.
func drawBackground(rng *rand.Rand) [3]uint8 {
	level := func() uint8 { return uint8(rng.IntN(256)) }
	switch rng.IntN(5) {
	case 0, 1, 2:
		return [3]uint8{255, 255, 255}
	case 3:
		v := level()
		return [3]uint8{v, v, v}
	}
	return [3]uint8{level(), level(), level()}
}

// colours is a linear map of RGB.
type colours [3][3]float32

// grayOf has the shares of red, green and blue in gray. rightTurn turns the hue of a colour
// by a right angle and leaves no gray: the hue's cosine and sine mix the two (hueRotate of
// feColorMatrix in the W3C's Filter Effects).
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
			sum := float32(c[i][0]*r) + float32(c[i][1]*g) + float32(c[i][2]*b)
			pix[i] = uint8(max(0, min(sum+0.5, 255)))
		}
	}
}

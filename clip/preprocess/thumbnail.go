package preprocess

import (
	"image"
	"math"
)

// Thumbnail is m in RGB, as large as fits side by side pixels, and not larger than m.
func (m *Image) Thumbnail(side int) *image.RGBA {
	w, h := m.width, m.height
	if long := max(w, h); long > side {
		ratio := float64(side) / float64(long)
		w, h = max(1, int(math.Round(float64(w)*ratio))), max(1, int(math.Round(float64(h)*ratio)))
		if m.mode == modeP || m.mode == modeBilevel { // which have no colours in between
			m = m.inRGB()
		}
		m = m.resize(scaled(0, m.width, w), scaled(0, m.height, h), bilinear)
	}
	out, rgb := image.NewRGBA(image.Rect(0, 0, w, h)), m.inRGB().pix
	for i := range w * h {
		copy(out.Pix[4*i:], rgb[3*i:3*i+3])
		out.Pix[4*i+3] = 0xff
	}
	return out
}

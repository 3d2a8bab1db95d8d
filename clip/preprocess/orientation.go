package preprocess

const tagOrientation = 0x0112

// withEXIF turns m upright by the orientation in EXIF data where o asks for it,
// and otherwise notes the orientation in m, which is not shared yet.
func (m *Image) withEXIF(data []byte, o options) *Image {
	d, err := readIFD(data)
	if err != nil {
		return m
	}
	orientation := d.int(tagOrientation, 1)
	if o.orient {
		return m.oriented(orientation)
	}
	m.orientation = orientation
	return m
}

// oriented turns an image with the given EXIF orientation upright.
func (m *Image) oriented(orientation int) *Image {
	if orientation < 2 || orientation > 8 {
		return m
	}
	// Orientations 5 to 8 swap the axes; rows and columns then run backwards
	// as the value says (EXIF 2.32, 4.6.4 A).
	transpose := orientation >= 5
	flipX := orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7
	flipY := orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8
	w, h := m.width, m.height
	if transpose {
		w, h = h, w
	}
	out, n := m.like(w, h), m.bands()
	for y := range h {
		for x := range w {
			sx, sy := x, y
			if flipX {
				sx = w - 1 - x
			}
			if flipY {
				sy = h - 1 - y
			}
			if transpose {
				sx, sy = sy, sx
			}
			dst, src := y*w+x, sy*m.width+sx
			if m.mode == modeI {
				out.wide[dst] = m.wide[src]
			} else {
				copy(out.pix[dst*n:(dst+1)*n], m.pix[src*n:])
			}
		}
	}
	return out
}

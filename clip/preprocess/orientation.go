package preprocess

// transposes tells whether an image is turned to the side by an orientation.
func transposes(orientation int) bool { return orientation >= 5 && orientation <= 8 }

// oriented turns an image with the given EXIF orientation upright, in memory.
func (m *Image) oriented(orientation int, memory *[]uint8) *Image {
	if orientation < 2 || orientation > 8 {
		return m
	}
	// Orientations 5 to 8 swap the axes; rows and columns then run backwards
	// as the value says (EXIF 2.32, 4.6.4 A).
	transpose := transposes(orientation)
	flipX := orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7
	flipY := orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8
	w, h := m.width, m.height
	from, dx, dy := 0, 1, m.width // pixels of m: the first, and those to the next column and row
	if transpose {
		w, h, dx, dy = h, w, dy, dx
	}
	if flipX {
		from, dx = from+(w-1)*dx, -dx
	}
	if flipY {
		from, dy = from+(h-1)*dy, -dy
	}
	out := newImageIn(memory, m.mode, w, h)
	out.palette, out.opacity = m.palette, m.opacity
	out.taken, out.fullWidth, out.fullHeight = m.taken, m.fullWidth, m.fullHeight
	if transpose {
		out.fullWidth, out.fullHeight = m.fullHeight, m.fullWidth
	}
	turn(out.wide, m.wide, 1, w, from, dx, dy)
	turn(out.pix, m.pix, m.bands(), w, from, dx, dy)
	return out
}

// turn fills dst, rows of w pixels of n values, with those of src that begin at from
// and are dx and dy apart. It goes by squares, because the rows of dst may be columns
// of src.
func turn[T uint8 | int32](dst, src []T, n, w, from, dx, dy int) {
	const side = 32
	h := len(dst) / n / w
	for top := 0; top < h; top += side {
		for left := 0; left < w; left += side {
			for y := top; y < min(top+side, h); y++ {
				row := dst[(y*w+left)*n : (y*w+min(left+side, w))*n]
				turnRow(row, src, n, from+y*dy+left*dx, dx)
			}
		}
	}
}

func turnRow[T uint8 | int32](dst, src []T, n, at, dx int) {
	if n == 3 {
		for ; len(dst) >= 3; dst, at = dst[3:], at+dx {
			px := src[3*at : 3*at+3 : 3*at+3]
			dst[0], dst[1], dst[2] = px[0], px[1], px[2]
		}
		return
	}
	for ; len(dst) > 0; dst, at = dst[n:], at+dx {
		for b, v := range src[at*n : at*n+n] {
			dst[b] = v
		}
	}
}

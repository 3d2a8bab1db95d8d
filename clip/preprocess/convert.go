package preprocess

// RGB returns the image converted to RGB as Pillow's convert("RGB") does,
// [height, width, 3].
func (m *Image) RGB() []uint8 {
	out := make([]uint8, 3*m.width*m.height)
	switch m.mode {
	case modeRGB:
		copy(out, m.pix)
	case modeRGBA:
		for i, j := 0, 0; i < len(m.pix); i, j = i+4, j+3 {
			copy(out[j:j+3], m.pix[i:])
		}
	case modeP:
		var colours [256][3]uint8 // an index that the file gives no colour for is black
		copy(colours[:], m.palette)
		for i, v := range m.pix {
			copy(out[3*i:], colours[v][:])
		}
	case modeCMYK:
		for i, j := 0, 0; i < len(m.pix); i, j = i+4, j+3 {
			light := 255 - int32(m.pix[i+3])
			for b := range 3 {
				out[j+b] = clip8(light - int32(mulDiv255(m.pix[i+b], uint8(light))))
			}
		}
	case modeI:
		for i, v := range m.wide {
			setGray(out[3*i:], clip8(v))
		}
	case modeBilevel:
		for i, v := range m.pix {
			if v != 0 {
				setGray(out[3*i:], 255)
			}
		}
	default: // L, LA
		n := m.bands()
		for i, j := 0, 0; i < len(m.pix); i, j = i+n, j+3 {
			setGray(out[j:], m.pix[i])
		}
	}
	return out
}

func setGray(px []uint8, v uint8) { px[0], px[1], px[2] = v, v, v }

func clip8(v int32) uint8 { return uint8(max(0, min(v, 255))) }

// mulDiv255 is a*b/255, rounded (Pillow's MULDIV255).
func mulDiv255(a, b uint8) uint8 {
	t := uint32(a)*uint32(b) + 128
	return uint8((t>>8 + t) >> 8)
}

// premultiplied returns pix with all bands but the last, alpha, multiplied by
// alpha: Pillow's LA to La and RGBA to RGBa.
func premultiplied(pix []uint8, bands int) []uint8 {
	out := make([]uint8, len(pix))
	for i := 0; i < len(pix); i += bands {
		alpha := pix[i+bands-1]
		for b := i; b < i+bands-1; b++ {
			out[b] = mulDiv255(pix[b], alpha)
		}
		out[i+bands-1] = alpha
	}
	return out
}

// unpremultiply is the way back, in place. Rounding during a resize can leave
// a colour above its alpha, hence the clip.
func unpremultiply(pix []uint8, bands int) {
	for i := 0; i < len(pix); i += bands {
		alpha := int32(pix[i+bands-1])
		if alpha == 0 || alpha == 255 {
			continue
		}
		for b := i; b < i+bands-1; b++ {
			pix[b] = clip8(255 * int32(pix[b]) / alpha)
		}
	}
}

// clearTransparent makes RGBA pixels without any opacity black.
func clearTransparent(pix []uint8) {
	for i := 0; i < len(pix); i += 4 {
		if pix[i+3] == 0 {
			clear(pix[i : i+4])
		}
	}
}

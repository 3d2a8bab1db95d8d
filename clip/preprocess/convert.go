package preprocess

import "encoding/binary"

// RGB returns the image converted to RGB as Pillow's convert("RGB") does,
// [height, width, 3].
func (m *Image) RGB() []uint8 {
	out := make([]uint8, 3*m.width*m.height)
	switch m.mode {
	case modeRGB:
		copy(out, m.pix)
	case modeRGBA:
		for i, j := 0, 0; i < len(m.pix); i, j = i+4, j+3 {
			px := m.pix[i : i+3 : i+3]
			out[j], out[j+1], out[j+2] = px[0], px[1], px[2]
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

// inRGB is m in mode RGB: m itself, where it has that mode.
func (m *Image) inRGB() *Image {
	if m.mode == modeRGB {
		return m
	}
	return &Image{mode: modeRGB, width: m.width, height: m.height, pix: m.RGB()}
}

func setGray(px []uint8, v uint8) { px[0], px[1], px[2] = v, v, v }

func clip8(v int32) uint8 { return uint8(max(0, min(v, 255))) }

// mulDiv255 is a*b/255, rounded (Pillow's MULDIV255).
func mulDiv255(a, b uint8) uint8 {
	t := uint32(a)*uint32(b) + 128
	return uint8((t>>8 + t) >> 8)
}

// premultiplyInto writes pix to out with all bands but the last, alpha, multiplied
// by alpha: Pillow's LA to La and RGBA to RGBa.
func premultiplyInto(out, pix []uint8, bands int) {
	if bands == 2 {
		for i := 0; i+2 <= len(pix); i += 2 {
			out[i], out[i+1] = mulDiv255(pix[i], pix[i+1]), pix[i+1]
		}
		return
	}
	le := binary.LittleEndian
	for ; len(pix) >= 4; out, pix = out[4:], pix[4:] {
		// mulDiv255 of the three colours at once, in 16 bits each.
		const low = 0x00ff_00ff_00ff
		v := uint64(le.Uint32(pix))
		t := (v&0xff|v<<8&0xff_0000|v<<16&0xff_0000_0000)*(v>>24) + 0x0080_0080_0080
		t = (t>>8&low + t) >> 8 & low
		le.PutUint32(out, uint32(t&0xff|t>>8&0xff00|t>>16&0xff_0000|v&0xff00_0000))
	}
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

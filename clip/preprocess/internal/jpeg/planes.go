package jpeg

import "image"

// FromYCbCr makes RGB, [height, width, 3], of planes as Decode does. A sub-image may begin
// within the pixels that its first samples of chroma stand for.
func FromYCbCr(s *image.YCbCr) []uint8 {
	w, h := s.Rect.Dx(), s.Rect.Dy()
	hs, vs := 1, 1
	switch s.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		hs = 2
	case image.YCbCrSubsampleRatio420:
		hs, vs = 2, 2
	case image.YCbCrSubsampleRatio440:
		vs = 2
	case image.YCbCrSubsampleRatio411:
		hs = 4
	case image.YCbCrSubsampleRatio410:
		hs, vs = 4, 2
	}
	o := &output{dst: make([]uint8, 3*w*h), width: w, height: h, groups: h, vMax: 1, ycc: true}
	for i, pix := range [][]uint8{s.Y, s.Cb, s.Cr} {
		p := plane{pix: pix, stride: s.CStride, hs: hs, vs: vs, fancy: true}
		if i == 0 {
			p.stride, p.hs, p.vs = s.YStride, 1, 1
		}
		p.left, p.top = max(0, s.Rect.Min.X%p.hs), max(0, s.Rect.Min.Y%p.vs)
		p.width, p.height = ceilDiv(p.left+w, p.hs), ceilDiv(p.top+h, p.vs)
		p.rows = p.height
		p.line = make([]uint8, p.width*p.hs)
		o.planes = append(o.planes, p)
	}
	o.band(0)
	return o.dst
}

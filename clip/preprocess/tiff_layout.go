package preprocess

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Values of TIFF tags.
const (
	tiffWhiteIsZero, tiffBlackIsZero, tiffRGB, tiffPalette, tiffSeparated, tiffYCbCr = 0, 1, 2, 3, 5, 6 // PhotometricInterpretation

	tiffUnsigned, tiffSigned, tiffFloat = 1, 2, 3 // SampleFormat

	tiffNoAlpha, tiffIgnored, tiffAssociated, tiffUnassociated = -1, 0, 1, 2 // the first of ExtraSamples
)

// tiffLayout says how pixels are stored, and the mode that they are read in.
type tiffLayout struct {
	mode        string
	photometric int
	bits        int // of a sample
	samples     int // of a pixel, with extra ones
	stored      int // samples of a pixel that lie beside each other: all, or 1 where planes are apart
	format      int
	alpha       int // the meaning of the first extra sample
	predictor   int
}

type tiffKind struct{ photometric, bits, alpha int }

// tiffModes are Pillow's modes (OPEN_INFO of its TiffImagePlugin).
var tiffModes = map[tiffKind]string{
	{tiffWhiteIsZero, 1, tiffNoAlpha}:      modeBilevel,
	{tiffWhiteIsZero, 2, tiffNoAlpha}:      modeL,
	{tiffWhiteIsZero, 4, tiffNoAlpha}:      modeL,
	{tiffWhiteIsZero, 8, tiffNoAlpha}:      modeL,
	{tiffWhiteIsZero, 16, tiffNoAlpha}:     modeI, // not inverted, see unpack
	{tiffBlackIsZero, 1, tiffNoAlpha}:      modeBilevel,
	{tiffBlackIsZero, 2, tiffNoAlpha}:      modeL,
	{tiffBlackIsZero, 4, tiffNoAlpha}:      modeL,
	{tiffBlackIsZero, 8, tiffNoAlpha}:      modeL,
	{tiffBlackIsZero, 12, tiffNoAlpha}:     modeI,
	{tiffBlackIsZero, 16, tiffNoAlpha}:     modeI,
	{tiffBlackIsZero, 32, tiffNoAlpha}:     modeI,
	{tiffBlackIsZero, 8, tiffIgnored}:      modeL,
	{tiffBlackIsZero, 8, tiffUnassociated}: modeLA,
	{tiffRGB, 8, tiffNoAlpha}:              modeRGB,
	{tiffRGB, 8, tiffIgnored}:              modeRGB,
	{tiffRGB, 8, tiffAssociated}:           modeRGBA,
	{tiffRGB, 8, tiffUnassociated}:         modeRGBA,
	{tiffRGB, 16, tiffNoAlpha}:             modeRGB,
	{tiffRGB, 16, tiffIgnored}:             modeRGB,
	{tiffRGB, 16, tiffAssociated}:          modeRGBA,
	{tiffRGB, 16, tiffUnassociated}:        modeRGBA,
	{tiffPalette, 1, tiffNoAlpha}:          modeP,
	{tiffPalette, 2, tiffNoAlpha}:          modeP,
	{tiffPalette, 4, tiffNoAlpha}:          modeP,
	{tiffPalette, 8, tiffNoAlpha}:          modeP,
	{tiffPalette, 8, tiffIgnored}:          modeP,
	{tiffSeparated, 8, tiffNoAlpha}:        modeCMYK,
	{tiffSeparated, 8, tiffIgnored}:        modeCMYK,
	{tiffSeparated, 16, tiffNoAlpha}:       modeCMYK,
	{tiffYCbCr, 8, tiffNoAlpha}:            modeRGB, // only of JPEG, which converts
}

var tiffPhotometrics = map[int]string{
	0: "inverted gray", 1: "gray", 2: "RGB", 3: "palette", 4: "transparency mask", 5: "CMYK", 6: "YCbCr without JPEG compression",
	8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "colour filter array", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw",
}

func tiffPhotometricName(v int) string {
	if name := tiffPhotometrics[v]; name != "" {
		return name
	}
	return fmt.Sprintf("photometric interpretation %d", v)
}

func unsupportedTIFF(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupportedFormat, fmt.Sprintf(format, args...))
}

// readLayout reads the tags about samples, and refuses what is not read here.
func (f *tiffFile) readLayout() error {
	f.compression = f.int(tagCompression, tiffUncompressed)
	f.photometric = f.int(tagPhotometric, tiffWhiteIsZero)
	f.predictor = f.int(tagPredictor, tiffNoPredictor)
	if !slices.Contains(tiffCompressions, f.compression) {
		return unsupportedTIFF("%s", tiffCompressionName(f.compression))
	}
	if f.count(tagPhotometric) > 1 { // Pillow takes none of them
		f.photometric = tiffWhiteIsZero
	}
	fillOrder, planar := f.int(tagFillOrder, 1), f.int(tagPlanar, 1)
	if fillOrder < 1 || fillOrder > 2 {
		return unsupportedTIFF("FillOrder %d", fillOrder)
	}
	f.reversed = fillOrder == 2
	if (planar < 1 || planar > 2) && f.compression != tiffUncompressed {
		return unsupportedTIFF("PlanarConfiguration %d", planar)
	}
	if jpeg := f.compression == tiffJPEG && planar == 1; f.photometric > tiffSeparated && !(f.photometric == tiffYCbCr && jpeg) {
		return unsupportedTIFF("%s", tiffPhotometricName(f.photometric))
	}
	if err := f.readSamples(planar == 2); err != nil {
		return err
	}
	mode, known := tiffModes[tiffKind{f.photometric, f.bits, f.alpha}]
	if !known {
		return unsupportedTIFF("%d-bit %s with extra samples %v", f.bits, tiffPhotometricName(f.photometric), f.ints(tagExtraSamples, maxTIFFSamples))
	}
	f.mode = mode
	f.planes, f.stored = 1, f.samples
	if planar == 2 && f.samples > 1 {
		f.planes, f.stored = (&Image{mode: mode}).bands(), 1
	}
	return cmp.Or(f.checkFormat(), f.checkPlanes(planar == 2), f.checkCodec())
}

// maxTIFFSamples is the most samples of a pixel that Pillow reads.
const maxTIFFSamples = 6

// readSamples counts the samples of a pixel and finds what the extra ones are.
func (f *tiffFile) readSamples(planar bool) error {
	f.samples = f.int(tagSamplesPerPixel, 1)
	if f.samples < 1 || f.samples > maxTIFFSamples {
		return unsupportedTIFF("%d samples a pixel", f.samples)
	}
	f.bits, f.format = f.int(tagBitsPerSample, 1), f.int(tagSampleFormat, tiffUnsigned)
	bits, formats := f.ints(tagBitsPerSample, f.samples), f.ints(tagSampleFormat, maxTIFFSamples)
	if slices.ContainsFunc(bits, func(b int) bool { return b != f.bits }) || len(bits) > 1 && len(bits) < f.samples {
		return unsupportedTIFF("%d samples of %v bits", f.samples, bits)
	}
	if slices.ContainsFunc(formats, func(v int) bool { return v != f.format }) {
		return unsupportedTIFF("sample formats %v", formats)
	}
	colours := max(1, map[int]int{tiffRGB: 3, tiffYCbCr: 3, tiffSeparated: 4}[f.photometric])
	extra := f.ints(tagExtraSamples, maxTIFFSamples+1)
	f.alpha = tiffNoAlpha
	switch {
	case len(extra) > 0:
		f.alpha = extra[0]
		const corelDraw = 999 // wrote this for unassociated
		if f.alpha == corelDraw {
			f.alpha = tiffUnassociated
		}
	case f.photometric == tiffRGB && f.samples == 4:
		f.alpha, colours = tiffUnassociated, 4
		if planar && f.compression != tiffUncompressed { // as it happens in Pillow
			f.alpha = tiffAssociated
		}
	}
	if colours+len(extra) != f.samples {
		return unsupportedTIFF("%d samples a pixel of %s with extra samples %v", f.samples, tiffPhotometricName(f.photometric), extra)
	}
	// Extra samples after the first may be there, but must have no meaning.
	if len(extra) > 1 && slices.ContainsFunc(extra[1:], func(e int) bool { return e != tiffIgnored }) {
		return unsupportedTIFF("extra samples %v", extra)
	}
	return nil
}

// checkFormat refuses samples that are no unsigned integers, but for signed gray
// where Pillow reads it.
func (f *tiffFile) checkFormat() error {
	switch {
	case f.photometric == tiffWhiteIsZero && f.bits == 16 && f.order == binary.BigEndian:
		return unsupportedTIFF("big-endian 16-bit inverted gray")
	case f.format == tiffUnsigned:
		return nil
	case f.format == tiffFloat:
		return unsupportedTIFF("floating-point samples")
	case f.format != tiffSigned:
		return unsupportedTIFF("sample format %d", f.format)
	case f.photometric != tiffBlackIsZero || f.alpha != tiffNoAlpha || f.bits < 8 || f.bits == 12:
		return unsupportedTIFF("signed samples other than gray")
	// Pillow swaps the bytes of these twice.
	case f.bits > 8 && f.compression != tiffUncompressed && f.order == binary.BigEndian:
		return unsupportedTIFF("compressed big-endian signed samples")
	}
	return nil
}

// checkPlanes refuses planes that Pillow cannot read or misreads.
func (f *tiffFile) checkPlanes(planar bool) error {
	if f.planes > 1 && f.mode == modeLA {
		return unsupportedTIFF("planes of gray with alpha")
	}
	if !planar || f.compression != tiffUncompressed {
		return nil
	}
	order := ""
	if f.reversed {
		order = ", FillOrder 2"
	}
	plain := f.bits == 8 || f.mode == modeBilevel
	guessed := f.mode == modeRGBA && f.count(tagExtraSamples) == 0 && f.count(tagStripOffsets) == 0 // Pillow gets the stride of such tiles wrong
	if !plain || guessed || f.reversed || f.photometric == tiffWhiteIsZero {
		return unsupportedTIFF("uncompressed planar configuration of %d-bit %s%s", f.bits, tiffPhotometricName(f.photometric), order)
	}
	return nil
}

// rowBytes returns the length of a row of pixels, or of one of their planes.
func (f *tiffFile) rowBytes(cols int) int { return ceilDiv(cols*f.stored*f.bits, 8) }

// unpack makes cols pixels of m, from its pixel at on, of a row of samples.
func (f *tiffFile) unpack(m *Image, at, cols int, row []byte, plane int) {
	n := m.bands()
	switch {
	case f.mode == modeI:
		f.unpackWide(m.wide[at:at+cols], row)
		return
	case f.bits < 8:
		f.spread.samples(m.pix[at:at+cols], row)
		return
	case f.asStored(n):
		copy(m.pix[at*n:], row[:cols*n])
	default:
		f.pickHighBytes(m.pix[at*n+plane:(at+cols)*n], row, cols, n)
	}
	if f.photometric == tiffWhiteIsZero {
		for i := range m.pix[at : at+cols] {
			m.pix[at+i] = ^m.pix[at+i]
		}
	}
}

// asStored tells whether chunks have the pixels of n bands as an image has them, if
// white is not zero.
func (f *tiffFile) asStored(n int) bool { return f.bits == 8 && f.stored == n }

// pickHighBytes leaves out extra samples and the low bytes of 16 bits.
func (f *tiffFile) pickHighBytes(out, row []byte, cols, bands int) {
	size := f.bits / 8
	if f.order == binary.LittleEndian {
		row = row[size-1:]
	}
	used := min(bands, f.stored)
	for x := range cols {
		px := row[x*f.stored*size:]
		for b := range used {
			out[x*bands+b] = px[b*size]
		}
	}
}

// bitSpreader returns what reads samples of 1, 2 or 4 bits: palette indices, or levels
// that are spread over 0 to 255.
func (f *tiffFile) bitSpreader() *bitSpreader {
	top := uint8(1<<f.bits - 1)
	scale, flip := 255/top, uint8(0)
	if f.mode == modeP {
		scale = 1
	}
	if f.photometric == tiffWhiteIsZero {
		flip = top
	}
	return newBitSpreader(f.bits, scale, flip)
}

// unpackWide reads gray of 12, 16 or 32 bits. Pillow does not invert it where
// white is zero.
func (f *tiffFile) unpackWide(out []int32, row []byte) {
	for x := range out {
		switch f.bits {
		case 12:
			i := x / 2 * 3
			if x%2 == 0 {
				out[x] = int32(row[i])<<4 | int32(row[i+1])>>4
			} else {
				out[x] = int32(row[i+1]&15)<<8 | int32(row[i+2])
			}
		case 16:
			v := f.order.Uint16(row[2*x:])
			if out[x] = int32(v); f.format == tiffSigned {
				out[x] = int32(int16(v))
			}
		default:
			out[x] = int32(f.order.Uint32(row[4*x:]))
		}
	}
}

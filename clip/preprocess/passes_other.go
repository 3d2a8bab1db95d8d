//go:build !amd64 || purego

package preprocess

type packed16 struct{}

// packedWeights says how far the horizontal pass reads into a row.
type packedWeights struct{ reach int }

func (w weights[K]) pack(bands int, _ *packed16) packedWeights {
	_, end := w.span()
	return packedWeights{reach: end * bands}
}

// horizontal makes lines of rowsAtOnce rows of src.
func (p *passes) horizontal(lines, src []uint8, stride int) {
	for j := range rowsAtOnce {
		p.horizontalGo(lines[j*p.stride:], src[j*stride:])
	}
}

// vertical makes a row of the result of the lines that k weighs.
func (p *passes) vertical(dst, lines []uint8, k []int32) { p.verticalGo(dst, lines, k) }

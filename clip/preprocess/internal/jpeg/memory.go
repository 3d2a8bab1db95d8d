package jpeg

import "unsafe"

// Memory is what decoding takes. It serves one file after another. The zero value is
// empty and grows.
type Memory struct {
	// blocks are coefficients. Pixels are put where they were: pixels grow from the
	// front while coefficients, which lie at the end, are used up.
	blocks  []kept
	samples []uint8
}

// BlockBytes is what a block of coefficients takes between scans.
const BlockBytes = int(unsafe.Sizeof(kept{}))

// spareBlocks is how many blocks are kept for a file that needs few: 68 MiB.
const spareBlocks = 1 << 19

// reserve makes room for coefs blocks at the end and pixels bytes at the front.
func (m *Memory) reserve(coefs, pixels int) (blocks []kept, pix []uint8) {
	n := max(coefs, ceilDiv(pixels, BlockBytes))
	if n > cap(m.blocks) || cap(m.blocks) > max(2*n, spareBlocks) {
		m.blocks = nil // so that it is free before the next is taken
		m.blocks = make([]kept, n)
	} else {
		m.blocks = m.blocks[:n]
		clear(m.blocks[n-coefs:])
	}
	return m.blocks[n-coefs:], unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(m.blocks))), pixels)
}

// rows makes room for n samples.
func (m *Memory) rows(n int) []uint8 {
	if n > cap(m.samples) {
		m.samples = make([]uint8, n)
	}
	return m.samples[:n]
}

package jpeg

import "fmt"

// huffmanSpec is a table as a DHT segment has it.
type huffmanSpec struct {
	counts  [17]uint8 // of the codes of 1 to 16 bits
	symbols [256]uint8
	built   *huffman
}

// lookBits is the length of the bits that look up a code.
const lookBits = 10

// blockEnd is more zeros than a block has, also if damaged data go past its end.
const blockEnd = 128

// huffman decodes the codes of a table.
type huffman struct {
	// look tells by the next bits: the code's length in the low byte and its
	// symbol in the next, or 0 where the code is longer.
	look [1 << lookBits]uint16
	// whole tells by the next bits of AC coefficients, where they hold all of one:
	// its value in the high 16 bits, the zeros before it, and the length of all. An end
	// of block is blockEnd zeros. Or 0.
	whole   [1 << lookBits]int32
	maxCode [18]int32 // the largest code of each length, or -1
	offset  [18]int32 // what makes a code of a length the index of its symbol
	symbols *[256]uint8
}

func (r *reader) huffmanTables(body []byte) error {
	for len(body) > 16 {
		class, index := body[0]>>4, int(body[0]&15)
		if class > 1 || index > 3 {
			return fmt.Errorf("Huffman table %#x", body[0])
		}
		spec, n := &huffmanSpec{}, 0
		for i, count := range body[1:17] {
			spec.counts[i+1] = count
			n += int(count)
		}
		body = body[17:]
		if n > 256 || n > len(body) {
			return fmt.Errorf("Huffman table of %d codes", n)
		}
		copy(spec.symbols[:], body[:n])
		body = body[n:]
		r.huffman[class][index] = spec
	}
	if len(body) != 0 {
		return fmt.Errorf("%d bytes after a Huffman table", len(body))
	}
	return nil
}

// table returns the decoder of a table. Files that are not progressive may leave out
// the standard ones, as frames of Motion JPEG do.
func (r *reader) table(class, index int) (*huffman, error) {
	var spec *huffmanSpec
	if index < 4 {
		spec = r.huffman[class][index]
	}
	if spec == nil && index < 2 && !r.header.Progressive {
		standard := &huffmanSpec{}
		text := standardHuffman[class][index]
		copy(standard.counts[1:], text[:16])
		copy(standard.symbols[:], text[16:])
		r.huffman[class][index], spec = standard, standard
	}
	if spec == nil {
		return nil, fmt.Errorf("no Huffman table %d", index)
	}
	if spec.built == nil {
		h, err := spec.build(class == 0)
		if err != nil {
			return nil, err
		}
		spec.built = h
	}
	return spec.built, nil
}

// build derives the codes (ITU T.81, annex C).
func (s *huffmanSpec) build(dc bool) (*huffman, error) {
	h := &huffman{symbols: &s.symbols}
	code, k := 0, 0
	for length := 1; length <= 16; length++ {
		h.maxCode[length] = -1
		count := int(s.counts[length])
		if count > 0 {
			h.offset[length] = int32(k - code)
			h.maxCode[length] = int32(code + count - 1)
		}
		for range count {
			if dc && s.symbols[k] > 15 {
				return nil, fmt.Errorf("DC coefficient of %d bits", s.symbols[k])
			}
			if code >= 1<<length-1 { // no code is all ones
				return nil, fmt.Errorf("too many Huffman codes of %d bits", length)
			}
			if rest := lookBits - length; rest >= 0 {
				h.enter(code<<rest, 1<<rest, length, s.symbols[k])
			}
			code++
			k++
		}
		code <<= 1
	}
	return h, nil
}

// enter notes a code for the n bit strings from first on that start with it.
func (h *huffman) enter(first, n, length int, symbol uint8) {
	zeros, size := int32(symbol>>4), int(symbol&15)
	for i := first; i < first+n; i++ {
		h.look[i] = uint16(symbol)<<8 | uint16(length)
		if symbol == 0 {
			h.whole[i] = blockEnd<<8 | int32(length)
		}
		if rest := lookBits - length - size; size > 0 && rest >= 0 {
			value := extend(int32(i>>rest&(1<<size-1)), uint(size))
			h.whole[i] = value<<16 | zeros<<8 | int32(length+size)
		}
	}
}

// extend gives the value of a coefficient by its size bits (figure F.12).
func extend(v int32, size uint) int32 {
	if v < 1<<size>>1 {
		v += -1<<size + 1
	}
	return v
}

// symbol decodes the next symbol. Bits that are no code are zero, as in libjpeg. The
// caller has filled.
func (b *bits) symbol(h *huffman) uint8 {
	if e := h.look[b.acc>>(64-lookBits)]; e != 0 {
		b.acc <<= e & 31
		b.n -= int(e & 31)
		return uint8(e >> 8)
	}
	return b.longSymbol(h)
}

func (b *bits) longSymbol(h *huffman) uint8 {
	for length := uint(lookBits + 1); length <= 16; length++ {
		if code := int32(b.acc >> (64 - length)); code <= h.maxCode[length] {
			b.acc <<= length
			b.n -= int(length)
			return h.symbols[uint8(code+h.offset[length])]
		}
	}
	b.acc <<= 17
	b.n -= 17
	return 0
}

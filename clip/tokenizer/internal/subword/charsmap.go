package subword

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// CharsMap is sentencepiece's precompiled_charsmap: a double-array trie (Darts)
// of byte strings whose values are offsets of their NUL-ended replacements.
type CharsMap struct {
	units        []uint32
	replacements []byte
}

// ParseCharsMap reads the size of the trie in bytes (uint32, little endian), the
// trie and the replacements. Nothing is a map that replaces nothing.
func ParseCharsMap(data []byte) (*CharsMap, error) {
	if len(data) == 0 {
		return &CharsMap{}, nil
	}
	if len(data) < 4 {
		return nil, errors.New("precompiled_charsmap is cut short")
	}
	size, rest := int64(binary.LittleEndian.Uint32(data)), data[4:]
	if size > int64(len(rest)) || size%4 != 0 || size == 0 {
		return nil, fmt.Errorf("precompiled_charsmap: a trie of %d bytes in %d", size, len(rest))
	}
	m := &CharsMap{units: make([]uint32, size/4), replacements: rest[size:]}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(rest[4*i:])
	}
	if !utf8.Valid(m.replacements) {
		return nil, errors.New("precompiled_charsmap: the replacements are not UTF-8")
	}
	return m, nil
}

// Longest returns the replacement of the longest key that text starts with, and
// the key's length in bytes, 0 if there is none.
func (m *CharsMap) Longest(text string) (replacement string, length int) {
	m.search(text, func(n int, offset uint32) bool {
		replacement, length = m.at(offset), n
		return true
	})
	return replacement, length
}

// Shortest returns the replacement of the shortest key that text starts with.
func (m *CharsMap) Shortest(text string) (replacement string, ok bool) {
	m.search(text, func(_ int, offset uint32) bool {
		replacement, ok = m.at(offset), true
		return false
	})
	return replacement, ok
}

// at returns the replacement at an offset.
func (m *CharsMap) at(offset uint32) string {
	if int64(offset) > int64(len(m.replacements)) {
		return ""
	}
	text, _, _ := bytes.Cut(m.replacements[offset:], []byte{0})
	return string(text)
}

// search calls yield with length and value of each key that text starts with,
// the shortest first, until it returns false. A unit is a node's label (8 bits),
// whether a value follows (bit 8), whether the offset counts 256s (bit 9) and
// the offset of its children (22 bits); a leaf is its value (31 bits).
func (m *CharsMap) search(text string, yield func(length int, value uint32) bool) {
	if len(m.units) == 0 {
		return
	}
	at := offsetOf(m.units[0])
	for i := 0; i < len(text) && text[i] != 0; i++ {
		at ^= uint32(text[i])
		if int64(at) >= int64(len(m.units)) || m.units[at]&(1<<31|0xFF) != uint32(text[i]) {
			return
		}
		unit := m.units[at]
		at ^= offsetOf(unit)
		if unit>>8&1 == 0 {
			continue
		}
		if int64(at) >= int64(len(m.units)) || !yield(i+1, m.units[at]&(1<<31-1)) {
			return
		}
	}
}

func offsetOf(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

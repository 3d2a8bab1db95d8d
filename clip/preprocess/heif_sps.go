//go:build heic

package preprocess

import (
	"bytes"
	"fmt"
)

// hvcCSPS is the sequence parameter set of a decoder configuration (ISO/IEC 14496-15, 8.3.3).
func hvcCSPS(config []byte) ([]byte, error) {
	r := &byteReader{data: config}
	r.next(22)
	for range r.u8() {
		kind := r.u8() & 63
		for range r.u16be() {
			if unit := r.next(r.u16be()); kind == 33 && len(unit) > 2 {
				return bytes.ReplaceAll(unit[2:], []byte{0, 0, 3}, []byte{0, 0}), nil
			}
			if r.failed {
				return nil, r.err()
			}
		}
	}
	return nil, fmt.Errorf("%w: no sequence parameter set", ErrCorrupt)
}

// spsBits reads the bits of a parameter set; a number that goes beyond its end is 0, and
// failed is set.
type spsBits struct {
	data   []byte
	at     int
	failed bool
}

func (s *spsBits) u(n int) int {
	v := 0
	for range n {
		v <<= 1
		if s.at>>3 >= len(s.data) {
			s.failed = true
			return 0
		}
		v |= int(s.data[s.at>>3]>>(7-s.at&7)) & 1
		s.at++
	}
	return v
}

func (s *spsBits) flag() bool { return s.u(1) == 1 }

// ue reads an Exp-Golomb code (ITU-T H.265, 9.2).
func (s *spsBits) ue() int {
	zeros := 0
	for !s.flag() {
		if zeros++; zeros > 32 || s.failed {
			s.failed = true
			return 0
		}
	}
	return 1<<zeros - 1 + s.u(zeros)
}

// hevcHeader is what is read of a sequence parameter set.
type hevcHeader struct {
	width, height int // of the conformance window
	gray          bool
	colours       heifColours
}

// readSPS reads a sequence parameter set up to its colours (ITU-T H.265, 7.3.2.2 and E.2.1).
func readSPS(sps []byte) (hevcHeader, error) {
	s := &spsBits{data: sps}
	s.u(4)
	layers := s.u(3)
	s.u(1)
	s.profile(layers)
	s.ue() // id
	chroma := s.ue()
	if chroma == 3 {
		s.u(1) // planes
	}
	h := hevcHeader{width: s.ue(), height: s.ue(), gray: chroma == 0, colours: heifColours{matrix: 2}} // what is not told
	if s.flag() {                                                                                      // the window, in samples of chroma
		columns, rows := 1, 1
		if chroma == 1 || chroma == 2 {
			columns = 2
		}
		if chroma == 1 {
			rows = 2
		}
		h.width -= columns * (s.ue() + s.ue())
		h.height -= rows * (s.ue() + s.ue())
	}
	s.skip(2)             // bit depths
	counter := s.ue() + 4 // bits of a picture's number
	s.failed = s.failed || counter > 16
	if s.flag() {
		s.skip(3 * (layers + 1))
	} else {
		s.skip(3)
	}
	s.skip(6) // sizes of blocks
	if s.flag() && s.flag() {
		s.scalingLists()
	}
	s.u(2)
	if s.flag() { // PCM
		s.u(8)
		s.skip(2)
		s.u(1)
	}
	s.pictureSets()
	if s.flag() {
		for range min(s.ue(), 32) { // long-term pictures
			if s.failed {
				break
			}
			s.u(counter + 1)
		}
	}
	s.u(2)
	if s.flag() {
		h.colours = s.usability()
	}
	if s.failed {
		return h, fmt.Errorf("%w: bad sequence parameter set", ErrCorrupt)
	}
	return h, nil
}

// skip passes over n codes.
func (s *spsBits) skip(n int) {
	for range n {
		s.ue()
	}
}

// profile passes over profile_tier_level.
func (s *spsBits) profile(layers int) {
	s.u(88)
	s.u(8)
	var profiles, levels int
	for range layers {
		profiles += s.u(1)
		levels += s.u(1)
	}
	if layers > 0 {
		s.u(2 * (8 - layers))
	}
	s.u(88*profiles + 8*levels)
}

func (s *spsBits) scalingLists() {
	for size := range 4 {
		step := 1
		if size == 3 {
			step = 3
		}
		for matrix := 0; matrix < 6; matrix += step {
			if !s.flag() {
				s.ue()
				continue
			}
			if size > 1 {
				s.ue()
			}
			s.skip(min(64, 1<<(4+2*size)))
		}
	}
}

// pictureSets passes over the short-term reference picture sets.
func (s *spsBits) pictureSets() {
	pictures := 0 // of the set before
	for set := range min(s.ue(), 64) {
		if set > 0 && s.flag() {
			s.u(1)
			s.ue()
			used := 0
			for range pictures + 1 {
				if s.flag() || s.flag() {
					used++
				}
			}
			pictures = used
			continue
		}
		pictures = min(s.ue(), 16) + min(s.ue(), 16)
		for range pictures {
			s.ue()
			s.u(1)
		}
	}
}

// usability reads the colours of the video usability information.
func (s *spsBits) usability() heifColours {
	c := heifColours{matrix: 2}
	const extendedSAR = 255
	if s.flag() && s.u(8) == extendedSAR {
		s.u(32)
	}
	if s.flag() { // overscan
		s.u(1)
	}
	if s.flag() {
		s.u(3)
		c.full = s.flag()
		if s.flag() {
			s.u(16)
			c.matrix = s.u(8)
		}
	}
	return c
}

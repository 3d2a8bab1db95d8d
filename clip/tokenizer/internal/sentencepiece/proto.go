package sentencepiece

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// pieceType is SentencePiece.Type of sentencepiece_model.proto.
type pieceType uint64

const (
	normal      pieceType = 1
	unknown     pieceType = 2
	control     pieceType = 3
	userDefined pieceType = 4
	unused      pieceType = 5
	byteType    pieceType = 6
)

// The values of TrainerSpec.model_type that are supported.
const (
	unigramType = 1
	bpeType     = 2
)

// spec is what the ids depend on of a ModelProto.
type spec struct {
	pieces []string
	scores []float32
	types  []pieceType

	modelType     uint64
	suffix        bool // treat_whitespace_as_suffix
	byteFallback  bool
	bos, eos, pad int32
	unkSurface    string

	charsMap         []byte
	addDummyPrefix   bool
	removeExtraSpace bool
	escapeSpace      bool
}

// field is one field of a message: a number or bytes.
type field struct {
	number protowire.Number
	value  uint64
	bytes  []byte
}

// fields calls yield with the fields of a message.
func fields(data []byte, yield func(f field) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		f := field{number: number}
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(data)
			f.value = uint64(v)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := yield(f); err != nil {
			return err
		}
	}
	return nil
}

// parseSpec reads a ModelProto. A message that occurs twice is merged, as
// protobuf wants it.
func parseSpec(data []byte) (*spec, error) {
	s := &spec{
		modelType: unigramType, bos: 1, eos: 2, pad: -1, unkSurface: " \u2047 ",
		addDummyPrefix: true, removeExtraSpace: true, escapeSpace: true,
	}
	err := fields(data, func(f field) error {
		switch f.number {
		case 1:
			return s.addPiece(f.bytes)
		case 2:
			return fields(f.bytes, s.setTrainer)
		case 3:
			return fields(f.bytes, s.setNormalizer)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("not a sentencepiece model: %w", err)
	}
	if len(s.pieces) == 0 {
		return nil, errors.New("not a sentencepiece model: no pieces")
	}
	return s, nil
}

func (s *spec) addPiece(data []byte) error {
	piece, score, kind := "", float32(0), normal
	err := fields(data, func(f field) error {
		switch f.number {
		case 1:
			piece = string(f.bytes)
		case 2:
			score = math.Float32frombits(uint32(f.value))
		case 3:
			kind = pieceType(f.value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if piece == "" || !utf8.ValidString(piece) {
		return fmt.Errorf("piece %d is %q", len(s.pieces), piece)
	}
	if score != score || kind < normal || kind > byteType {
		return fmt.Errorf("piece %d, %q, has the score %v and the type %d", len(s.pieces), piece, score, kind)
	}
	s.pieces, s.scores, s.types = append(s.pieces, piece), append(s.scores, score), append(s.types, kind)
	return nil
}

func (s *spec) setTrainer(f field) error {
	switch f.number {
	case 3:
		s.modelType = f.value
	case 24:
		s.suffix = f.value != 0
	case 35:
		s.byteFallback = f.value != 0
	case 41:
		s.bos = int32(f.value)
	case 42:
		s.eos = int32(f.value)
	case 43:
		s.pad = int32(f.value)
	case 44:
		s.unkSurface = string(f.bytes)
	}
	return nil
}

func (s *spec) setNormalizer(f field) error {
	switch f.number {
	case 2:
		s.charsMap = f.bytes
	case 3:
		s.addDummyPrefix = f.value != 0
	case 4:
		s.removeExtraSpace = f.value != 0
	case 5:
		s.escapeSpace = f.value != 0
	}
	return nil
}

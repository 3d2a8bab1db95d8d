package weights

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// Limits of a safetensors header. The length is the reference
// implementation's; the others bound the memory that a hostile header can
// claim, far beyond any real model.
const (
	maxHeader = 100_000_000
	maxToken  = 16 << 20 // bytes of one string or number
	maxNames  = 1 << 17  // tensors, or keys of the metadata
	maxRank   = 64

	prefixLen   = 8 // the header's length, a little-endian uint64
	metadataKey = "__metadata__"
)

// parseSafetensors checks a whole safetensors file and returns its tensors in
// ascending order of name, as byte ranges of raw without storage, and its
// metadata. Errors have no path yet.
func parseSafetensors(raw []byte) ([]Stored, map[string]string, error) {
	header, err := headerOf(raw)
	if err != nil {
		return nil, nil, err
	}
	tensors, metadata, err := parseHeader(header)
	if err != nil {
		return nil, nil, err
	}
	if err := checkOffsets(tensors, prefixLen+len(header), len(raw)); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(tensors, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	return tensors, metadata, nil
}

// headerOf cuts the JSON text out of a file.
func headerOf(raw []byte) ([]byte, error) {
	if len(raw) < prefixLen {
		return nil, fail(ErrMalformed, "", "%d bytes are too few for a safetensors file", len(raw))
	}
	n := le.Uint64(raw)
	rest := raw[prefixLen:]
	switch {
	case n > maxHeader:
		return nil, fail(ErrMalformed, "", "not a safetensors file: header length %d, at most %d expected", n, maxHeader)
	case n > uint64(len(rest)):
		return nil, fail(ErrTruncated, "", "cut short: header says at least %d bytes, file has %d", prefixLen+n, len(raw))
	}
	header := rest[:n]
	if len(header) == 0 || header[0] != '{' {
		return nil, fail(ErrMalformed, "", "not a safetensors file: header begins with %q, '{' expected", header[:min(1, n)])
	}
	if !utf8.Valid(header) {
		return nil, fail(ErrMalformed, "", "header is not UTF-8")
	}
	return header, nil
}

// parseHeader reads the JSON text. The tensors' ranges are still relative to
// the end of the header and unchecked.
func parseHeader(header []byte) ([]Stored, map[string]string, error) {
	var tensors []Stored
	var metadata map[string]string
	err := jsonObject("header", header, func(p *strictjson.Parser, name string) (err error) {
		if name == metadataKey {
			metadata, err = stringMap(p)
			return inTensor(metadataKey, err)
		}
		t, err := parseTensor(p, name)
		tensors = append(tensors, t)
		return inTensor(name, err)
	})
	if err != nil {
		return nil, nil, err
	}
	return tensors, metadata, nil
}

// parseTensor reads {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}.
func parseTensor(p *strictjson.Parser, name string) (Stored, error) {
	t := Stored{Name: name, Shape: []int{}}
	var offsets []int
	var dtype string
	fields := 0
	err := p.Object(func(key string) (err error) {
		fields++
		switch key {
		case "dtype":
			dtype, err = p.String()
		case "shape":
			t.Shape, err = p.Ints(maxRank)
		case "data_offsets":
			offsets, err = p.Ints(2)
		default:
			err = fail(ErrMalformed, "", "unknown key %s", quote(key))
		}
		return prefixed(key, err)
	})
	if err != nil {
		return t, err
	}
	if fields != 3 {
		return t, fail(ErrMalformed, "", "dtype, shape and data_offsets expected, %d of them found", fields)
	}
	var ok bool
	if t.DType, ok = parseDType(dtype); !ok {
		return t, fail(ErrMalformed, "", "unknown dtype %s", quote(dtype))
	}
	if len(offsets) != 2 {
		return t, fail(ErrMalformed, "", "data_offsets: 2 numbers expected, got %d", len(offsets))
	}
	t.begin, t.end = offsets[0], offsets[1]
	return t, nil
}

// checkOffsets refuses tensors whose ranges are not as long as their shapes say, overlap
// or leave bytes of the data between them. It then counts the ranges from the file's start.
func checkOffsets(tensors []Stored, dataStart, fileSize int) error {
	for _, t := range tensors {
		want, ok := byteSize(t.Shape, t.DType)
		switch {
		case !ok:
			return fail(ErrMalformed, t.Name, "shape %v of %v overflows", t.Shape, t.DType)
		case t.begin > t.end:
			return fail(ErrMalformed, t.Name, "data_offsets begin at %d, after their end %d", t.begin, t.end)
		case t.end-t.begin != want:
			return fail(ErrMalformed, t.Name, "shape %v of %v needs %d bytes, data_offsets [%d, %d] hold %d",
				t.Shape, t.DType, want, t.begin, t.end, t.end-t.begin)
		}
	}
	slices.SortFunc(tensors, func(a, b Stored) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), strings.Compare(a.Name, b.Name))
	})
	end := 0
	for i := range tensors {
		t := &tensors[i]
		if t.begin < end {
			return fail(ErrMalformed, t.Name, "data_offsets [%d, %d] overlap %s, which ends at %d",
				t.begin, t.end, quote(tensors[i-1].Name), end)
		}
		if t.begin > end {
			return fail(ErrMalformed, t.Name, "data_offsets begin at %d, %d expected: a hole of %d bytes", t.begin, end, t.begin-end)
		}
		end = t.end
		t.begin, t.end = t.begin+dataStart, t.end+dataStart
	}
	switch data := fileSize - dataStart; {
	case end > data:
		return fail(ErrTruncated, "", "cut short: header says %d bytes, file has %d", uint(dataStart)+uint(end), fileSize)
	case end < data:
		return fail(ErrMalformed, "", "%d bytes after the last tensor: header says %d bytes, file has %d",
			data-end, dataStart+end, fileSize)
	}
	return nil
}

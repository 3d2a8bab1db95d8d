package weights

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
)

// Record is one tensor to save. Its values are asked for in ascending pieces
// while the file is written, so they can come straight from a device or from
// another checkpoint.
type Record struct {
	Name  string
	DType DType // as stored: F32, F16 or BF16 (rounded to nearest, ties to even), or I64
	Shape []int
	// ReadF32 fills dst with the elements from index off on; for F32, F16 and BF16.
	ReadF32 func(dst []float32, off int) error
	// ReadI64 does the same for I64.
	ReadI64 func(dst []int64, off int) error
}

// As makes a Record of a tensor, to be stored as d.
func (t Stored) As(d DType) Record {
	return Record{Name: t.Name, DType: d, Shape: t.Shape, ReadF32: t.ReadF32, ReadI64: t.ReadI64}
}

// SaveOptions are the optional parts of Save.
type SaveOptions struct {
	Metadata  map[string]string // the header's __metadata__
	NoReplace bool              // fail with fs.ErrExist when the file exists
}

// Save writes a safetensors file. The records' order does not matter: they
// are stored by dtype, the widest first, then by name, as the reference
// implementation does, with data that starts at a multiple of 8.
//
// The file appears whole or not at all, and one that is replaced is whole until
// then. An error of a record's reader is returned as it is, wrapped.
func Save(path string, records []Record, o SaveOptions) error {
	header, sorted, err := safetensorsHead(records, o.Metadata)
	if err != nil {
		return at(path, err)
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return at(path, fail(ErrNotWeights, "", "is %s, cannot be replaced by a file", describe(info.Mode())))
	}
	f, err := atomicfile.Create(path, !o.NoReplace)
	if err != nil {
		return osError(path, err)
	}
	defer f.Discard()
	if err := writeAll(f, header, sorted); err != nil {
		return fmt.Errorf("save %s: %w", oneLine(path), err)
	}
	if err := f.Commit(); err != nil {
		return osError(path, err)
	}
	return nil
}

// safetensorsHead checks the records and returns the file's bytes up to the data, and
// the records in the order of their data.
func safetensorsHead(records []Record, metadata map[string]string) ([]byte, []Record, error) {
	sorted := slices.SortedFunc(slices.Values(records), func(a, b Record) int {
		return cmp.Or(cmp.Compare(b.DType, a.DType), strings.Compare(a.Name, b.Name))
	})
	if n := max(len(records), len(metadata)); n > maxNames {
		return nil, nil, fail(ErrMalformed, "", "%d names, at most %d can be read back", n, maxNames)
	}
	var fields []string
	if len(metadata) > 0 {
		fields = append(fields, field(metadataKey, metadata))
	}
	names := make(map[string]bool, len(sorted))
	end := 0
	for _, r := range sorted {
		if names[r.Name] {
			return nil, nil, fail(ErrMalformed, r.Name, "two records have this name")
		}
		names[r.Name] = true
		size, err := r.check()
		if err != nil {
			return nil, nil, err
		}
		begin := end
		if end += size; end < begin {
			return nil, nil, fail(ErrMalformed, r.Name, "the file would exceed 2^63 bytes")
		}
		fields = append(fields, field(r.Name, struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{r.DType.String(), append([]int{}, r.Shape...), [2]int{begin, end}}))
	}
	text := "{" + strings.Join(fields, ",") + "}"
	text += strings.Repeat(" ", -len(text)&7)
	if len(text) > maxHeader {
		return nil, nil, fail(ErrMalformed, "", "header of %d bytes, at most %d fit the format", len(text), maxHeader)
	}
	return append(le.AppendUint64(nil, uint64(len(text))), text...), sorted, nil
}

// check returns the size of the record's data in bytes.
func (r Record) check() (int, error) {
	floats := r.DType == F32 || r.DType == F16 || r.DType == BF16
	size, ok := byteSize(r.Shape, r.DType)
	switch {
	case r.Name == metadataKey || !utf8.ValidString(r.Name):
		return 0, fail(ErrMalformed, r.Name, "not usable as a tensor's name")
	case !floats && r.DType != I64:
		return 0, fail(ErrDType, r.Name, "%v cannot be written: F32, F16, BF16 or I64 expected", r.DType)
	case !ok || len(r.Shape) > maxRank:
		return 0, fail(ErrMalformed, r.Name, "shape %v of %v cannot be stored", r.Shape, r.DType)
	case floats && r.ReadF32 == nil, !floats && r.ReadI64 == nil:
		return 0, fail(ErrMalformed, r.Name, "has no reader for %v", r.DType)
	}
	return size, nil
}

// field renders "key":value. The values, strings, integers and maps of
// strings, cannot fail to encode.
func field(key string, value any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(key)
	name := strings.TrimSuffix(b.String(), "\n")
	b.Reset()
	e.Encode(value)
	return name + ":" + strings.TrimSuffix(b.String(), "\n")
}

func writeAll(w io.Writer, header []byte, records []Record) error {
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, r := range records {
		if err := r.write(w); err != nil {
			return fmt.Errorf("tensor %s: %w", quote(r.Name), err)
		}
	}
	return nil
}

// write converts and writes the elements in pieces.
func (r Record) write(w io.Writer) error {
	size, _ := byteSize(r.Shape, r.DType)
	if r.DType == I64 {
		return inPieces(w, size/8, r.ReadI64, encodeI64)
	}
	return inPieces(w, size/r.DType.Bytes(), r.ReadF32, func(raw []byte, src []float32) []byte {
		return encodeF32(raw, src, r.DType)
	})
}

func inPieces[T any](w io.Writer, n int, read func(dst []T, off int) error, encode func(raw []byte, src []T) []byte) error {
	const piece = 1 << 20
	values := make([]T, min(n, piece))
	var raw []byte
	for off := 0; off < n; off += len(values) {
		values = values[:min(len(values), n-off)]
		if err := read(values, off); err != nil {
			return err
		}
		raw = encode(raw[:0], values)
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

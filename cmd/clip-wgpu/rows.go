package main

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/weights"
)

// rowID says what a row of features belongs to.
type rowID struct {
	Kind string  `json:"kind"` // image or text
	ID   rawText `json:"id"`   // the path as given, or the text
}

// rowWriter stores one vector after the other; commit makes the file appear
// with what it has, discard drops it (and does nothing after commit).
type rowWriter interface {
	write(id rowID, vector []float32) error
	commit() error
	discard()
}

// rowFormats are the formats by the extension of their files' names. Those that
// stream write every row as soon as it is known; those that identify say what the rows
// depend on.
var rowFormats = map[string]struct {
	open       func(path string, o rowOptions) (rowWriter, error)
	streams    bool
	identifies bool
}{
	"csv":         {newLineRows(writeCSVRow), true, false},
	"jsonl":       {newLineRows(writeJSONRow), true, false},
	"npy":         {newNPYRows, false, false},
	"safetensors": {newTensorRows, false, true},
	"tsv":         {newLineRows(writeTSVRow), true, false},
}

type rowOptions struct {
	format string // "" where the file's name says it
	force  bool
	made   map[string]string // what the rows are of, for formats that can say so; read at the end
	ids    []rowID           // of all rows that may come
	stdout io.Writer         // for the path "-"
}

// formatOf is the format that a file's name says, or "".
func formatOf(path string) string {
	format := strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
	if _, ok := rowFormats[format]; !ok {
		return ""
	}
	return format
}

func newRowWriter(path string, o rowOptions) (rowWriter, error) {
	f := rowFormats[cmp.Or(o.format, formatOf(path))]
	if path == stdoutPath && !f.streams {
		return newSpooledRows(o)
	}
	return f.open(path, o)
}

// lineRows writes rows as text.
type lineRows struct {
	sink
	writeRow func(w io.Writer, first bool, id rowID, vector []float32) error
	rows     int
}

// newLineRows makes a format's open out of what writes one of its rows. writeRow is told
// whether the row is the first, which has a heading before it.
func newLineRows(writeRow func(io.Writer, bool, rowID, []float32) error) func(string, rowOptions) (rowWriter, error) {
	return func(path string, o rowOptions) (rowWriter, error) {
		if path == stdoutPath {
			return &lineRows{sink: stdoutSink{o.stdout}, writeRow: writeRow}, nil
		}
		f, err := createPending(path, o.force)
		return &lineRows{sink: f, writeRow: writeRow}, err
	}
}

func (r *lineRows) write(id rowID, vector []float32) error {
	r.rows++
	return r.writeRow(r.sink, r.rows == 1, id, vector)
}

// writeJSONRow writes {"kind":..., "id":..., "embedding":[...]}.
func writeJSONRow(w io.Writer, _ bool, id rowID, vector []float32) error {
	return newJSONLines(w).Encode(struct {
		rowID
		Embedding []float32 `json:"embedding"`
	}{id, vector})
}

func writeCSVRow(w io.Writer, first bool, id rowID, vector []float32) error {
	return writeFields(w, writeCSV, first, id, vector)
}

func writeTSVRow(w io.Writer, first bool, id rowID, vector []float32) error {
	return writeFields(w, writeTSV, first, id, vector)
}

// writeFields writes kind, id and a column for each element, under a heading.
func writeFields(w io.Writer, write recordWriter, first bool, id rowID, vector []float32) error {
	heading, fields := []string{"kind", "id"}, []string{id.Kind, string(id.ID)}
	for i, v := range vector {
		heading = append(heading, "e"+strconv.Itoa(i))
		fields = append(fields, strconv.FormatFloat(float64(v), 'g', -1, 32))
	}
	if first {
		return write(w, heading, fields)
	}
	return write(w, fields)
}

// npyRows writes a matrix in NumPy's format, version 1.0, and beside it the
// rows' ids as JSON lines.
type npyRows struct {
	data, ids *pendingFile
	rows, dim int
}

// idsExtension is appended to the path of a matrix to name the file of its ids.
const idsExtension = ".ids.jsonl"

// npyHeaderBytes is the size of the header for any shape of two dimensions.
const npyHeaderBytes = 128

func newNPYRows(path string, o rowOptions) (rowWriter, error) {
	data, err := createPending(path, o.force)
	if err != nil {
		return nil, err
	}
	ids, err := createPending(path+idsExtension, o.force)
	if err != nil {
		data.discard()
		return nil, err
	}
	_, err = data.Write(make([]byte, npyHeaderBytes)) // written when the shape is known
	return &npyRows{data: data, ids: ids}, err
}

func (r *npyRows) write(id rowID, vector []float32) error {
	r.rows, r.dim = r.rows+1, len(vector)
	if err := newJSONLines(r.ids).Encode(id); err != nil {
		return err
	}
	_, err := r.data.Write(appendF32(nil, vector))
	return err
}

func (r *npyRows) commit() error {
	if err := r.data.Flush(); err != nil {
		return outputError(r.data.path, err)
	}
	if _, err := r.data.file.WriteAt(npyHeader(r.rows, r.dim), 0); err != nil {
		return outputError(r.data.path, err)
	}
	if err := r.ids.commit(); err != nil {
		return err
	}
	return r.data.commit()
}

func (r *npyRows) discard() {
	r.data.discard()
	r.ids.discard()
}

// npyHeader follows numpy.lib.format: magic, version, length, a Python dict
// padded with spaces to a multiple of 64.
func npyHeader(rows, dim int) []byte {
	const prefix = "\x93NUMPY\x01\x00"
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, dim)
	length := npyHeaderBytes - len(prefix) - 2
	b := binary.LittleEndian.AppendUint16([]byte(prefix), uint16(length))
	return fmt.Appendf(b, "%-*s\n", length-1, dict)
}

func appendF32(b []byte, vector []float32) []byte {
	for _, v := range vector {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// tensorRows writes the tensor "embeddings" with the rows' ids, a JSON list, in
// the metadata. The format starts with the shape and the ids, so the rows wait
// in a file of their own.
type tensorRows struct {
	spool   *pendingFile
	options rowOptions
	ids     []rowID
	dim     int
}

// maxIDBytes leaves the ids room in a safetensors header, which ends at 100 MB.
const maxIDBytes = 40e6

func newTensorRows(path string, o rowOptions) (rowWriter, error) {
	size := 0
	for _, id := range o.ids {
		size += len(id.ID) + len(`{\"kind\":\"image\",\"id\":\"\"},`)
	}
	if size > maxIDBytes {
		return nil, fmt.Errorf("output %s: the ids of %d rows exceed what a safetensors header holds; .npy and .jsonl have no such limit", path, len(o.ids))
	}
	spool, err := createPending(path, o.force)
	return &tensorRows{spool: spool, options: o}, err
}

func (r *tensorRows) write(id rowID, vector []float32) error {
	r.ids = append(r.ids, id)
	r.dim = len(vector)
	_, err := r.spool.Write(appendF32(nil, vector))
	return err
}

func (r *tensorRows) commit() error {
	defer r.spool.discard()
	if err := r.spool.Flush(); err != nil {
		return outputError(r.spool.path, err)
	}
	ids, err := json.Marshal(r.ids)
	if err != nil {
		return err
	}
	metadata := maps.Clone(r.options.made)
	metadata["ids"] = string(ids)
	return weights.Save(r.spool.path, []weights.Record{{
		Name: "embeddings", DType: weights.F32, Shape: []int{len(r.ids), r.dim}, ReadF32: r.read,
	}}, weights.SaveOptions{
		Metadata:  metadata,
		NoReplace: !r.options.force,
	})
}

// read fills dst with the spooled values from index off on.
func (r *tensorRows) read(dst []float32, off int) error {
	raw := make([]byte, 4*len(dst))
	if _, err := r.spool.file.ReadAt(raw, 4*int64(off)); err != nil {
		return cause(err)
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return nil
}

func (r *tensorRows) discard() { r.spool.discard() }

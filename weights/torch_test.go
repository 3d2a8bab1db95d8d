package weights

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/torchtest"
)

func requireSameTensor(t *testing.T, want, got Stored) {
	t.Helper()
	require.Equal(t, want.DType, got.DType, want.Name)
	require.Equal(t, append([]int{}, want.Shape...), append([]int{}, got.Shape...), want.Name)
	bytesOf := func(x Stored) (all []byte) {
		require.NoError(t, x.View(func(raw []byte) error { all = bytes.Clone(raw); return nil }))
		return all
	}
	require.Equal(t, bytesOf(want), bytesOf(got), want.Name)
	if !want.DType.IsFloat() {
		return
	}
	whole := make([]float32, want.Len())
	require.NoError(t, want.ReadF32(whole, 0))
	for _, n := range []int{1, 2, 7, max(1, len(whole))} { // in pieces that end within rows
		for off := 0; off < len(whole); off += n {
			piece := make([]float32, min(n, len(whole)-off))
			require.NoError(t, got.ReadF32(piece, off))
			require.Equal(t, whole[off:off+len(piece)], piece, "%s[%d:]", want.Name, off)
		}
	}
}

// The files are PyTorch's own; make.py beside them says how they came about.
func TestOpenReadsWhatPyTorchWrites(t *testing.T) {
	want := open(t, references+"/values.safetensors")
	for _, name := range []string{"zip.pt", "legacy.pt"} {
		got := open(t, references+"/"+name)
		require.Equal(t, want.Names(), got.Names(), name)
		for _, x := range want.Tensors() {
			y, _ := got.Tensor(x.Name)
			requireSameTensor(t, x, y)
		}
	}
}

// Everything that torch.load reads with weights_only, and NumPy's objects, may
// be beside the tensors. make_kinds.py says what there is.
func TestOpenReadsTensorsBesideAllKindsOfObjects(t *testing.T) {
	want := open(t, references+"/kinds.safetensors")
	for file, missing := range map[string][]string{
		"kinds.pt": nil, "kinds_numpy.pt": nil, "kinds_legacy.pt": {"f8_e4m3", "f8_e5m2", "f8_e8m0", "u16", "u32", "u64"},
	} {
		got := open(t, references+"/"+file)
		names := slices.DeleteFunc(want.Names(), func(name string) bool { return slices.Contains(missing, name) })
		require.Equal(t, names, got.Names(), file)
		for _, name := range names {
			x, _ := want.Tensor(name)
			y, _ := got.Tensor(name)
			requireSameTensor(t, x, y)
		}
	}
}

// A state dict's tensors whose elements are stored in other ways are named, not
// left out.
func TestOpenRefusesTensorsThatItCannotRead(t *testing.T) {
	raw, err := os.ReadFile(references + "/kinds.pt")
	require.NoError(t, err)
	a, err := openArchive(raw)
	require.NoError(t, err)
	data, err := a.read("kinds/data.pkl", maxPickle)
	require.NoError(t, err)
	object, err := newPickle(data).load()
	require.NoError(t, err)
	unread := object.(*dict).get("others").(*dict).get("not read").(*list).items
	for i, says := range []string{
		"sparse", "sparse", "meta device", "torch.complex128", "conjugated", "negated", "torch.float8_e4m3fnuz", "torch.complex32", "quantized", "quantized",
	} {
		d := &dict{[]any{text("model.w")}, []any{unread[i]}}
		_, _, err := stateDict(d, len(raw))
		requireFileError(t, at("x.pt", err), "x.pt", err.(*FileError).Err, `tensor "model.w": `, says)
	}
	assert.Len(t, unread, 10)
}

func TestOpenReadsTorchScriptAndTrainingCheckpoints(t *testing.T) {
	values := open(t, references+"/values.safetensors")
	for _, c := range []struct{ file, prefix, format string }{
		{"torchscript.pt", "", "torchscript"},
		{"training.pt", "module.", ""},
	} {
		f := open(t, references+"/"+c.file)
		var names []string
		for _, name := range []string{"blocks.0.weight", "blocks.1.weight", "first.weight", "input_resolution", "scale"} {
			names = append(names, c.prefix+name)
		}
		require.Equal(t, names, f.Names(), c.file)
		assert.Equal(t, c.format, f.Metadata()["format"])
		for from, to := range map[string]string{"f16": "blocks.1.weight", "scalar": "scale"} {
			x, _ := values.Tensor(from)
			y, _ := f.Tensor(c.prefix + to)
			requireSameTensor(t, x, y)
		}
		size, _ := f.Tensor(c.prefix + "input_resolution")
		v := make([]int64, 1)
		require.NoError(t, size.ReadI64(v, 0))
		assert.Equal(t, []int64{224}, v)
	}
}

func TestOpenReadsNumPyArchives(t *testing.T) {
	f := open(t, references+"/arrays.npz")
	require.Equal(t, []string{"f16", "f64", "fortran", "i64", "params/f32", "scalar"}, f.Names())
	want := []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	for _, name := range []string{"f16", "f64", "fortran", "params/f32"} {
		x, _ := f.Tensor(name)
		assert.Equal(t, []int{3, 4}, x.Shape, name)
		assert.Equal(t, want, values(t, f, name), name)
	}
	assert.Equal(t, []float32{2.5}, values(t, f, "scalar"))
}

func TestOpenRefusesPickledModules(t *testing.T) {
	for _, name := range []string{"module.pt", "module_legacy.pt"} {
		_, err := Open(references + "/" + name)
		requireFileError(t, err, references+"/"+name, ErrForbidden, "whole pickled module", "not a state dict", "torch.save(model.state_dict()", "safetensors.torch")
	}
}

// storedPickle is an archive with a pickle and a storage "0" of 8 floats.
func storedPickle(pickle string, more ...torchtest.Entry) []byte {
	entries := []torchtest.Entry{{Name: "a/data.pkl", Data: []byte(pickle)}, {Name: "a/data/0", Data: make([]byte, 32)}}
	return torchtest.Zip(append(entries, more...)...)
}

// tensorOf pickles {"w": _rebuild_tensor_v2(storage 0, offset, size, stride, …)}.
func tensorOf(class string, numel int, offset int, size, stride []int) string {
	var b bytes.Buffer
	number := func(n int) {
		if int(int32(n)) == n {
			binary.Write(&b, le, struct {
				Op byte
				N  int32
			}{'J', int32(n)})
			return
		}
		b.WriteString("\x8a\x08")
		binary.Write(&b, le, int64(n))
	}
	list := func(ns []int) {
		b.WriteByte('(')
		for _, n := range ns {
			number(n)
		}
		b.WriteByte('t')
	}
	b.WriteString("\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n" + class + "\nU\x010U\x03cpu")
	number(numel)
	b.WriteString("tQ")
	number(offset)
	list(size)
	list(stride)
	b.WriteString("\x89}tRs.")
	return b.String()
}

// badFile is a file that Open refuses by an error of a kind, which says why.
type badFile struct {
	name string
	raw  []byte
	kind error
	says []string
}

func requireRefused(t *testing.T, files []badFile) {
	for _, c := range files {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "weights")
			require.NoError(t, os.WriteFile(path, c.raw, 0o666))
			f, err := Open(path)
			require.Nil(t, f)
			requireFileError(t, err, path, c.kind, c.says...)
		})
	}
}

func TestOpenRefusesBadTorchFiles(t *testing.T) {
	good := tensorOf("FloatStorage", 8, 0, []int{2, 4}, []int{4, 1})
	whole := storedPickle(good)
	requireRefused(t, []badFile{
		{"zip cut at half", whole[:len(whole)/2], ErrTruncated, []string{"cut short", "zip directory", fmt.Sprint(len(whole) / 2)}},
		{"zip cut by one byte", whole[:len(whole)-1], ErrMalformed, []string{"damaged zip"}},
		{"zip of nothing", torchtest.Zip(), ErrNotWeights, []string{"data.pkl"}},
		{"zip of something else", torchtest.Zip(torchtest.Entry{Name: "word/document.xml"}), ErrNotWeights, []string{"data.pkl"}},
		{"two entries of a name", storedPickle(good, torchtest.Entry{Name: "a/data/0", Data: make([]byte, 32)}), ErrMalformed, []string{"two entries", "a/data/0"}},
		{"deflated pickle", torchtest.Zip(torchtest.Entry{Name: "a/data.pkl", Data: bytes.Repeat([]byte(good), 3), Deflate: true}), ErrMalformed, []string{"a/data.pkl", "compressed", "method 8"}},
		{"deflated storage", torchtest.Zip(torchtest.Entry{Name: "a/data.pkl", Data: []byte(good)}, torchtest.Entry{Name: "a/data/0", Data: make([]byte, 32), Deflate: true}), ErrMalformed, []string{"a/data/0", "compressed"}},
		{"storage is missing", torchtest.Zip(torchtest.Entry{Name: "a/data.pkl", Data: []byte(good)}), ErrMalformed, []string{"no entry", "a/data/0"}},
		{"big-endian", storedPickle(good, torchtest.Entry{Name: "a/byteorder", Data: []byte("big")}), ErrUnsupportedFormat, []string{`"big"`, "little"}},
		{"storage of another size", storedPickle(tensorOf("FloatStorage", 9, 0, []int{9}, []int{1})), ErrMalformed, []string{`storage "0"`, "9 elements of F32", "32 bytes"}},
		{"storage of another type", storedPickle(tensorOf("DoubleStorage", 8, 0, []int{8}, []int{1})), ErrMalformed, []string{`storage "0"`, "F64", "32 bytes"}},
		{"storage of 2^62 elements", storedPickle(tensorOf("FloatStorage", 1<<62, 0, []int{8}, []int{1})), ErrMalformed, []string{`storage "0"`, "4611686018427387904"}},
		{"storage of -1 elements", storedPickle(tensorOf("FloatStorage", -1, 0, []int{8}, []int{1})), ErrMalformed, []string{"-1"}},
		{"tensor past its storage", storedPickle(tensorOf("FloatStorage", 8, 0, []int{9}, []int{1})), ErrMalformed, []string{`"w"`, "[9]", "past the end", "8 elements"}},
		{"offset past the storage", storedPickle(tensorOf("FloatStorage", 8, 7, []int{2}, []int{1})), ErrMalformed, []string{`"w"`, "at 7", "past the end"}},
		{"offset of 2^62", storedPickle(tensorOf("FloatStorage", 8, 1<<62, []int{1}, []int{1})), ErrMalformed, []string{`"w"`, "past the end"}},
		{"negative offset", storedPickle(tensorOf("FloatStorage", 8, -1, []int{1}, []int{1})), ErrMalformed, []string{"offset"}},
		{"stride past the storage", storedPickle(tensorOf("FloatStorage", 8, 0, []int{2, 2}, []int{7, 1})), ErrMalformed, []string{`"w"`, "[7 1]"}},
		{"stride of 2^62", storedPickle(tensorOf("FloatStorage", 8, 0, []int{3}, []int{1 << 62})), ErrMalformed, []string{`"w"`, "past the end"}},
		{"strides that wrap around", storedPickle(tensorOf("FloatStorage", 8, 0, []int{5, 5}, []int{1 << 62, 1 << 62})), ErrMalformed, []string{`"w"`, "past the end"}},
		{"negative stride", storedPickle(tensorOf("FloatStorage", 8, 7, []int{2}, []int{-1})), ErrMalformed, []string{"strides"}},
		{"shape of 2^62 and a stride of 0", storedPickle(tensorOf("FloatStorage", 8, 0, []int{1 << 62, 8}, []int{0, 1})), ErrMalformed, []string{`"w"`, "exceeds the file"}},
		{"shape of 10^9 and a stride of 0", storedPickle(tensorOf("FloatStorage", 8, 0, []int{1e9}, []int{0})), ErrMalformed, []string{`"w"`, "exceeds the file"}},
		{"fewer strides than sizes", storedPickle(tensorOf("FloatStorage", 8, 0, []int{2, 4}, []int{1})), ErrMalformed, []string{"as many strides"}},
		{"no tensors", storedPickle("\x80\x02}U\x05modelK\x07s."), ErrNotWeights, []string{"no tensors", `"model"`}},
		{"a list", storedPickle("\x80\x02]."), ErrNotWeights, []string{"a list of 0", "state dict expected"}},
		{"two tensors of a name", storedPickle(strings.TrimSuffix(good, ".") + strings.TrimPrefix(good, "\x80\x02}")), ErrMalformed, []string{"two tensors", `"w"`}},
	})
	_, err := Parse("whole", whole)
	require.NoError(t, err)
}

// Files that torch.save wrote before PyTorch 1.6.
func TestOpenRefusesBadLegacyTorchFiles(t *testing.T) {
	legacy := torchtest.SaveLegacy(torchtest.Dict{{Key: "w", Value: torchtest.F32([]int{2}, []float32{1, 2})}})
	edit := func(raw []byte, old, new string) []byte { return bytes.ReplaceAll(raw, []byte(old), []byte(new)) }
	requireRefused(t, []badFile{
		{"legacy cut in a storage", legacy[:len(legacy)-1], ErrTruncated, []string{"cut short", `storage "0"`, fmt.Sprint(len(legacy) - 1)}},
		{"legacy cut in the pickle", legacy[:len(legacy)/2], ErrTruncated, []string{"cut short", "pickle"}},
		{"legacy of another version", edit(legacy, "J\xe9\x03", "J\xea\x03"), ErrUnsupportedFormat, []string{"1002", "1001"}},
		{"legacy, big-endian", edit(legacy, "little_endian\x88", "little_endian\x89"), ErrUnsupportedFormat, []string{"big-endian"}},
		{"legacy storage of another size", edit(legacy, "\x02\x00\x00\x00\x00\x00\x00\x00", "\x03\x00\x00\x00\x00\x00\x00\x00"), ErrMalformed, []string{`storage "0"`, "3 elements", "2 expected"}},
		{"legacy without the storage", edit(legacy, "](X\x01\x00\x00\x000e", "](e"), ErrMalformed, []string{`storage "0"`, "not in the file"}},
		{"legacy with a storage too many", edit(legacy, "](X\x01\x00\x00\x000e", "](X\x01\x00\x00\x001e"), ErrMalformed, []string{`"1"`}},
		{"another pickle", []byte("\x80\x02K\x01."), ErrNotWeights, []string{"PyTorch did not write"}},
	})
	_, err := Parse("legacy", legacy)
	require.NoError(t, err)
}

func TestOpenRefusesBadNPZFiles(t *testing.T) {
	requireRefused(t, []badFile{
		{"npz with a Python object", npz("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8), ErrDType, []string{`"w"`, "|O"}},
		{"npz, big-endian", npz("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8), ErrDType, []string{">f4"}},
		{"npz of another size", npz("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8), ErrMalformed, []string{`"w"`, "[3]", "8 bytes"}},
		{"npz that overflows", npz("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 8), ErrMalformed, []string{`"w"`}},
		{"npz with an expression", npz("{'descr': '<f4', 'fortran_order': False, 'shape': (1+1,), }", 8), ErrMalformed, []string{`"w"`, "header"}},
		{"npz without a header", torchtest.Zip(torchtest.Entry{Name: "w.npy", Data: []byte("\x93NUMPY\x01\x00\xff\xff")}), ErrMalformed, []string{`"w"`}},
	})
}

func npz(header string, data int) []byte {
	header += "\n"
	raw := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0)
	return torchtest.Zip(torchtest.Entry{Name: "w.npy", Data: append(append(raw, header...), make([]byte, data)...)})
}

// A zip entry whose header lies about sizes or its place.
func TestOpenRefusesLyingZipEntries(t *testing.T) {
	good := storedPickle(tensorOf("FloatStorage", 8, 0, []int{8}, []int{1}))
	directory := bytes.LastIndex(good, []byte("PK\x01\x02")) // that of a/data/0
	for field, value := range map[int]uint32{20: 31, 24: 33, 42: 1 << 20} {
		bad := slices.Clone(good)
		le.PutUint32(bad[directory+field:], value)
		_, err := Parse("bad", bad)
		requireFileError(t, err, "bad", ErrMalformed, "a/data/0")
	}
}

// A directory of more entries than any checkpoint has.
func TestOpenBoundsZipDirectories(t *testing.T) {
	raw := []byte("PK\x03\x04")
	entry := append([]byte("PK\x01\x02"), make([]byte, 42)...)
	const n = 400_000
	for range n {
		raw = append(raw, entry...)
	}
	end := []byte("PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff")
	end = le.AppendUint32(end, n*46)
	end = le.AppendUint32(end, 4)
	raw = append(raw, append(end, 0, 0)...)
	_, err := Parse("big", raw)
	requireFileError(t, err, "big", ErrMalformed, "zip directory", "16777216")
}

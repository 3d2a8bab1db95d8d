package weights

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/fuzztest"
	"github.com/clip-wgpu/clip-wgpu/internal/torchtest"
)

// readAll checks what must hold of whatever a parser returns: an error is a
// FileError on one line, and every tensor lies within the file and can be read.
func readAll(t *testing.T, fileSize int, parse func() (*File, error)) (read bool) {
	t.Helper()
	err := fuzztest.Within(t, func() error {
		file, err := parse()
		if err != nil {
			return err
		}
		defer file.Close()
		for _, x := range file.Tensors() {
			if size, ok := byteSize(x.Shape, x.DType); !ok || size > fileSize || size != x.Len()*x.DType.Bytes() {
				t.Fatalf("%q: %v of %v out of %d bytes", x.Name, x.Shape, x.DType, fileSize)
			}
			if _, _, err := x.FirstBeyond(1); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err = Canonical(file, allLayouts...)
		return err
	})
	var fileErr *FileError
	if err != nil && (!errors.As(err, &fileErr) || strings.Contains(err.Error(), "\n")) {
		t.Fatalf("not a FileError on one line: %q", err)
	}
	return err == nil
}

func fuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, raw []byte) {
		readAll(t, len(raw), func() (*File, error) { return Parse("fuzz", raw) })
	})
}

func FuzzSafetensors(f *testing.F) {
	for _, c := range badFiles {
		f.Add(c.raw)
	}
	f.Add(withHeader(oneTensor, 8))
	f.Add(withHeader(`{"__metadata__":{"a":"b"},"x":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}`, 12))
	for _, raw := range fuzztest.Files(f, references+"/values.safetensors", references+"/kinds.safetensors") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		head := raw[:min(len(raw), sniffLen)]
		isJSON(head)
		if readAll(t, len(raw), func() (*File, error) { return Parse("fuzz", raw) }) && recognise(head) != nil {
			t.Fatalf("a good file is taken for something else: %v", recognise(head))
		}
	})
}

func FuzzTorch(f *testing.F) {
	for _, raw := range fuzztest.Files(f, references+"/*.pt") {
		f.Add(raw)
	}
	f.Add(storedPickle(tensorOf("FloatStorage", 8, 1, []int{2, 3}, []int{1, 2})))
	fuzzParse(f)
}

// FuzzPickle gives Parse an archive of PyTorch's or TorchScript's with a pickle.
func FuzzPickle(f *testing.F) {
	for _, seed := range []string{
		"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01u.", "ccollections\nOrderedDict\n)R.", "c__torch__\nM\n)\x81}U\x01aNsb.",
		tensorOf("FloatStorage", 8, 1, []int{2, 3}, []int{1, 2}), "]K\x01a(K\x02K\x03e.", "cos\nsystem\nU\x04true\x85R.",
		"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x08U\x01vK\x06K\x02\x87tQ.",
		"]c__builtin__\nset\n]\x85Racnumpy\ndtype\n(U\x02f8\x89\x88tR(K\x03NNtba.", "ctorch\nSize\n(K\x01K\x02t\x85R.",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	for _, raw := range fuzztest.Files(f, references+"/kinds*.pt") {
		if a, err := openArchive(raw); err == nil {
			raw, err = a.read(a.names[0], maxPickle)
			require.NoError(f, err)
		}
		f.Add(raw, false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, torchScript bool) {
		var more []torchtest.Entry
		if torchScript {
			more = []torchtest.Entry{{Name: "a/constants.pkl"}, {Name: "a/code/__torch__.py"}}
		}
		whole := storedPickle(string(raw), more...)
		readAll(t, len(whole), func() (*File, error) { return Parse("fuzz", whole) })
	})
}

func FuzzNPZ(f *testing.F) {
	for _, raw := range fuzztest.Files(f, references+"/arrays.npz") {
		f.Add(raw)
	}
	f.Add(npz("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", 8))
	fuzzParse(f)
}

// FuzzIndex gives Open an index beside two shards.
func FuzzIndex(f *testing.F) {
	dir := f.TempDir()
	save(f, filepath.Join(dir, "1.safetensors"), f32(f, "a", 1))
	save(f, filepath.Join(dir, "2.safetensors"), f32(f, "b", 2), f32(f, "c", 3))
	for _, seed := range []string{
		`{"metadata":{"total_size":12,"more":[1,{}]},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}`,
		`{"weight_map":{"a":"../1.safetensors"}}`, `{"weight_map":{"z":"1.safetensors"}}`, `{"weight_map":{"a":"index"}}`, `{"weight_map":[]}`,
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(dir, "index")
	f.Fuzz(func(t *testing.T, raw []byte) {
		require.NoError(t, os.WriteFile(path, raw, 0o666))
		readAll(t, len(raw)+1024, func() (*File, error) { return Open(path) })
	})
}

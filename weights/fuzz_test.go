package weights

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/fuzztest"
)

// readAll is what must hold for whatever a parser returned: an error is a
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
			if size, ok := byteSize(x.Shape, x.DType); !ok || size > fileSize || size != x.Len()*x.DType.Size() {
				t.Fatalf("%q: %v of %v out of %d bytes", x.Name, x.Shape, x.DType, fileSize)
			}
			if _, err := x.FirstNaN(); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err = Canonical(file)
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

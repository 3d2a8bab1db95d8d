package weights

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

// Saving what the reference implementation wrote gives its bytes again.
func TestSaveWritesTheReferencesBytes(t *testing.T) {
	for _, name := range []string{"slice_f32", "slice_f16", "slice_bf16"} {
		path := filepath.Join(references, name+".safetensors")
		src := open(t, path)
		var records []Record
		for _, tensor := range src.Tensors() {
			records = append(records, tensor.As(tensor.DType))
		}
		copied := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, Save(copied, records, SaveOptions{Metadata: src.Metadata()}))
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		got, err := os.ReadFile(copied)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
}

func TestSaveRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	const n = 1<<20 + 3 // more than one piece
	wave := func(dst []float32, off int) error {
		for i := range dst {
			dst[i] = float32(math.Sin(float64(off + i)))
		}
		return nil
	}
	ids, err := FromI64("ids", []int{1, 3}, []int64{-1, 0, math.MaxInt64})
	require.NoError(t, err)
	records := []Record{
		{Name: "half", DType: F16, Shape: []int{n}, ReadF32: wave},
		{Name: "brain", DType: BF16, Shape: []int{n}, ReadF32: wave},
		{Name: "full<&>\u2028\"", DType: F32, Shape: []int{n}, ReadF32: wave},
		{Name: "none", DType: F32, Shape: []int{0, 7}, ReadF32: wave},
		{Name: "scalar", DType: F32, ReadF32: wave},
		ids.As(I64),
	}
	metadata := map[string]string{"b": "2", "a": "\"é\n"}
	require.NoError(t, Save(path, records, SaveOptions{Metadata: metadata}))
	first, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Zero(t, le.Uint64(first)%8, "data begins at a multiple of 8")

	f := open(t, path)
	assert.Equal(t, metadata, f.Metadata())
	inFile := f.Tensors()
	slices.SortFunc(inFile, func(a, b Stored) int { return cmp.Or(a.begin-b.begin, a.end-b.end) })
	var order []string
	for _, tensor := range inFile {
		order = append(order, tensor.Name)
	}
	assert.Equal(t, []string{"ids", records[2].Name, "none", "scalar", "brain", "half"}, order)
	require.Len(t, f.Names(), len(records))
	want := make([]float32, n)
	wave(want, 0)
	assert.Equal(t, want, values(t, f, records[2].Name))
	f16, bf16 := values(t, f, "half"), values(t, f, "brain")
	for i, v := range want {
		require.Equal(t, half.F16ToF32(half.F32ToF16(v)), f16[i])
		require.Equal(t, half.BF16ToF32(half.F32ToBF16(v)), bf16[i])
	}
	none, _ := f.Tensor("none")
	assert.Equal(t, []int{0, 7}, none.Shape)
	stored, _ := f.Tensor("ids")
	got := make([]int64, 3)
	require.NoError(t, stored.ReadI64(got, 0))
	assert.Equal(t, []int64{-1, 0, math.MaxInt64}, got)

	// Another order gives the same file; the open one keeps its contents.
	records[0], records[5] = records[5], records[0]
	require.NoError(t, Save(path, records, SaveOptions{Metadata: metadata}))
	second, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	assert.Equal(t, want, values(t, f, records[2].Name))
}

func TestSaveRefuses(t *testing.T) {
	read := func([]float32, int) error { return nil }
	for _, c := range []struct {
		name    string
		records []Record
		kind    error
	}{
		{"two of a name", []Record{{Name: "a", DType: F32, ReadF32: read}, {Name: "a", DType: F16, ReadF32: read}}, ErrMalformed},
		{"metadata's name", []Record{{Name: "__metadata__", DType: F32, ReadF32: read}}, ErrMalformed},
		{"name not UTF-8", []Record{{Name: "\xff", DType: F32, ReadF32: read}}, ErrMalformed},
		{"negative dimension", []Record{{Name: "a", DType: F32, Shape: []int{-1}, ReadF32: read}}, ErrMalformed},
		{"overflow", []Record{{Name: "a", DType: F32, Shape: []int{math.MaxInt, 2}, ReadF32: read}}, ErrMalformed},
		{"overflow of the sum", []Record{
			{Name: "a", DType: F32, Shape: []int{math.MaxInt / 8}, ReadF32: read}, {Name: "b", DType: F32, Shape: []int{math.MaxInt / 8}, ReadF32: read},
			{Name: "c", DType: F32, Shape: []int{math.MaxInt / 8}, ReadF32: read}}, ErrMalformed},
		{"dtype", []Record{{Name: "a", DType: F64, ReadF32: read}}, ErrDType},
		{"no dtype", []Record{{Name: "a", ReadF32: read}}, ErrDType},
		{"no reader", []Record{{Name: "a", DType: I64, ReadF32: read}}, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "m.safetensors")
			requireFileError(t, Save(path, c.records, SaveOptions{}), path, c.kind)
			requireEntries(t, dir)
		})
	}
}

// A failure at any time leaves the old file and nothing beside it.
func TestSaveLeavesNothingHalfWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	save(t, path, f32(t, "old", 1))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	full := errors.New("device lost")
	records := []Record{
		f32(t, "a", make([]float32, 1000)...).As(F32),
		{Name: "b", DType: F32, Shape: []int{3 << 20}, ReadF32: func(_ []float32, off int) error {
			if off > 0 {
				return full
			}
			return nil
		}},
	}
	err = Save(path, records, SaveOptions{})
	require.ErrorIs(t, err, full)
	assert.Equal(t, fmt.Sprintf("save %s: tensor %q: device lost", path, "b"), err.Error())

	records[1].ReadF32 = func([]float32, int) error { panic("reader") }
	assert.PanicsWithValue(t, "reader", func() { Save(path, records, SaveOptions{}) })

	err = Save(path, records[:1], SaveOptions{NoReplace: true})
	requireFileError(t, err, path, fs.ErrExist)

	requireEntries(t, dir, "m.safetensors")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)

	require.NoError(t, Save(filepath.Join(dir, "new"), records[:1], SaveOptions{NoReplace: true}))
	requireEntries(t, dir, "m.safetensors", "new")
	requireFileError(t, Save(dir, nil, SaveOptions{}), dir, ErrNotWeights, "folder")
	missing := filepath.Join(dir, "none", "m.safetensors")
	err = Save(missing, nil, SaveOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.Contains(t, err.Error(), missing)
}

func requireEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	require.Equal(t, want, got)
}

package weights

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/half"
	"github.com/clip-wgpu/clip-wgpu/internal/torchtest"
)

const references = "../tests/testdata/containers"

func f32(t testing.TB, name string, data ...float32) Stored {
	tensor, err := FromF32(name, []int{len(data)}, data)
	require.NoError(t, err)
	return tensor
}

// save writes tensors as they are.
func save(t testing.TB, path string, tensors ...Stored) {
	var records []Record
	for _, tensor := range tensors {
		records = append(records, tensor.As(tensor.DType))
	}
	require.NoError(t, Save(path, records, SaveOptions{}))
}

func open(t testing.TB, path string) *File {
	f, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func values(t testing.TB, src StateDict, name string) []float32 {
	tensor, ok := src.Tensor(name)
	require.True(t, ok, name)
	v := make([]float32, tensor.Len())
	require.NoError(t, tensor.ReadF32(v, 0))
	return v
}

// The files hold some tensors of one model in three types, rounded by PyTorch
// and written by the reference implementation of safetensors.
func TestHalfFilesAgreeWithPyTorch(t *testing.T) {
	full := open(t, references+"/slice_f32.safetensors")
	for _, f := range []struct {
		name  string
		round func(float32) float32
	}{
		{"f16", func(v float32) float32 { return half.F16ToF32(half.F32ToF16(v)) }},
		{"bf16", func(v float32) float32 { return half.BF16ToF32(half.F32ToBF16(v)) }},
	} {
		file := open(t, references+"/slice_"+f.name+".safetensors")
		assert.Equal(t, map[string]string{"format": "pt"}, file.Metadata())
		require.Equal(t, []string{"ln_final.weight", "logit_scale", "positional_embedding", "visual.class_embedding"}, file.Names())
		for _, tensor := range file.Tensors() {
			want, _ := full.Tensor(tensor.Name)
			require.Equal(t, want.Shape, tensor.Shape)
			got := values(t, file, tensor.Name)
			for i, v := range values(t, full, tensor.Name) {
				require.Equal(t, f.round(v), got[i], "%s %s[%d]", f.name, tensor.Name, i)
			}
		}
	}
	position, _ := full.Tensor("positional_embedding")
	assert.Equal(t, []int{16, 48}, position.Shape)
	scale, _ := full.Tensor("logit_scale")
	assert.Empty(t, scale.Shape)
	assert.Equal(t, 1, scale.Len())
}

func TestReadConverts(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	floats := []float64{0, math.Copysign(0, -1), 1, -2.5, inf, -inf, 0x1p-24, -0x1.8p-130, nan}
	for d, encode := range map[DType]func(raw []byte, v float64) []byte{
		F64:  func(raw []byte, v float64) []byte { return le.AppendUint64(raw, math.Float64bits(v)) },
		F32:  func(raw []byte, v float64) []byte { return le.AppendUint32(raw, math.Float32bits(float32(v))) },
		F16:  func(raw []byte, v float64) []byte { return le.AppendUint16(raw, half.F32ToF16(float32(v))) },
		BF16: func(raw []byte, v float64) []byte { return le.AppendUint16(raw, half.F32ToBF16(float32(v))) },
	} {
		// Odd starts: a tensor's data need not be aligned in a file.
		for start := range 8 {
			raw := make([]byte, start)
			for _, v := range floats {
				raw = encode(raw, v)
			}
			tensor := Stored{Name: "x", DType: d, Shape: []int{len(floats)}, data: memory(raw), begin: start, end: len(raw)}
			got := make([]float32, 6)
			require.NoError(t, tensor.ReadF32(got, 3))
			for i, v := range floats[3:] {
				want := float32(v)
				if d == F16 {
					want = half.F16ToF32(half.F32ToF16(want))
				}
				if want != want {
					assert.True(t, got[i] != got[i], "%v at %d", d, start)
					continue
				}
				assert.Equal(t, math.Float32bits(want), math.Float32bits(got[i]), "%v at %d: %v", d, start, v)
			}
			infAt, v, err := tensor.FirstBeyond(float32(inf))
			require.NoError(t, err)
			assert.Equal(t, 4, infAt)
			assert.Equal(t, float32(inf), v)
		}
	}
}

func TestReadI64Converts(t *testing.T) {
	raw := []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for d, want := range map[DType]int64{I64: -2, I32: -2, I16: -2, I8: -2, U32: 1<<32 - 2, U16: 1<<16 - 2, U8: 254, Bool: 1} {
		tensor := Stored{Name: "ids", DType: d, data: memory(raw), end: d.Bytes()}
		got := []int64{0}
		require.NoError(t, tensor.ReadI64(got, 0))
		assert.Equal(t, want, got[0], d)
		assert.ErrorIs(t, tensor.ReadF32([]float32{0}, 0), ErrDType, d)
	}
	for _, d := range []DType{U64, F32, F8E4M3} {
		tensor := Stored{Name: "ids", DType: d, data: memory(raw), end: d.Bytes()}
		assert.ErrorIs(t, tensor.ReadI64([]int64{0}, 0), ErrDType, d)
	}
}

func TestReadOutOfRange(t *testing.T) {
	tensor := f32(t, "x", 1, 2, 3)
	for _, c := range []struct{ n, off int }{{1, -1}, {4, 0}, {1, 3}, {0, 4}, {1, math.MaxInt}} {
		err := tensor.ReadF32(make([]float32, c.n), c.off)
		assert.ErrorContains(t, err, `tensor "x"`, "%v", c)
		assert.ErrorContains(t, err, "it has 3", "%v", c)
	}
	assert.NoError(t, tensor.ReadF32(nil, 3))
	assert.Error(t, Stored{}.ReadF32(nil, 0), "the zero Tensor")
	_, err := FromF32("x", []int{2, 2}, make([]float32, 3))
	assert.ErrorContains(t, err, "3 elements do not fill shape [2 2]")
	_, err = FromF32("x", []int{-1, -3}, make([]float32, 3))
	assert.Error(t, err)
}

func TestFirstBeyond(t *testing.T) {
	data := make([]float32, 100_000)
	first := func(limit float32) (int, float32) {
		t.Helper()
		i, v, err := f32(t, "x", data...).FirstBeyond(limit)
		require.NoError(t, err)
		return i, v
	}
	inf := float32(math.Inf(1))
	i, _ := first(inf)
	assert.Equal(t, -1, i)
	data[5], data[60_000], data[99_998] = math.MaxFloat32, -65520, -inf
	i, v := first(inf)
	assert.Equal(t, 99_998, i)
	assert.Equal(t, -inf, v)
	data[70_001], data[99_999] = float32(math.Copysign(math.NaN(), -1)), float32(math.NaN())
	i, v = first(inf)
	assert.Equal(t, 70_001, i)
	assert.True(t, v != v)
	data[5] = 65519
	i, v = first(65520)
	assert.Equal(t, 60_000, i)
	assert.EqualValues(t, -65520, v)

	ids, err := FromI64("ids", []int{1}, []int64{1 << 40})
	require.NoError(t, err)
	i, _, err = ids.FirstBeyond(1)
	require.NoError(t, err)
	assert.Equal(t, -1, i, "integers are always finite")
}

func TestMapIsASource(t *testing.T) {
	var src StateDict = NewMap(f32(t, "b", 2), f32(t, "a", 1), f32(t, "b", 3))
	assert.Equal(t, []string{"a", "b"}, src.Names())
	assert.Equal(t, []float32{3}, values(t, src, "b"))
	_, ok := src.Tensor("c")
	assert.False(t, ok)
}

func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir)
	requireFileError(t, err, dir, fs.ErrNotExist, "open_clip_model.safetensors", "model.safetensors")

	// From the last choice to the first: each found wins over those before it.
	checkpoint := string(torchtest.Save(torchtest.Dict{{Key: "x", Value: torchtest.F32([]int{1}, []float32{1})}}))
	for _, name := range []string{"only.bin", "m.bin.index.json", "model.pth", "pytorch_model.pth", "pytorch_model.bin.index.json", "pytorch_model.bin",
		"model.safetensors.index.json", "model.safetensors", "open_clip_pytorch_model.pth", "open_clip_pytorch_model.bin",
		"open_clip_pytorch_model.safetensors", "open_clip_model.safetensors.index.json", "open_clip_model.safetensors"} {
		content := checkpoint
		if strings.HasSuffix(name, ".json") {
			content = `{"weight_map":{"x":"only.bin"}}`
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666))
		assert.Equal(t, filepath.Join(dir, name), open(t, dir).Path())
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct{ files, want string }{
		{"weights.safetensors", "weights.safetensors"},
		{"config.json open_clip_pytorch_model.safetensors README.md", "open_clip_pytorch_model.safetensors"},
		{"a.pt model.safetensors z.safetensors", "model.safetensors"},
		{"ViT-B-32.pt vocab.json merges.txt tokenizer.json ._ViT-B-32.pt", "ViT-B-32.pt"},
		{"big_vision.npz", "big_vision.npz"},
		{"epoch_1.pth config.json", "epoch_1.pth"},
		{"m-00001-of-00001.safetensors", "m-00001-of-00001.safetensors"},
		{"m-00001-of-00002.safetensors m-00002-of-00002.safetensors m.safetensors.index.json", "m.safetensors.index.json"},
		{"pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json x.bin", "pytorch_model.bin.index.json"},
	} {
		got, err := Choose(strings.Fields(c.files))
		require.NoError(t, err, c.files)
		assert.Equal(t, c.want, got)
	}
	for _, c := range []struct {
		files string
		kind  error
		says  []string
	}{
		{"", fs.ErrNotExist, []string{"has no weights", "open_clip_model.safetensors"}},
		{"config.json model.onnx .safetensors vocab.bin.json", fs.ErrNotExist, []string{"has no weights"}},
		{`old/a.safetensors ..\..\b.safetensors C:\c.pt`, fs.ErrNotExist, []string{"has no weights"}},
		{"b.pt a.safetensors c.bin", ErrNotWeights, []string{"several", "a.safetensors, b.pt, c.bin: give one of them"}},
		{"b.safetensors.index.json a.safetensors.index.json x.safetensors", ErrNotWeights, []string{"a.safetensors.index.json, b.safetensors.index.json"}},
		{"m-00002-of-00002.safetensors m-00001-of-00002.safetensors", fs.ErrNotExist, []string{"shards", "m-00001-of-00002.safetensors, m-00002", "not the index", "m.safetensors.index.json"}},
		{"pytorch_model-00002-of-00010.bin", fs.ErrNotExist, []string{"pytorch_model.bin.index.json"}},
		{"m-00001-of-00002.safetensors m-00002-of-00002.safetensors a.pt", ErrNotWeights, []string{"several"}},
		{"0.pt 1.pt 2.pt 3.pt 4.pt 5.pt 6.pt 7.pt 8.pt 9.pt a.pt b.pt", ErrNotWeights, []string{"9.pt, 2 more"}},
	} {
		_, err := Choose(strings.Fields(c.files))
		requireFileError(t, at("dir", err), "dir", c.kind, c.says...)
	}
}

func TestOpenFolderThatHasOneFileOfWeights(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "old.safetensors"), 0o777)) // a folder is no weights
	save(t, filepath.Join(dir, "weights.safetensors"), f32(t, "x", 1))
	assert.Equal(t, filepath.Join(dir, "weights.safetensors"), open(t, dir).Path())
	save(t, filepath.Join(dir, "more.safetensors"), f32(t, "x", 1))
	_, err := Open(dir)
	requireFileError(t, err, dir, ErrNotWeights, "more.safetensors, weights.safetensors: give one of them")
}

func TestOpenMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.safetensors")
	_, err := Open(path)
	requireFileError(t, err, path, fs.ErrNotExist, "no such file")
	_, err = Open(filepath.Join(t.TempDir(), "two\nlines"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.NotContains(t, err.Error(), "\n")
}

func TestOpenIndex(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o777))
	save(t, filepath.Join(dir, "1.safetensors"), f32(t, "a", 1), f32(t, "c", 3), f32(t, "unlisted", 9))
	save(t, filepath.Join(dir, "sub", "2.safetensors"), f32(t, "b", 2), f32(t, "c", 4))
	path := filepath.Join(dir, "any name")
	write := func(index string) {
		require.NoError(t, os.WriteFile(path, []byte(index), 0o666))
	}
	write(`{"metadata":{"total_size":12,"more":[1,{}]},"weight_map":{"b":"sub/2.safetensors","a":"1.safetensors","c":"sub/2.safetensors"}}` + "\n")
	f := open(t, path)
	assert.Equal(t, []string{"a", "b", "c"}, f.Names())
	for name, want := range map[string]float32{"a": 1, "b": 2, "c": 4} {
		assert.Equal(t, []float32{want}, values(t, f, name))
	}
	require.NoError(t, f.Close())
	for _, tensor := range f.Tensors() {
		assert.ErrorIs(t, tensor.ReadF32([]float32{0}, 0), ErrClosed)
	}

	for _, c := range []struct {
		name, index string
		kind        error
		says        []string
	}{
		{"not in its shard", `{"weight_map":{"z":"1.safetensors"}}`, ErrMalformed, []string{`"z"`, `"1.safetensors"`}},
		{"above the folder", `{"weight_map":{"a":"../1.safetensors"}}`, ErrMalformed, []string{`"a"`, `"../1.safetensors"`}},
		{"absolute", `{"weight_map":{"a":"/etc/passwd"}}`, ErrMalformed, []string{`"/etc/passwd"`}},
		{"listed twice", `{"weight_map":{"a":"1.safetensors","a":"1.safetensors"}}`, ErrMalformed, []string{"duplicate", `"a"`}},
		{"number", `{"weight_map":{"a":1}}`, ErrMalformed, []string{"weight_map", `"a"`}},
		{"list", `{"weight_map":[]}`, ErrMalformed, []string{"weight_map", "'['"}},
		{"cut", `{"weight_map":{"a":"1.safe`, ErrMalformed, []string{"index is not valid JSON"}},
		{"two values", `{"weight_map":{}} {}`, ErrMalformed, []string{"follows"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(c.index)
			_, err := Open(path)
			requireFileError(t, err, path, c.kind, c.says...)
		})
	}

	write(`{"weight_map":{"a":"1.safetensors","b":"3.safetensors"}}`)
	_, err := Open(path)
	requireFileError(t, err, filepath.Join(dir, "3.safetensors"), fs.ErrNotExist)
	write(`{"weight_map":{"a":"any name"}}`)
	_, err = Open(path)
	requireFileError(t, err, path, ErrNotWeights) // an index is no shard
}

func TestClose(t *testing.T) {
	assert.NoError(t, (*File)(nil).Close())
	path := filepath.Join(t.TempDir(), "m.safetensors")
	save(t, path, f32(t, "a", 1, 2))
	f := open(t, path)
	tensor, _ := f.Tensor("a")
	// Close inside a view: this view's memory stays, later ones are refused.
	require.NoError(t, tensor.View(func(raw []byte) error {
		require.NoError(t, f.Close())
		assert.Equal(t, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}, raw)
		err := tensor.ReadF32(make([]float32, 1), 0)
		requireFileError(t, err, path, ErrClosed)
		return nil
	}))
	require.NoError(t, f.Close())
	_, _, err := tensor.FirstBeyond(1)
	assert.ErrorIs(t, err, ErrClosed)
}

func TestCloseWhileReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	save(t, path, f32(t, "a", make([]float32, 1<<16)...))
	for range 20 {
		f := open(t, path)
		tensor, _ := f.Tensor("a")
		var wg sync.WaitGroup
		started := make(chan struct{}, 4)
		for range 4 {
			wg.Go(func() {
				buf := make([]float32, tensor.Len())
				for first := true; ; first = false {
					err := tensor.ReadF32(buf, 0)
					if first {
						started <- struct{}{}
					}
					if err != nil {
						assert.ErrorIs(t, err, ErrClosed)
						return
					}
				}
			})
		}
		for range 4 {
			<-started
		}
		for range 2 {
			wg.Go(func() { assert.NoError(t, f.Close()) })
		}
		wg.Wait()
	}
}

func TestViewPassesPanicsOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	save(t, path, f32(t, "a", 1))
	f := open(t, path)
	tensor, _ := f.Tensor("a")
	assert.PanicsWithValue(t, "mine", func() { tensor.View(func([]byte) error { panic("mine") }) })
	var p *int
	assert.Panics(t, func() { tensor.View(func([]byte) error { *p = 1; return nil }) })
}

func BenchmarkReadF32(b *testing.B) {
	const n = 1 << 22
	dst := make([]float32, n)
	for _, d := range []DType{F32, F16, BF16, F64} {
		b.Run(fmt.Sprint(strings.ToLower(d.String())), func(b *testing.B) {
			tensor := Stored{Name: "x", DType: d, data: memory(make([]byte, n*d.Bytes())), end: n * d.Bytes()}
			b.SetBytes(4 * n)
			for b.Loop() {
				if err := tensor.ReadF32(dst, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package clip

import (
	"image"
	"image/color"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// loadNaFlex loads a recording of a NaFlex model.
func loadNaFlex(t *testing.T, name string, opts ...Option) *Model {
	t.Helper()
	dir := filepath.Join("../tests/testdata/oracle", name)
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	return load(t, dir, append(opts, WithConfig(parse(t, data)))...)
}

// striped is a picture of a width and a height.
func striped(w, h int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.SetNRGBA(i%w, i/w, color.NRGBA{uint8(17 * (i % w)), uint8(29 * (i / w)), uint8(w + h), 255})
	}
	return img
}

func goImages(images []image.Image) iter.Seq[preprocess.Picture] {
	return func(yield func(preprocess.Picture) bool) {
		for _, img := range images {
			if !yield(preprocess.GoImage(img)) {
				return
			}
		}
	}
}

// inputsOf are what one picture consists of, without padding.
func inputsOf(t *testing.T, m *Model, img image.Image) map[string]Array {
	t.Helper()
	p, err := m.Preprocess().Patches(preprocess.FromImage(img))
	require.NoError(t, err)
	in, err := PatchInputs(m.Preprocess(), []preprocess.Patched{p}, p.Len())
	require.NoError(t, err)
	return in
}

// Pictures of all shapes are encoded together, and each as if it were alone and had no
// padding.
func TestPicturesOfAllShapes(t *testing.T) {
	images := []image.Image{striped(64, 48), striped(1, 5000), striped(33, 77), striped(5000, 1), striped(7, 7), striped(1, 1), striped(300, 20)}
	for _, name := range []string{"naflex_gap", "naflex_map_swiglu_modern"} {
		m := loadNaFlex(t, name, WithMaxBatch(4))
		got, err := m.EncodeImages(t.Context(), images)
		require.NoError(t, err)
		require.Equal(t, len(images), got.Shape[0])
		lengths, padded := map[int]bool{}, map[int]bool{}
		for i, img := range images {
			in := inputsOf(t, m, img)
			lengths[in[towers.PatchValid].Shape[1]] = true
			want, err := m.EncodeImageOutputs(t.Context(), in, true, towers.Features)
			require.NoError(t, err)
			assert.InDeltaSlice(t, want[towers.Features].Data, got.rows(i, i+1).Data, 2e-6, "%s, picture %d", name, i)
			padded[paddedLength(in[towers.PatchValid].Shape[1], 18)] = true
		}
		assert.Greater(t, len(lengths), 2)
		assert.Greater(t, len(padded), 1)
		i := 0
		for e, err := range m.EncodePictures(t.Context(), goImages(images), 4, nil) {
			require.NoError(t, err)
			require.NoError(t, e.Err)
			assert.InDeltaSlice(t, got.rows(i, i+1).Data, e.Features.Data, 2e-6)
			i++
		}
		assert.Equal(t, len(images), i)
	}
}

// A picture that has no pixels fails by itself.
func TestAPictureWithoutPixelsAmongSequences(t *testing.T) {
	m := loadNaFlex(t, "naflex_gap")
	var errs []error
	for e, err := range m.EncodePictures(t.Context(), goImages([]image.Image{striped(9, 9), nil, striped(3, 40)}), 8, nil) {
		require.NoError(t, err)
		errs = append(errs, e.Err)
	}
	require.Len(t, errs, 3)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], preprocess.ErrShape)
	require.NoError(t, errs[2])
}

// What padding holds does not matter.
func TestPaddingChangesNothing(t *testing.T) {
	m := loadNaFlex(t, "naflex_map_swiglu_modern")
	in := inputsOf(t, m, striped(40, 20))
	n, width := in[towers.PatchValid].Shape[1], in[towers.Patches].Shape[2]
	want, err := m.EncodeImageOutputs(t.Context(), in, false)
	require.NoError(t, err)
	const more = 5
	padded := map[string]Array{
		towers.Patches:    {[]int{1, n + more, width}, append(in[towers.Patches].Data, make([]float32, more*width)...)},
		towers.PatchCoord: {[]int{1, n + more, 2}, append(in[towers.PatchCoord].Data, make([]float32, more*2)...)},
		towers.PatchValid: {[]int{1, n + more}, append(in[towers.PatchValid].Data, make([]float32, more)...)},
	}
	for i := n * width; i < (n+more)*width; i++ {
		padded[towers.Patches].Data[i] = float32(math.Sin(float64(i)) * 100)
	}
	got, err := m.EncodeImageOutputs(t.Context(), padded, false)
	require.NoError(t, err)
	assert.InDeltaSlice(t, want[towers.Features].Data, got[towers.Features].Data, 1e-5)
}

// Blocks of images of one size are maps; those of pictures of several are rows of tokens.
func TestIntermediatesOfSequences(t *testing.T) {
	m := loadNaFlex(t, "naflex_gap")
	wide := Array{[]int{2, 3, 12, 28}, make([]float32, 2*3*12*28)}
	for i := range wide.Data {
		wide.Data[i] = float32(math.Sin(float64(i)))
	}
	out, err := m.ForwardIntermediates(t.Context(), ImageInputs(wide), nil, IntermediatesOptions{ImageOutputExtraTokens: true})
	require.NoError(t, err)
	require.Len(t, out.ImageIntermediates, 2)
	assert.Equal(t, []int{2, 24, 3, 7}, out.ImageIntermediates[0].Shape)
	assert.Equal(t, []int{2, 4, 24}, out.ImageIntermediatesPrefix[0].Shape)
	rows, err := m.ForwardIntermediates(t.Context(), ImageInputs(wide), nil, IntermediatesOptions{ImageOutputFmt: "NLC"})
	require.NoError(t, err)
	assert.Equal(t, []int{2, 21, 24}, rows.ImageIntermediates[0].Shape)
	assert.Equal(t, rows.ImageIntermediates[0].Data[24], out.ImageIntermediates[0].Data[1])

	in := inputsOf(t, m, striped(40, 20))
	_, err = m.ForwardIntermediates(t.Context(), in, nil, IntermediatesOptions{})
	require.ErrorIs(t, err, ErrInput)
	require.ErrorContains(t, err, "must be NLC")
	_, err = m.ForwardIntermediates(t.Context(), in, nil, IntermediatesOptions{ImageOutputFmt: "NLC"})
	require.NoError(t, err)
}

// A saved model takes pictures as its original does, and so tells its identity.
func TestSequencesAreSaved(t *testing.T) {
	m := loadNaFlex(t, "naflex_gap")
	folder := filepath.Join(t.TempDir(), "saved")
	_, err := m.Save(t.Context(), folder, SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	again := load(t, folder)
	a, err := m.Identity(t.Context())
	require.NoError(t, err)
	b, err := again.Identity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, a.Preprocessing, b.Preprocessing)
	assert.Contains(t, a.Preprocessing, `"max_seq_len":18`)
	images := []image.Image{striped(50, 20)}
	want, err := m.EncodeImages(t.Context(), images)
	require.NoError(t, err)
	got, err := again.EncodeImages(t.Context(), images)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// Pictures of a batch are grouped by length: each once, with room for its patches, and
// those that are shorter in whole shares of the batch.
func TestLengthGroups(t *testing.T) {
	for most, want := range map[int][]int{18: {5, 9, 14, 18}, 256: {64, 128, 192, 256}, 1: {1}, 3: {1, 2, 3}} {
		var lengths []int
		for n := range most {
			length := paddedLength(n+1, most)
			assert.GreaterOrEqual(t, length, n+1)
			lengths = append(lengths, length)
		}
		assert.Equal(t, want, slices.Compact(lengths))
	}
	e := &pictureEncoder{Model: loadNaFlex(t, "naflex_gap"), batch: 8}
	groupsOf := func(lengths ...int) (all [][]int) {
		var pictures []*picture
		for _, n := range lengths {
			pictures = append(pictures, &picture{patches: preprocess.Patched{Grid: [2]int{1, n}}})
		}
		for _, group := range e.lengthGroups(pictures) {
			all = append(all, append([]int{group.length}, group.places...))
			for i, p := range group.pictures {
				assert.Same(t, pictures[group.places[i]], p)
			}
		}
		return all
	}
	assert.Equal(t, [][]int{{18, 1, 2, 0, 3}}, groupsOf(17, 15, 16, 18))
	assert.Equal(t, [][]int{{5, 1, 4}, {18, 5, 6, 0, 2, 3, 7}}, groupsOf(17, 3, 18, 18, 4, 5, 15, 18), "two make a share")
	assert.Equal(t, [][]int{{9, 0, 1}}, groupsOf(9, 9))
}

// What PatchInputs cannot make sequences of.
func TestPatchInputsErrors(t *testing.T) {
	naflex := loadNaFlex(t, "naflex_gap").Preprocess()
	plain, err := preprocess.New(preprocess.DefaultConfig())
	require.NoError(t, err)
	two := preprocess.Patched{RGB: make([]uint8, 2*48), Grid: [2]int{1, 2}}
	for says, make := range map[string]func() (map[string]Array, error){
		"with a sequence: false":  func() (map[string]Array, error) { return PatchInputs(plain, nil, 4) },
		"sequences of 0 patches":  func() (map[string]Array, error) { return PatchInputs(naflex, nil, 0) },
		"picture 1 has 2 patches": func() (map[string]Array, error) { return PatchInputs(naflex, []preprocess.Patched{{}, two}, 1) },
		"2 patches of 95 bytes together, want at most 3 of 48 each": func() (map[string]Array, error) {
			return PatchInputs(naflex, []preprocess.Patched{{RGB: two.RGB[1:], Grid: two.Grid}}, 3)
		},
	} {
		_, err := make()
		require.ErrorIs(t, err, ErrInput, says)
		assert.ErrorContains(t, err, says)
	}
}

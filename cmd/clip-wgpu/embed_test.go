package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/weights"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// matrix is the content of an output of embed.
type matrix struct {
	ids  []rowID
	rows [][]float32
}

// readNPY reads a float32 matrix as numpy.lib.format defines it, with its ids.
func readNPY(t *testing.T, path string) matrix {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "\x93NUMPY\x01\x00", string(data[:8]))
	length := int(binary.LittleEndian.Uint16(data[8:]))
	require.Zero(t, (10+length)%64)
	header, body := string(data[10:10+length]), data[10+length:]
	require.True(t, strings.HasSuffix(header, "\n"))
	var n, dim int
	_, err = fmt.Sscanf(header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", &n, &dim)
	require.NoError(t, err, header)
	require.Len(t, body, 4*n*dim)
	ids, err := os.ReadFile(path + ".ids.jsonl")
	require.NoError(t, err)
	m := matrix{ids: decodeLines[rowID](t, string(ids))}
	require.Len(t, m.ids, n)
	for i := range n {
		row := make([]float32, dim)
		require.NoError(t, binary.Read(bytes.NewReader(body[4*i*dim:]), binary.LittleEndian, row))
		m.rows = append(m.rows, row)
	}
	return m
}

func readTensors(t *testing.T, path string) matrix {
	t.Helper()
	f, err := weights.Open(path)
	require.NoError(t, err)
	defer f.Close()
	x, ok := f.Tensor("embeddings")
	require.True(t, ok)
	var m matrix
	require.Equal(t, "emoji-clip", f.Metadata()["model"])
	require.NoError(t, json.Unmarshal([]byte(f.Metadata()["ids"]), &m.ids))
	require.Len(t, x.Shape, 2)
	for i := range x.Shape[0] {
		row := make([]float32, x.Shape[1])
		require.NoError(t, x.ReadF32(row, i*len(row)))
		m.rows = append(m.rows, row)
	}
	return m
}

func readJSONL(t *testing.T, path string) matrix {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var m matrix
	type line struct {
		rowID
		Embedding []float32
	}
	for _, l := range decodeLines[line](t, string(data)) {
		m.ids, m.rows = append(m.ids, l.rowID), append(m.rows, l.Embedding)
	}
	return m
}

// requireFiles checks that nothing half-written is left in a folder.
func requireFiles(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	found := []string{}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	require.ElementsMatch(t, names, found)
}

func TestEmbedFormatsAgree(t *testing.T) {
	folder := t.TempDir()
	texts := filepath.Join(t.TempDir(), "texts")
	require.NoError(t, os.WriteFile(texts, []byte("rose\n\npizza <b>\n"), 0o666))
	args := []string{"embed", example("rose"), "-", example("rocket"), "--text", "a, b", "--text-file", texts, "--batch", "2", "-o"}
	want := []rowID{
		{"image", rawText(example("rose"))}, {"image", rawText(example("pizza"))}, {"image", rawText(example("rocket"))},
		{"text", "a, b"}, {"text", "rose"}, {"text", ""}, {"text", "pizza <b>"},
	}
	var results []matrix
	for name, read := range map[string]func(*testing.T, string) matrix{"x.npy": readNPY, "x.jsonl": readJSONL, "x.safetensors": readTensors,
		"x.csv": readRecords(readCSV), "x.tsv": readRecords(readTSV)} {
		path := filepath.Join(folder, name)
		o := programWithInput(t, "\n"+example("pizza")+"\n", append(args, path)...)
		o.requireDone(t)
		assert.Empty(t, o.stdout)
		results = append(results, read(t, path))
	}
	requireFiles(t, folder, "x.npy", "x.npy.ids.jsonl", "x.jsonl", "x.safetensors", "x.csv", "x.tsv")
	for _, m := range results {
		assert.Equal(t, want, m.ids)
		assert.Equal(t, results[0].rows, m.rows)
	}
	for _, row := range results[0].rows {
		assert.Len(t, row, 128)
		assert.InDelta(t, 1, dot(row, row), 1e-5)
	}
	rose, pizza := results[0].rows[0], results[0].rows[1]
	assert.Greater(t, dot(rose, results[0].rows[4]), dot(pizza, results[0].rows[4]), "the text rose is nearer to the rose")
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestEmbedSkipsBadImages(t *testing.T) {
	images, out := t.TempDir(), t.TempDir()
	picture, err := os.ReadFile(example("pizza"))
	require.NoError(t, err)
	for i := range 100 {
		data := picture
		if i == 42 {
			data = picture[:len(picture)/2]
		}
		require.NoError(t, os.WriteFile(filepath.Join(images, fmt.Sprintf("%02d.png", i)), data, 0o666))
	}
	path := filepath.Join(out, "x.npy")

	program(t, "embed", images, "-o", path).requireFailure(t, exitFailure, "42.png")
	requireFiles(t, out)

	o := program(t, "embed", images, "-o", path, "--skip-errors")
	assert.Equal(t, exitSkipped, o.code)
	assert.Equal(t, 2, strings.Count(o.stderr, "\n"))
	assert.Contains(t, o.stderr, "42.png")
	assert.Contains(t, o.stderr, "1 of 100 inputs skipped")
	m := readNPY(t, path)
	require.Len(t, m.ids, 99)
	assert.False(t, slices.Contains(m.ids, rowID{"image", rawText(filepath.Join(images, "42.png"))}))
	assert.Equal(t, rowID{"image", rawText(filepath.Join(images, "43.png"))}, m.ids[42])
}

func TestEmbedOutputsThatCannotBe(t *testing.T) {
	folder := t.TempDir()
	existing := filepath.Join(folder, "taken.jsonl")
	require.NoError(t, os.WriteFile(existing, []byte("mine"), 0o666))
	require.NoError(t, os.Mkdir(filepath.Join(folder, "folder.npy"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ids.npy.ids.jsonl"), nil, 0o666))
	for name, path := range map[string]string{
		"no folder":          filepath.Join(folder, "none", "x.npy"),
		"folder is a file":   filepath.Join(existing, "x.npy"),
		"exists":             existing,
		"ids exist":          filepath.Join(folder, "ids.npy"),
		"is a folder":        filepath.Join(folder, "folder.npy"),
		"unwritable folder":  "/proc/x.npy",
		"unwritable folder2": "/proc/x.safetensors",
	} {
		t.Run(name, func(t *testing.T) {
			// A device that is not there shows that the GPU is not asked before.
			program(t, "embed", "--text", "a", "-o", path, "--device", "none").requireFailure(t, exitFailure, path)
		})
	}
	data, err := os.ReadFile(existing)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(data))
	requireFiles(t, folder, "taken.jsonl", "folder.npy", "ids.npy.ids.jsonl")

	program(t, "embed", "--text", "a", "-o", existing, "--force").requireDone(t)
	assert.Len(t, readJSONL(t, existing).rows, 1)
	program(t, "embed", "--text", "a", "-o", filepath.Join(folder, "folder.npy"), "--force").requireFailure(t, exitFailure, "folder.npy")
}

func TestTooManyIDsForSafetensors(t *testing.T) {
	folder := t.TempDir()
	ids := slices.Repeat([]rowID{{"text", rawText(strings.Repeat("x", 1<<20))}}, 50)
	_, err := newRowWriter(filepath.Join(folder, "x.safetensors"), rowOptions{ids: ids})
	require.ErrorContains(t, err, "50 rows")
	requireFiles(t, folder)
}

// nanModel is the embedded model with NaN as one element of a tensor.
func nanModel(t *testing.T, tensor string, element int) (folder string) {
	return editedModel(t, tensor, func(i int, v float32) float32 {
		if i == element {
			return float32(math.NaN())
		}
		return v
	})
}

// editedModel is the embedded model with other elements of a tensor.
func editedModel(t *testing.T, tensor string, edit func(element int, v float32) float32) (folder string) {
	folder = editModel(t, func(map[string]any) {})
	file := filepath.Join(folder, "open_clip_model.safetensors")
	f, err := weights.Open(file)
	require.NoError(t, err)
	var records []weights.Record
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		r := x.As(weights.F32)
		if name == tensor {
			r.ReadF32 = func(dst []float32, off int) error {
				err := x.ReadF32(dst, off)
				for i, v := range dst {
					dst[i] = edit(off+i, v)
				}
				return err
			}
		}
		records = append(records, r)
	}
	require.NoError(t, weights.Save(file+".new", records, weights.SaveOptions{}))
	require.NoError(t, f.Close())
	require.NoError(t, os.Rename(file+".new", file))
	return folder
}

// Features that are not numbers are no answer: the tensor that holds NaN is named.
func TestNaNWeights(t *testing.T) {
	folder := nanModel(t, "visual.ln_post.bias", 0)
	out := filepath.Join(t.TempDir(), "x.jsonl")
	for _, args := range [][]string{{"embed", "-o", out}, {"classify", "--labels", "pizza,rose"}} {
		o := program(t, append(args, example("pizza"), "--model", folder, "--quiet")...)
		assert.Equal(t, exitFailure, o.code)
		assert.Equal(t, "clip-wgpu: "+example("pizza")+": NaN or Inf in its features: NaN in tensor visual.ln_post.bias (element 0)"+skipHint+"\n", o.stderr)
		assert.Empty(t, o.stdout)
	}
	assert.NoFileExists(t, out)
	program(t, "embed", "--text", "pizza", "-o", out, "--model", folder, "--quiet").requireDone(t) // the other tower is sound

	o := program(t, "embed", "--text", "pizza", "-o", "-", "--model", folder)
	assert.Equal(t, exitOK, o.code)
	assert.Contains(t, o.stderr, "warning: "+folder+": NaN in tensor visual.ln_post.bias (element 0)\n")

	o = program(t, "convert", folder, "-o", filepath.Join(t.TempDir(), "copy"))
	assert.Equal(t, exitOK, o.code)
	assert.Contains(t, o.stderr, "NaN in tensor visual.ln_post.bias (element 0)\n")
}

func TestEmbedToStdout(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	args := []string{"embed", example("rose"), example("pizza"), "--text", "a, b", "-o", "-"}
	want := []rowID{{"image", rawText(example("rose"))}, {"image", rawText(example("pizza"))}, {"text", "a, b"}}
	var rows [][][]float32
	for _, format := range []string{"", "jsonl", "csv", "tsv", "safetensors", "npy"} {
		with := args
		if format != "" {
			with = append(slices.Clone(args), "--format", format)
		}
		o := program(t, with...)
		o.requireDone(t)
		path := filepath.Join(t.TempDir(), "x")
		require.NoError(t, os.WriteFile(path, []byte(o.stdout), 0o666))
		var m matrix
		switch format {
		case "csv":
			m = readRecords(readCSV)(t, path)
		case "tsv":
			m = readRecords(readTSV)(t, path)
		case "safetensors":
			m = readTensors(t, path)
		case "npy":
			require.NoError(t, os.WriteFile(path+idsExtension, []byte(strings.Repeat("{}\n", len(want))), 0o666))
			m = readNPY(t, path)
			m.ids = want
		default:
			m = readJSONL(t, path)
		}
		assert.Equal(t, want, m.ids, format)
		rows = append(rows, m.rows)
	}
	for _, r := range rows {
		assert.Equal(t, rows[0], r)
	}
	requireFiles(t, temporary)
}

func TestEmbedNamesTheFormatOfOddNames(t *testing.T) {
	folder := t.TempDir()
	program(t, "embed", "--text", "a", "-o", filepath.Join(folder, "x.dat"), "--format", "csv").requireDone(t)
	assert.Len(t, readRecords(readCSV)(t, filepath.Join(folder, "x.dat")).rows, 1)
	program(t, "embed", "--text", "a", "-o", filepath.Join(folder, "x.TSV")).requireDone(t)
	assert.Len(t, readRecords(readTSV)(t, filepath.Join(folder, "x.TSV")).rows, 1)
}

func TestTextsAndFilesAreNotMixedUp(t *testing.T) {
	program(t, "embed", "--text", "red", "cat", "-o", "-").requireFailure(t, exitFailure, "cat: ", "--text \"red cat\"")
	program(t, "embed", "cat", "-o", "-").requireFailure(t, exitFailure, "cat: ")
	o := program(t, "embed", "--text", example("pizza"), "-o", "-")
	assert.Equal(t, exitOK, o.code)
	assert.Contains(t, o.stderr, "taken as a text")
	file := filepath.Join(t.TempDir(), "texts")
	require.NoError(t, os.WriteFile(file, []byte("b\nc"), 0o666))
	o = programWithInput(t, "d\n", "embed", "--text", "a", "--text-file", file, "--text-file", "-", "-o", "-")
	o.requireDone(t)
	assert.Equal(t, []rowID{{"text", "a"}, {"text", "b"}, {"text", "c"}, {"text", "d"}}, decodeLines[rowID](t, o.stdout))
}

// NaN that only some inputs meet costs these their rows.
func TestNaNSkipsItsInputs(t *testing.T) {
	m, err := clip.Load(t.Context(), checkpoint.Embedded)
	require.NoError(t, err)
	defer m.Close()
	pizza := m.Tokenizer().Encode("pizza")[0]
	width := m.Config().TextCfg.Width
	folder := nanModel(t, "token_embedding.weight", int(pizza)*width)

	out := filepath.Join(t.TempDir(), "x.jsonl")
	args := []string{"embed", "--text", "rose", "--text", "pizza", "--text", "guitar", "--model", folder, "--quiet", "-o", out}
	cause := fmt.Sprintf("NaN in tensor token_embedding.weight (element %d)", int(pizza)*width)
	o := program(t, args...)
	o.requireFailure(t, exitFailure, "pizza: NaN or Inf in its features: "+cause)
	program(t, "classify", example("pizza"), "--labels", "rose,guitar", "--labels", "pizza", "--model", folder, "--quiet", "--skip-errors").
		requireFailure(t, exitFailure, `text "pizza": NaN or Inf in the text features of item 2: `+cause)
	assert.NoFileExists(t, out)

	o = program(t, append(args, "--skip-errors")...)
	assert.Equal(t, exitSkipped, o.code)
	assert.Contains(t, o.stderr, "clip-wgpu: skipped: pizza: NaN or Inf in its features: "+cause+"\n")
	rows, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Regexp(t, `^\{"kind":"text","id":"rose",[^\n]+\n\{"kind":"text","id":"guitar",[^\n]+\n$`, string(rows))
}

// A vector of zeros is no direction, which a note says.
func TestZeroFeatures(t *testing.T) {
	folder := editedModel(t, "text_projection", func(element int, v float32) float32 { return 0 })
	o := program(t, "embed", "--text", "pizza", "--text", "rose", "-o", "-", "--model", folder)
	assert.Contains(t, o.stderr, "2 inputs whose features are all zeros")
}

// --draft changes the vectors of JPEGs that are twice as large as the model wants them, or
// more, and of nothing else; the file says how its vectors were made.
func TestDraft(t *testing.T) {
	folder := t.TempDir()
	img := image.NewRGBA(image.Rect(0, 0, 300, 200))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i >> 7)
	}
	large, small := filepath.Join(folder, "large.jpg"), filepath.Join(folder, "small.jpg")
	for path, part := range map[string]image.Image{large: img, small: img.SubImage(image.Rect(0, 0, 127, 200))} {
		var data bytes.Buffer
		require.NoError(t, jpeg.Encode(&data, part, nil))
		require.NoError(t, os.WriteFile(path, data.Bytes(), 0o666))
	}
	vectors := func(flags ...string) (matrix, map[string]any) {
		path := filepath.Join(folder, "out.safetensors")
		program(t, append([]string{"embed", large, small, example("pizza"), "-o", path, "--force"}, flags...)...).requireDone(t)
		f, err := weights.Open(path)
		require.NoError(t, err)
		defer f.Close()
		var made map[string]any
		require.NoError(t, json.Unmarshal([]byte(f.Metadata()["preprocessing"]), &made))
		assert.Equal(t, "f32", f.Metadata()["weights"])
		assert.Regexp(t, "^[0-9a-f]{64}$", f.Metadata()["fingerprint"])
		return readTensors(t, path), made
	}
	stored, made := vectors()
	assert.Equal(t, []any{false, false, "shortest"}, []any{made["draft"], made["orient"], made["resize_mode"]})
	draft, made := vectors("--draft", "--orient")
	assert.Equal(t, []any{true, true}, []any{made["draft"], made["orient"]})
	assert.NotEqual(t, stored.rows[0], draft.rows[0])
	assert.Equal(t, stored.rows[1:], draft.rows[1:])
	for i, v := range stored.rows[0] {
		assert.InDelta(t, v, draft.rows[0][i], 0.1, "of the same picture")
	}
}

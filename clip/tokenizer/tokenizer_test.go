package tokenizer_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
)

// readLines decodes a reference file of one JSON value per line.
func readLines[T any](tb testing.TB, name string) []T {
	tb.Helper()
	file, err := os.Open(filepath.Join("..", "..", "tests", "testdata", "tokenizer", name))
	require.NoError(tb, err)
	defer file.Close()
	var rows []T
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row T
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &row))
		rows = append(rows, row)
	}
	require.NoError(tb, lines.Err())
	require.NotEmpty(tb, rows)
	return rows
}

// hardRow is a line of hard.jsonl.
type hardRow struct {
	Text  string
	Raw   []byte
	Clean tokenizer.Clean
	IDs   []int32
}

func (r hardRow) text() string { return r.Text + string(r.Raw) }

func withClean(t *testing.T, clean tokenizer.Clean) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Default().WithClean(clean)
	require.NoError(t, err)
	return tok
}

// tokenize is tok.Tokenize without its error, which always means a defect.
func tokenize(t testing.TB, tok *tokenizer.Tokenizer, contextLength int, texts ...string) [][]int32 {
	t.Helper()
	rows, err := tok.Tokenize(texts, contextLength)
	require.NoError(t, err)
	return rows
}

func TestTokenizeEqualsOpenCLIP(t *testing.T) {
	type row struct {
		Text string
		IDs  []int32
	}
	rows := readLines[row](t, "tokens_ctx77.jsonl")
	require.Len(t, rows, 777)
	texts := make([]string, len(rows))
	for i := range rows {
		texts[i] = rows[i].Text
	}
	got := tokenize(t, tokenizer.Default(), 77, texts...)
	for i, want := range rows {
		padded := append(want.IDs, make([]int32, 77-len(want.IDs))...)
		assert.Equal(t, padded, got[i], "%+q", want.Text)
	}
}

func TestTokenizeOtherContextsAndCleanings(t *testing.T) {
	type row struct {
		Text          string
		ContextLength int             `json:"context_length"`
		Clean         tokenizer.Clean `json:"clean_fn"`
		IDs           []int32
	}
	for _, want := range readLines[row](t, "tokens_other.jsonl") {
		got := tokenize(t, withClean(t, want.Clean), want.ContextLength, want.Text)
		assert.Equal(t, [][]int32{want.IDs}, got, "%s, context %d: %+q", want.Clean, want.ContextLength, want.Text)
	}
}

func TestEncodeHardTexts(t *testing.T) {
	for _, want := range readLines[hardRow](t, "hard.jsonl") {
		got := withClean(t, want.Clean).Encode(want.text())
		assert.Equal(t, want.IDs, append([]int32{}, got...), "%s: %+q", want.Clean, want.text())
	}
}

func TestDecodeEqualsOpenCLIP(t *testing.T) {
	type row struct {
		IDs     []int32
		Decoded string
	}
	for _, want := range readLines[row](t, "decode.jsonl") {
		got, err := tokenizer.Default().Decode(want.IDs)
		require.NoError(t, err)
		assert.Equal(t, want.Decoded, got, "%v", want.IDs)
	}
}

func TestDecodeNamesPositionOfUnknownID(t *testing.T) {
	for _, id := range []int32{-1, 49408} {
		_, err := tokenizer.Default().Decode([]int32{320, 1125, id})
		require.ErrorIs(t, err, tokenizer.ErrTokenID)
		assert.ErrorContains(t, err, "position 2")
	}
}

func TestTokenizeRows(t *testing.T) {
	tok := tokenizer.Default()
	assert.Empty(t, tokenize(t, tok, 77))
	assert.Equal(t, [][]int32{{49406, 49407, 0, 0}}, tokenize(t, tok, 4, " \t\n"))
	assert.Equal(t, [][]int32{{49406, 320, 1125, 49407}}, tokenize(t, tok, 4, "a photo of a dog"))
	assert.Equal(t, [][]int32{{49407}}, tokenize(t, tok, 1, "a"))
	assert.Len(t, tokenize(t, tok, 0, "a")[0], tokenizer.DefaultContextLength)
}

func TestWithCleanRejectsUnknownName(t *testing.T) {
	_, err := tokenizer.Default().WithClean("upper")
	assert.ErrorContains(t, err, `"upper"`)
	assert.ErrorContains(t, err, "whitespace_underscore")
}

// A quadratic step anywhere would take minutes on one of these, not a fraction
// of a second.
func TestLongTextsTakeBoundedTime(t *testing.T) {
	const n = 100_000
	texts := map[string]string{
		"one letter":     strings.Repeat("a", n),
		"one word":       strings.Repeat("the", n/3),
		"punctuation":    strings.Repeat("!", n),
		"emoji":          strings.Repeat("😀", n),
		"mojibake":       strings.Repeat("ÃƒÂ©", n/4),
		"mixed mojibake": strings.Repeat("é‚Ã©", n/4),
		"C1 controls":    strings.Repeat("\u0081é", n/2),
		"marks":          "a" + strings.Repeat("\u0301\u0323", n/2),
		"deep escapes":   "é&" + strings.Repeat("amp;", n/4) + "eacute;",
		"ampersands":     strings.Repeat("&", n),
		"long reference": "&#" + strings.Repeat("9", n),
		"sigmas":         strings.Repeat("ΑΣ'", n/3),
		"lines":          strings.Repeat("\n", n),
		"NUL":            strings.Repeat("\x00", n),
		"not UTF-8":      strings.Repeat("\xe0\xa0", n/2),
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			row := tokenize(t, tokenizer.Default(), 77, text)[0]
			assert.Less(t, time.Since(start), 20*time.Second)
			assert.Equal(t, int32(49406), row[0])
			assert.Contains(t, row, int32(49407))
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	rows := readLines[hardRow](t, "hard.jsonl")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, row := range rows {
				tok, err := tokenizer.Default().WithClean(row.Clean)
				if assert.NoError(t, err) {
					assert.Len(t, tok.Encode(row.text()), len(row.IDs))
				}
			}
		})
	}
	group.Wait()
}

func FuzzTokenize(f *testing.F) {
	for _, row := range readLines[hardRow](f, "hard.jsonl") {
		f.Add(row.text(), uint8(16))
	}
	f.Fuzz(func(t *testing.T, text string, context uint8) {
		contextLength := max(2, int(context))
		tok := tokenizer.Default()
		row := tokenize(t, tok, contextLength, text)[0]
		require.Len(t, row, contextLength)
		assert.Equal(t, tok.SOT(), row[0])
		assert.Contains(t, row[1:], tok.EOT())
		_, err := tok.Decode(row)
		assert.NoError(t, err)
	})
}

func TestRowTellsWhatIsCut(t *testing.T) {
	tok := tokenizer.Default()
	for text, length := range map[string]int{"": 2, "a photo of a dog": 7, strings.Repeat("dog ", 75): 77, strings.Repeat("dog ", 76): 78, strings.Repeat("dog ", 90): 92} {
		row, err := tok.Row(text, 77)
		require.NoError(t, err)
		assert.Len(t, row.IDs, 77)
		assert.Equal(t, min(length, 77), row.Filled)
		assert.Equal(t, max(0, length-77), row.Truncated)
	}
}

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// plantPanics has the decoder panic on pictures of roses, and the tokenizer on
// the text "bad".
func plantPanics(t *testing.T) {
	open, tokenize := openPicture, tokenizeText
	t.Cleanup(func() { openPicture, tokenizeText = open, tokenize })
	openPicture = func(path string, opts ...preprocess.Option) preprocess.Picture {
		if filepath.Base(path) == "rose.png" {
			return func(*preprocess.Decoder) (*preprocess.Image, error) { panic("planted\nin a decoder") }
		}
		return open(path, opts...)
	}
	tokenizeText = func(p *prepared, tok *tokenizer.Tokenizer, contextLength int) error {
		if p.id == "bad" {
			var none []int
			none[0]++
		}
		return tokenize(p, tok, contextLength)
	}
}

func TestPanicsAreErrorsOfTheirInputs(t *testing.T) {
	plantPanics(t)
	args := []string{"embed", example("pizza"), example("rose"), example("guitar"), "--text", "a", "--text", "bad", "--text", "b", "-o", "-"}
	program(t, args...).requireFailure(t, exitFailure, example("rose"), "internal error, please report it", "--skip-errors")

	o := program(t, append(args, "--skip-errors")...)
	assert.Equal(t, exitSkipped, o.code)
	assert.Equal(t, []rowID{{"image", rawText(example("pizza"))}, {"image", rawText(example("guitar"))}, {"text", "a"}, {"text", "b"}}, decodeLines[rowID](t, o.stdout))
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	require.Len(t, lines, 3, o.stderr)
	assert.Regexp(t, `^clip-wgpu: skipped: \S+rose\.png: internal error, please report it: planted; in a decoder \(prepare_test\.go:\d+\)$`, lines[0])
	assert.Regexp(t, `^clip-wgpu: skipped: bad: internal error, please report it: .*index out of range.* \(prepare_test\.go:\d+\)$`, lines[1])
	assert.Equal(t, "clip-wgpu: 2 of 6 inputs skipped", lines[2])

	o = program(t, "classify", example("rose"), example("pizza"), "--labels", "pizza,rose", "--skip-errors", "--json")
	assert.Equal(t, exitSkipped, o.code)
	assert.Len(t, decodeLines[jsonAnswer](t, o.stdout), 1)
	program(t, "classify", example("pizza"), "--labels", "pizza,bad").requireFailure(t, exitFailure, "label bad: internal error")

	o = program(t, "tokenize", "a", "bad", "b", "--skip-errors")
	assert.Equal(t, exitSkipped, o.code)
	assert.Equal(t, 2, strings.Count(o.stdout, "\n"))
	program(t, "tokenize", "bad").requireFailure(t, exitFailure, "bad: internal error")
}

func TestOrientation(t *testing.T) {
	turned, upright := "../../tests/testdata/formats/jpeg_exif_6.jpg", example("pizza")
	o := program(t, "embed", turned, upright, turned, "-o", "-")
	assert.Equal(t, exitOK, o.code)
	assert.Regexp(t, `^clip-wgpu: 2 images stored turned .*--orient.*\n$`, o.stderr)
	oriented := program(t, "embed", turned, upright, turned, "-o", "-", "--orient")
	oriented.requireDone(t)
	was, is := strings.Split(o.stdout, "\n"), strings.Split(oriented.stdout, "\n")
	assert.NotEqual(t, was[0], is[0])
	assert.Equal(t, was[1], is[1])
	assert.Equal(t, is[0], is[2])

	o = program(t, "classify", turned, "--labels", "a,b", "--json", "--orient")
	o.requireDone(t)
	stored := program(t, "classify", turned, "--labels", "a,b", "--json")
	assert.Regexp(t, `^clip-wgpu: 1 image stored turned`, stored.stderr)
	assert.NotEqual(t, o.stdout, stored.stdout)
	program(t, "classify", turned, "--labels", "a,b", "--quiet").requireDone(t)
}

func TestTextsThatAreCut(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("apple ", 15))
	o := program(t, "embed", "--text", "a", "--text", long, "--text", long+"s", "-o", "-")
	assert.Equal(t, exitOK, o.code)
	assert.Equal(t, "clip-wgpu: cut at the model's 16 tokens: 2 of 3 texts, the first is \"apple apple apple apple apple apple apple apple apple apple \"\n", o.stderr)
	assert.Len(t, decodeLines[rowID](t, o.stdout), 3)
	program(t, "embed", "--text", strings.TrimSuffix(long, "apple"), "-o", "-").requireDone(t)

	o = program(t, "classify", example("pizza"), "--labels", "pizza,"+long, "--template", "{}", "--template", "an icon of {}")
	assert.Equal(t, exitOK, o.code)
	assert.Contains(t, o.stderr, "2 of 4 texts, the first is \"apple")
	program(t, "classify", example("pizza"), "--labels", long, "--quiet").requireDone(t)
}

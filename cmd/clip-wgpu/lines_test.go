package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// utf16Of is text in UTF-16 with a byte-order mark.
func utf16Of(text string, bigEndian bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		if bigEndian {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

func TestReadLines(t *testing.T) {
	want := []string{"rosé", "", " 🍕 hot", "a\ufeffb"}
	unix := strings.Join(want, "\n")
	dos, mac := strings.ReplaceAll(unix, "\n", "\r\n"), strings.ReplaceAll(unix, "\n", "\r")
	inputs := map[string]string{"unix": unix, "ended": unix + "\n", "dos": dos + "\r\n", "mac": mac, "mac ended": mac + "\r"}
	for name, text := range maps.Clone(inputs) {
		inputs["marked "+name] = "\ufeff" + text
		inputs["UTF-16LE "+name], inputs["UTF-16BE "+name] = utf16Of(text, false), utf16Of(text, true)
	}
	for name, text := range inputs {
		got, err := readLines(strings.NewReader(text))
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
		got, err = readLines(iotest.OneByteReader(strings.NewReader(text)))
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
	for _, none := range []string{"", "\ufeff", utf16Of("", false), utf16Of("", true)} {
		got, err := readLines(strings.NewReader(none))
		require.NoError(t, err)
		assert.Empty(t, got)
	}
	got, err := readLines(strings.NewReader("\ufeff\ufeffa\n\ufeffb\nc\xff\xfe"))
	require.NoError(t, err)
	assert.Equal(t, []string{"\ufeffa", "\ufeffb", "c\xff\xfe"}, got, "one mark, and paths keep their bytes")
}

func TestLinesThatAreNoText(t *testing.T) {
	for text, part := range map[string]string{
		"r\x00o\x00s\x00e\x00\n\x00":        "line 1 has a NUL",
		"\x00r\x00o\x00s\x00e\x00\n":        "line 1 has a NUL",
		"ok\na\x00b":                        "line 2 has a NUL",
		"\xff\xfe\x00\x00r\x00\x00\x00":     "UTF-32",
		"\x00\x00\xfe\xff\x00\x00\x00r":     "UTF-32",
		utf16Of("a\nb", false) + "x":        "line 2: the UTF-16 is damaged",
		"\xfe\xff\x00a\xd8\x00\x00b":        "line 1: the UTF-16 is damaged",
		string(make([]byte, maxLine+1)):     "line 1",
		"a\n" + strings.Repeat("x", 17<<20): "line 2 has more than",
	} {
		_, err := readLines(bytes.NewReader([]byte(text)))
		assert.ErrorContains(t, err, part)
	}
}

// The same bytes are read alike wherever lines are read.
func TestTextsInOtherEncodings(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		return path
	}
	const text = "rosé\r\npizza\r\n"
	for name, content := range map[string]string{"marked": "\ufeff" + text, "little": utf16Of(text, false), "big": utf16Of(text, true)} {
		path := write(name+".txt", content)
		for _, labels := range []string{path, "-"} {
			o := programWithInput(t, content, "classify", example("pizza"), "--labels", labels, "--json")
			o.requireDone(t)
			a := decodeLines[jsonAnswer](t, o.stdout)[0]
			assert.Equal(t, []string{"pizza", "rosé"}, []string{a.Results[0].Label, a.Results[1].Label})
		}
		for _, texts := range []string{path, "-"} {
			o := programWithInput(t, content, "embed", "--text-file", texts, "-o", "-", "--format", "csv")
			o.requireDone(t)
			assert.Equal(t, []rowID{{"text", "rosé"}, {"text", "pizza"}}, matrixOf(t, readCSV(t, o.stdout)).ids)
		}
		paths := strings.NewReplacer("rosé", example("rose"), "pizza", example("pizza")).Replace(text)
		if name == "marked" {
			paths = "\ufeff" + paths
		} else {
			paths = utf16Of(paths, name == "big")
		}
		o := programWithInput(t, paths, "embed", "-", "-o", "-", "--format", "tsv")
		o.requireDone(t)
		assert.Equal(t, []rowID{{"image", rawText(example("rose"))}, {"image", rawText(example("pizza"))}}, matrixOf(t, readTSV(t, o.stdout)).ids)
	}

	latin := write("latin.txt", "pizza\nros\xe9\ncake\n")
	program(t, "classify", example("pizza"), "--labels", latin).requireFailure(t, exitFailure, latin, "line 2", "UTF-8")
	program(t, "embed", "--text-file", latin, "-o", "-").requireFailure(t, exitFailure, latin, "line 2", "UTF-8", "--skip-errors")
	o := program(t, "embed", "--text-file", latin, "-o", "-", "--skip-errors")
	assert.Equal(t, exitSkipped, o.code)
	assert.Len(t, decodeLines[rowID](t, o.stdout), 2)
	assert.Contains(t, o.stderr, `skipped: "ros\xe9": line 2 of `+latin)
	o = program(t, "embed", "--text-file", folder+"/none", "--text-file", folder, "--text", "a", "-o", "-", "--skip-errors")
	assert.Equal(t, exitSkipped, o.code)
	assert.Len(t, decodeLines[rowID](t, o.stdout), 1)
	assert.Equal(t, 3, strings.Count(o.stderr, "\n"), o.stderr)
	program(t, "embed", "--text-file", folder+"/none", "-o", "-").requireFailure(t, exitFailure, folder+"/none")
	bare := write("bare.txt", utf16Of("rose\npizza", false)[2:])
	program(t, "classify", example("pizza"), "--labels", bare).requireFailure(t, exitFailure, bare, "line 1", "byte-order mark")
}

func FuzzReadLines(f *testing.F) {
	for _, text := range []string{"a\r\nb\rc\n", "\ufeffa", utf16Of("rosé\n🍕", false), utf16Of("\r", true), "\xff\xfe\x00\x00", "a\x00", "\xed\xb3\xbf"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, err := readLines(bytes.NewReader(text))
		for _, line := range lines {
			assert.False(t, strings.ContainsAny(line, "\r\n\x00"), "%q", line)
		}
		assert.True(t, err == nil || lines == nil)
	})
}

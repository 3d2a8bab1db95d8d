package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/weights"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// oddNames are names that are easily taken for one another.
var oddNames = []string{
	"a\xff", "a\xfe", "a\xff\xfe", "\xff", `a\xff`, `a\udcff`, "a\ufffd", "\xed\xb3\xbf", "a\xc3", "ü", "a\n", `a\n`, "a\x01", "a\x02",
	`"a\xff"`, `"`, "a\u2028", "<&>", "a b", "",
}

// fsencode reads a JSON string as Python's os.fsencode(json.loads(s)) does.
func fsencode(t *testing.T, s string) string {
	t.Helper()
	quoted := strings.Split(s, `\\`) // in which no escape begins
	for i, part := range quoted {
		quoted[i] = regexp.MustCompile(`\\udc([89a-f][0-9a-f])`).ReplaceAllStringFunc(part, func(u string) string {
			return `\u0000` + u[4:]
		})
	}
	var text string
	require.NoError(t, json.Unmarshal([]byte(strings.Join(quoted, `\\`)), &text), s)
	return regexp.MustCompile("\x00..").ReplaceAllStringFunc(text, func(u string) string {
		b, err := strconv.ParseUint(u[1:], 16, 8)
		require.NoError(t, err)
		return string([]byte{byte(b)})
	})
}

func TestRawTextTurnsBack(t *testing.T) {
	seen := map[string]string{}
	for _, name := range oddNames {
		b, err := json.Marshal(rawText(name))
		require.NoError(t, err)
		assert.True(t, json.Valid(b))
		assert.Equal(t, name, fsencode(t, string(b)))
		assert.Empty(t, seen[string(b)])
		seen[string(b)] = name
	}
	b, err := rawText("a\xff\\udcff<é>").MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, `"a\udcff\\udcff<é>"`, string(b))
}

func TestShownTurnsBack(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range oddNames {
		s := shown(name)
		assert.False(t, seen[s], s)
		seen[s] = true
		assert.NotContains(t, s, "\n")
		if strings.HasPrefix(s, `"`) {
			var err error
			s, err = strconv.Unquote(s)
			require.NoError(t, err)
		}
		assert.Equal(t, name, s)
	}
	assert.Equal(t, `"a\xff"`, shown("a\xff"))
	assert.Equal(t, `C:\x\é ü.png`, shown(`C:\x\é ü.png`))
}

// oddFolder has the same picture under odd names, of those that the system takes.
func oddFolder(t *testing.T) (folder string, paths []string) {
	t.Helper()
	folder = t.TempDir()
	picture, err := os.ReadFile(example("pizza"))
	require.NoError(t, err)
	for _, name := range oddNames {
		path := filepath.Join(folder, name+".png")
		if name != "" && os.WriteFile(path, picture, 0o666) == nil {
			paths = append(paths, path)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "a\xfe.png")); err != nil {
		t.Skip("names are UTF-8 here")
	}
	return folder, paths
}

var jsonID = regexp.MustCompile(`"(?:id|image)":("(?:[^"\\]|\\.)*")`)

// namesInJSON are the ids and images of JSON text.
func namesInJSON(t *testing.T, text string) (names []string) {
	t.Helper()
	for _, m := range jsonID.FindAllStringSubmatch(text, -1) {
		names = append(names, fsencode(t, m[1]))
	}
	return names
}

// columnOf is a column of a table without its heading.
func columnOf(records [][]string, i int) (fields []string) {
	for _, record := range records[1:] {
		fields = append(fields, record[i])
	}
	return fields
}

func TestNamesInFilesOfEmbed(t *testing.T) {
	folder, paths := oddFolder(t)
	out := t.TempDir()
	embed := func(name string) string {
		t.Helper()
		path := filepath.Join(out, name)
		program(t, "embed", folder, "-o", path).requireDone(t)
		return path
	}
	file := func(path string) string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(data)
	}
	assert.ElementsMatch(t, paths, namesInJSON(t, file(embed("x.jsonl"))))
	embed("x.npy")
	assert.ElementsMatch(t, paths, namesInJSON(t, file(filepath.Join(out, "x.npy.ids.jsonl"))))
	f, err := weights.Open(embed("x.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	assert.ElementsMatch(t, paths, namesInJSON(t, f.Metadata()["ids"]))
	assert.ElementsMatch(t, paths, columnOf(readCSV(t, file(embed("x.csv"))), 1))
	assert.ElementsMatch(t, paths, columnOf(readTSV(t, file(embed("x.tsv"))), 1))
}

func TestNamesInOutputOfClassify(t *testing.T) {
	folder, paths := oddFolder(t)
	classify := func(format string) string {
		o := program(t, "classify", folder, "--labels", "pizza", "--format", format)
		o.requireDone(t)
		return o.stdout
	}
	assert.ElementsMatch(t, paths, namesInJSON(t, classify("jsonl")))
	assert.ElementsMatch(t, paths, columnOf(readCSV(t, classify("csv")), 0))
	var table []string
	for _, line := range strings.Split(strings.TrimSpace(classify("table")), "\n")[1:] {
		name := strings.TrimRight(strings.TrimSuffix(line, "100.0 % pizza"), " ")
		if strings.HasPrefix(name, `"`) {
			var err error
			name, err = strconv.Unquote(name)
			require.NoError(t, err, line)
		}
		table = append(table, name)
	}
	assert.ElementsMatch(t, paths, table)
}

func TestNamesOfPicturesThatCannotBeRead(t *testing.T) {
	folder, paths := oddFolder(t)
	for _, path := range paths {
		require.NoError(t, os.WriteFile(path, nil, 0o666))
	}
	o := program(t, "classify", folder, "--labels", "pizza", "--skip-errors")
	assert.Equal(t, exitFailure, o.code)
	for _, path := range paths {
		assert.Contains(t, o.stderr, "skipped: "+shown(path)+": ")
	}
	stdin := strings.Join([]string{example("pizza"), paths[0], paths[1]}, "\n")
	o = programWithInput(t, stdin, "embed", "-", "-o", "-", "--skip-errors")
	assert.Equal(t, exitSkipped, o.code)
	assert.Contains(t, o.stderr, "skipped: "+shown(paths[0])+": ")
	assert.Contains(t, o.stderr, "skipped: "+shown(paths[1])+": ")
}

func TestTextsThatAreNotUTF8(t *testing.T) {
	o := program(t, "embed", "--text", "a\xff", "--text", "a\xfe", "-o", "-")
	o.requireDone(t)
	assert.Contains(t, o.stdout, `"id":"a\udcff"`)
	assert.Contains(t, o.stdout, `"id":"a\udcfe"`)
	o = program(t, "tokenize", "a\xff", "--json")
	o.requireDone(t)
	assert.Contains(t, o.stdout, `"text":"a\udcff"`)
	o = program(t, "classify", example("pizza"), "--labels", "pizza,a\xff", "--json")
	o.requireDone(t)
	assert.Contains(t, o.stdout, `"label":"a\udcff"`)
}

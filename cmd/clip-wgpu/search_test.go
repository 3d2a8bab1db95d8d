package main

import (
	"bytes"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/search"
)

// searchIndex indexes the shipped pictures, which lie in two folders, one of them twice.
func searchIndex(t *testing.T) (path, folder string) {
	t.Helper()
	folder, path = t.TempDir(), filepath.Join(t.TempDir(), "index.db")
	require.NoError(t, os.CopyFS(filepath.Join(folder, "art"), os.DirFS(examples)))
	data, err := os.ReadFile(example("pizza"))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(folder, "food"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "food", "Dinner.PNG"), data, 0o666))
	o := program(t, "index", folder, "--index", path, "--model", "emoji-clip", "--quiet")
	require.Equal(t, exitOK, o.code, o.stderr)
	return path, folder
}

func TestSearch(t *testing.T) {
	path, folder := searchIndex(t)
	art := func(name string) string { return filepath.Join(folder, "art", name+".png") }
	dinner := filepath.Join(folder, "food", "Dinner.PNG")
	for name, c := range map[string]struct {
		args []string
		want []string // the first ones
	}{
		"words":             {[]string{"soccer", "ball"}, []string{art("soccer-ball")}},
		"a term against it": {[]string{"red", "fruit", "-strawberry:0.2"}, []string{art("red-apple")}},
		"a picture":         {[]string{example("rose")}, []string{art("rose")}},
		"two pictures":      {[]string{example("rose"), "+" + example("rocket") + ":0.9"}, []string{art("rose"), art("rocket")}},
		"--image":           {[]string{"--image", example("guitar")}, []string{art("guitar")}},
		"a name":            {[]string{`cat "ROCK"`}, []string{art("rocket")}},
		"after --":          {[]string{"--", "pizza", "-rose:0.2"}, []string{art("pizza")}},
		"--under":           {[]string{"pizza", "--under", filepath.Join(folder, "food")}, []string{dinner}},
		"--exclude":         {[]string{"pizza", "--exclude", filepath.Join(folder, "art") + "/"}, []string{dinner}},
	} {
		o := program(t, append([]string{"search", "--index", path, "--paths0"}, c.args...)...)
		o.requireDone(t)
		found := strings.Split(strings.TrimSuffix(o.stdout, "\x00"), "\x00")
		require.GreaterOrEqual(t, len(found), len(c.want), name)
		assert.Equal(t, c.want, found[:len(c.want)], name)
	}

	o := program(t, "search", "--index", path, "pizza", "--top", "2", "--json")
	o.requireDone(t)
	hits := decodeLines[hitLine](t, o.stdout)
	require.Len(t, hits, 2)
	assert.Equal(t, rawText(art("pizza")), hits[0].Path)
	assert.Equal(t, []rawText{rawText(art("pizza")), rawText(dinner)}, hits[0].Paths)
	assert.Greater(t, hits[0].Score, hits[1].Score)
	assert.Equal(t, 256, hits[0].Width)

	o = program(t, "search", "--index", path, "dog", "-cat", "--threshold", "0", "--json")
	o.requireDone(t)
	hits = decodeLines[hitLine](t, o.stdout)
	assert.Less(t, len(hits), 16)
	assert.Positive(t, hits[len(hits)-1].Score)

	o = program(t, "search", "--index", path, "pizza", "--top", "1", "-v")
	assert.Regexp(t, `^ +0\.\d{3}  `+regexp.QuoteMeta(art("pizza"))+"\n$", o.stdout)
	assert.Regexp(t, `^clip-wgpu: 16 pictures searched of \S+, with emoji-clip on .*: query \S+, search \S+, \S+ in all\n$`, o.stderr)

	o = program(t, "search", "--index", path, strings.Repeat("pizza ", 50), "+rose", "--top", "1")
	assert.Equal(t, exitOK, o.code)
	assert.Regexp(t, `^clip-wgpu: cut at the model's 16 tokens: 1 of 2 texts, the first is "pizza `, o.stderr)

	o = program(t, "search", "--index", path, "--since", "2020", "--top", "1")
	o.requireDone(t)
	assert.Regexp(t, `^/.*\.(png|PNG)\n$`, filepath.ToSlash(o.stdout))
}

func TestSearchFindsNothing(t *testing.T) {
	path, _ := searchIndex(t)
	for want, args := range map[string][]string{
		"filters":    {"x", "--until", "1999"},
		"file":       {`"no such name"`},
		"score 0.99": {"x", "--threshold", "0.99"},
	} {
		o := program(t, append([]string{"search", "--index", path}, args...)...)
		assert.Equal(t, exitOK, o.code)
		assert.Empty(t, o.stdout)
		assert.Contains(t, o.stderr, "clip-wgpu: none of 16 pictures", want)
	}
}

func TestSearchFailures(t *testing.T) {
	path, _ := searchIndex(t)
	missing := filepath.Join(t.TempDir(), "none.db")
	for _, c := range []struct {
		code  int
		names []string
		args  []string
	}{
		{exitUsage, []string{"no query"}, []string{"--index", path}},
		{exitUsage, []string{missing, "clip-wgpu index"}, []string{"cat", "--index", missing}},
		{exitUsage, []string{"20201", "2024-05-31"}, []string{"cat", "--since", "20201"}},
		{exitUsage, []string{"dog", "weight"}, []string{"cat", "+dog:0", "--index", path}},
		{exitUsage, []string{"--json", "--paths0"}, []string{"cat", "--json", "--paths0"}},
		{exitUsage, []string{"--exclude", "empty"}, []string{"cat", "--exclude", ""}},
		{exitUsage, []string{"NaN"}, []string{"cat", "--threshold", "NaN"}},
		{exitFailure, []string{"cancel", "cat"}, []string{"cat", "-cat", "--index", path}},
		{exitFailure, []string{"no such.png"}, []string{"--image", "no such.png", "--index", path}},
		{exitFailure, []string{"search_test.go"}, []string{"--image", "search_test.go", "--index", path}},
		{exitFailure, []string{"search_test.go", "no index"}, []string{"cat", "--index", "search_test.go"}},
		{exitFailure, []string{"emoji-clip", "ViT-B-32:openai"}, []string{"cat", "--index", path, "--model", "ViT-B-32:openai"}},
	} {
		o := program(t, append([]string{"search"}, c.args...)...)
		o.requireFailure(t, c.code, c.names...)
	}
}

func TestDates(t *testing.T) {
	for text, want := range map[string][2]time.Time{
		"2024":             {time.Date(2024, 1, 1, 0, 0, 0, 0, time.Local), time.Date(2024, 12, 31, 23, 59, 59, 999999999, time.Local)},
		"2024-02":          {time.Date(2024, 2, 1, 0, 0, 0, 0, time.Local), time.Date(2024, 2, 29, 23, 59, 59, 999999999, time.Local)},
		"2024-02-03":       {time.Date(2024, 2, 3, 0, 0, 0, 0, time.Local), time.Date(2024, 2, 3, 23, 59, 59, 999999999, time.Local)},
		"2024-02-03T04:05": {time.Date(2024, 2, 3, 4, 5, 0, 0, time.Local), time.Date(2024, 2, 3, 4, 5, 59, 999999999, time.Local)},
	} {
		var since, until time.Time
		require.NoError(t, dateFlag{&since, false}.Set(text))
		require.NoError(t, dateFlag{&until, true}.Set(text))
		assert.Equal(t, want, [2]time.Time{since, until}, text)
	}
	for _, text := range []string{"", "24", "2024-13", "2024-02-30", "yesterday", "1066", "9999-12-31"} {
		assert.Error(t, dateFlag{new(time.Time), false}.Set(text), text)
	}
}

func TestReadQuery(t *testing.T) {
	rose := example("rose")
	terms, names, err := readQuery([]string{"beach", " -people", "-" + rose + ":2", `"x"`, rose})
	require.NoError(t, err)
	assert.Equal(t, []search.Term{
		{Text: "beach", Weight: 1}, {Text: "people", Weight: -1}, {Picture: rose, Weight: -2}, {Picture: rose, Weight: 1},
	}, terms)
	assert.Equal(t, []string{"x"}, names)
	root := newRootCommand()
	for _, c := range [][2][]string{
		{{"search", "a", "-b", "-v", "-vb"}, {"search", "a", " -b", "-v", " -vb"}},
		{{"search", "--threshold", "-0.5", "--json", "-bc", "--", "-de"}, {"search", "--threshold", "-0.5", "--json", " -bc", "--", "-de"}},
		{{"embed", "-ofile"}, {"embed", "-ofile"}},
	} {
		assert.Equal(t, c[1], keepTerms(root, c[0]))
	}
}

func TestPreviews(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 200, 100))
	for i := range 200 * 100 {
		img.Set(i%200, i/200, color.RGBA{uint8(i % 200), 7, uint8(i / 200), 255})
	}
	text, err := halfBlocks(img)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	assert.Len(t, lines, 10)
	assert.Equal(t, 40, strings.Count(lines[9], "▀"))
	assert.Regexp(t, `^\x1b\[38;2;\d;7;\d;48;2;\d;7;\dm▀`, lines[0])

	text, err = kitty(img)
	require.NoError(t, err)
	for i, piece := range strings.Split(strings.TrimSuffix(text, "\x1b\\\n"), "\x1b\\") {
		assert.Regexp(t, `^\x1b_G(a=T,q=2,f=100,c=40,r=10,)?m=[01];[A-Za-z0-9+/=]+$`, piece, i)
		assert.LessOrEqual(t, len(piece), 4200)
	}
	assert.False(t, showsKitty(&bytes.Buffer{}, func(string) string { return "kitty" }), "no terminal")

	path, _ := searchIndex(t)
	o := program(t, "search", "pizza", "--index", path, "--top", "2", "--show")
	o.requireDone(t)
	assert.Equal(t, 2, strings.Count(o.stdout, ".png\n"))
	assert.Equal(t, 2*15, strings.Count(o.stdout, "\x1b[0m\n"))
}

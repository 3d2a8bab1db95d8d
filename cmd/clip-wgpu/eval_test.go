package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exampleClasses is a folder with a folder for each picture that the repository ships.
func exampleClasses(t *testing.T) (folder string, names []string) {
	t.Helper()
	folder = t.TempDir()
	for _, path := range exampleFiles(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".png")
		names = append(names, strings.ReplaceAll(name, "-", " "))
		class := filepath.Join(folder, strings.ReplaceAll(name, "-", "_"))
		require.NoError(t, os.Mkdir(class, 0o777))
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(class, "1.png"), content, 0o666))
	}
	return folder, names
}

func exampleFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(examples, "*.png"))
	require.NoError(t, err)
	require.Len(t, paths, 16)
	return paths
}

type zeroShotLine struct {
	Kind, Model     string
	Images, Classes int
	Top1, Top5      float64
}

func TestEvalOfClasses(t *testing.T) {
	folder, names := exampleClasses(t)
	o := program(t, "eval", folder, "--json")
	o.requireDone(t)
	assert.Equal(t, []zeroShotLine{{"zero-shot", "emoji-clip", 16, 16, 1, 1}}, decodeLines[zeroShotLine](t, o.stdout))
	o = program(t, "eval", folder)
	o.requireDone(t)
	assert.Regexp(t, `16 images, 16 classes, by emoji-clip\ntop-1 +100\.00 %\ntop-5 +100\.00 %\n$`, o.stdout)

	// Two names that are swapped make two pictures wrong, whose own name is the second.
	names[0], names[1] = names[1], names[0]
	file := filepath.Join(t.TempDir(), "names.txt")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(names, "\n")), 0o666))
	o = program(t, "eval", folder, "--class-names", file, "--template", "{}", "--json")
	o.requireDone(t)
	got := decodeLines[zeroShotLine](t, o.stdout)[0]
	assert.Equal(t, 14.0/16, got.Top1)

	require.NoError(t, os.WriteFile(filepath.Join(folder, "rocket", "broken.png"), []byte("x"), 0o666))
	program(t, "eval", folder).requireFailure(t, exitFailure, "broken.png")
	o = program(t, "eval", folder, "--json", "--skip-errors")
	assert.Equal(t, exitSkipped, o.code)
	assert.Contains(t, o.stderr, "broken.png")
	assert.Equal(t, 16, decodeLines[zeroShotLine](t, o.stdout)[0].Images)
	program(t, "eval", folder, "--class-names", filepath.Join(examples, "labels.txt"), "--exclude-dir", "rocket").requireFailure(t, exitFailure, "16 lines", "15 folders")

	// A class without pictures may be listed: others are told from it. None is trained on.
	require.NoError(t, os.Remove(filepath.Join(folder, "rocket", "broken.png")))
	require.NoError(t, os.Mkdir(filepath.Join(folder, "zzz"), 0o777))
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(append(names, "nothing"), "\n")), 0o666))
	o = program(t, "eval", folder, "--class-names", file, "--json")
	require.Equal(t, exitOK, o.code, o.stderr)
	assert.Equal(t, []zeroShotLine{{"zero-shot", "emoji-clip", 16, 17, 14.0 / 16, 14.0 / 16}}, decodeLines[zeroShotLine](t, o.stdout))
	assert.Contains(t, o.stderr, "1 of 17 classes have no pictures")
	program(t, "eval", folder).requireFailure(t, exitFailure, `"zzz"`, "no pictures")
	program(t, "train", folder, "--class-names", file, "-o", filepath.Join(t.TempDir(), "out")).requireFailure(t, exitFailure, `"zzz"`, "no pictures")
}

func TestEvalOfCaptions(t *testing.T) {
	table := &strings.Builder{}
	fmt.Fprintln(table, "picture;words")
	var shards bytes.Buffer
	w := tar.NewWriter(&shards)
	add := func(name string, content []byte) {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644}))
		_, err := w.Write(content)
		require.NoError(t, err)
	}
	for i, path := range exampleFiles(t) {
		absolute, err := filepath.Abs(path)
		require.NoError(t, err)
		name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".png"), "-", " ")
		fmt.Fprintf(table, "%s;%s\n", absolute, name)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		add(fmt.Sprintf("%04d.png", i), content)
		if add(fmt.Sprintf("%04d.json", i), fmt.Appendf(nil, `{"caption": %q, "text": "an icon of a %s"}`, name, name)); i == 3 {
			add("broken.png", []byte("x"))
			add("broken.txt", []byte("words"))
			add("silent.png", content)
			add("silent.txt", []byte(" "))
		}
	}
	require.NoError(t, w.Close())
	folder := t.TempDir()
	csv, archive := filepath.Join(folder, "t.csv"), filepath.Join(folder, "t-00.tar")
	require.NoError(t, os.WriteFile(csv, []byte(table.String()), 0o666))
	require.NoError(t, os.WriteFile(archive, shards.Bytes(), 0o666))

	o := program(t, "eval", csv, "--image-key", "picture", "--caption-key", "words")
	o.requireDone(t)
	assert.Contains(t, o.stdout, "retrieval of 16 images and 16 texts by emoji-clip\n")
	assert.Regexp(t, `image to text 100\.00 % 100\.00 % 100\.00 % +1\.0 +1\n`, o.stdout)
	assert.Regexp(t, `text to image 100\.00 % 100\.00 % 100\.00 % +1\.0 +1\n$`, o.stdout)
	program(t, "eval", csv).requireFailure(t, exitFailure, "picture", "words", "filepath")

	o = program(t, "eval", filepath.Join(folder, "t-{00..00}.tar"), "--skip-errors", "--json")
	assert.Equal(t, exitSkipped, o.code)
	assert.Contains(t, o.stderr, "broken.png")
	assert.Contains(t, o.stderr, "silent.txt has no caption")
	line := decodeLines[map[string]any](t, o.stdout)[0]
	assert.Equal(t, []any{"retrieval", 16.0, 32.0, 1.0}, []any{line["kind"], line["images"], line["texts"], line["image_to_text_R@1"]})
	assert.Greater(t, line["text_to_image_R@5"], 0.9)
	program(t, "eval", archive).requireFailure(t, exitFailure, "silent.txt")
}

func TestEvalRefuses(t *testing.T) {
	folder, _ := exampleClasses(t)
	program(t, "eval").requireFailure(t, exitUsage, "no data")
	program(t, "eval", folder, "--separator", "ab").requireFailure(t, exitUsage, "--separator")
	program(t, "eval", folder, "--template", "a photo").requireFailure(t, exitUsage, "a photo")
	program(t, "eval", examples).requireFailure(t, exitFailure, "0 folders")
	program(t, "eval", "no-such.csv").requireFailure(t, exitFailure, "no-such.csv")
	csv := filepath.Join(t.TempDir(), "a.csv")
	require.NoError(t, os.WriteFile(csv, []byte("filepath,title\nx.png,x\n"), 0o666))
	program(t, "eval", csv, folder).requireFailure(t, exitFailure, "classes")
	empty, names := t.TempDir(), filepath.Join(t.TempDir(), "names.txt")
	for _, class := range []string{"a", "b"} {
		require.NoError(t, os.Mkdir(filepath.Join(empty, class), 0o777))
	}
	require.NoError(t, os.WriteFile(names, []byte("a\nb\n"), 0o666))
	program(t, "eval", csv, empty, "--class-names", names).requireFailure(t, exitFailure, "want one kind")
	program(t, "eval", csv, "--class-names", filepath.Join(examples, "labels.txt")).requireFailure(t, exitFailure, "0 folders")
}

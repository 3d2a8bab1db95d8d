package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type jsonAnswer struct {
	Image, Model, Activation string
	Results                  []struct {
		Label       string
		Probability float64
	}
}

func TestClassifyNamesTheExamples(t *testing.T) {
	o := program(t, "classify", examples, "--labels", filepath.Join(examples, "labels.txt"), "--json", "--batch", "5")
	o.requireDone(t)
	answers := decodeLines[jsonAnswer](t, o.stdout)
	require.Len(t, answers, 16)
	for i, a := range answers {
		name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(a.Image), ".png"), "-", " ")
		assert.Equal(t, name, a.Results[0].Label)
		assert.Greater(t, a.Results[0].Probability, 0.98)
		assert.Equal(t, "emoji-clip", a.Model)
		assert.Empty(t, a.Activation)
		require.Len(t, a.Results, 16)
		var sum float64
		for n, r := range a.Results {
			sum += r.Probability
			assert.True(t, n == 0 || r.Probability <= a.Results[n-1].Probability, "sorted")
		}
		assert.InDelta(t, 1, sum, 1e-5)
		assert.True(t, i == 0 || answers[i-1].Image < a.Image, "in order")
	}
}

func TestClassifyTable(t *testing.T) {
	o := program(t, "classify", example("pizza"), example("rose"), "--labels", "rose, pizza,guitar", "--top", "1")
	o.requireDone(t)
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	require.Len(t, lines, 3)
	assert.Contains(t, lines[0], "emoji-clip")
	assert.Contains(t, lines[0], "never seen a photograph")
	assert.Regexp(t, `pizza\.png +\d+\.\d % pizza$`, lines[1])
	assert.Regexp(t, `rose\.png +\d+\.\d % rose$`, lines[2])
}

func TestClassifyLabels(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labels.txt")
	require.NoError(t, os.WriteFile(file, []byte("rose\r\n\n pizza, hot\n"), 0o666))
	for name, c := range map[string]struct{ stdin, labels string }{
		"file":  {"", file},
		"stdin": {"rose\npizza, hot", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			o := programWithInput(t, c.stdin, "classify", example("pizza"), "--labels", c.labels, "--json")
			o.requireDone(t)
			a := decodeLines[jsonAnswer](t, o.stdout)[0]
			assert.Equal(t, []string{"pizza, hot", "rose"}, []string{a.Results[0].Label, a.Results[1].Label})
		})
	}
	program(t, "classify", example("pizza"), "--labels", "no-labels.txt").requireFailure(t, exitFailure, "no-labels.txt")
	program(t, "classify", example("pizza"), "--labels", examples).requireFailure(t, exitFailure, examples)
}

func TestTemplatesChangeTheAnswer(t *testing.T) {
	var seen []float64
	for _, templates := range [][]string{nil, {"--template", "an icon of a {}"}, {"--template", "{}", "--template", "an icon of a {}"}} {
		o := program(t, append([]string{"classify", example("red-apple"), "--labels", "red apple,strawberry", "--json"}, templates...)...)
		o.requireDone(t)
		seen = append(seen, decodeLines[jsonAnswer](t, o.stdout)[0].Results[0].Probability)
	}
	assert.NotEqual(t, seen[0], seen[1])
	assert.NotEqual(t, seen[0], seen[2])
	assert.NotEqual(t, seen[1], seen[2])
}

func TestLogitBiasGivesSigmoids(t *testing.T) {
	folder := editModel(t, func(cfg map[string]any) { cfg["init_logit_bias"] = -10.0 })
	args := []string{"classify", example("pizza"), "--labels", "pizza,Pizza,rose", "--model", folder}
	o := program(t, append(args, "--json")...)
	o.requireDone(t)
	a := decodeLines[jsonAnswer](t, o.stdout)[0]
	assert.Equal(t, "sigmoid", a.Activation)
	assert.Equal(t, folder, a.Model)
	assert.Greater(t, a.Results[1].Probability, 0.9, "two labels may both fit")
	o = program(t, args...)
	o.requireDone(t)
	assert.Contains(t, o.stdout, "sigmoid")
	assert.NotContains(t, o.stdout, "photograph")
}

func TestModelsThatDoNotPoolAreRefused(t *testing.T) {
	folder := editModel(t, func(cfg map[string]any) { cfg["vision_cfg"].(map[string]any)["pool_type"] = "none" })
	program(t, "classify", example("pizza"), "--labels", "a", "--model", folder).requireFailure(t, exitFailure, folder, "pool")
}

func TestSkipErrors(t *testing.T) {
	folder := t.TempDir()
	bad := filepath.Join(folder, "bad.png")
	require.NoError(t, os.WriteFile(bad, []byte("no image"), 0o666))
	args := []string{"classify", example("pizza"), bad, filepath.Join(folder, "missing.png"), example("rose"), "--labels", "pizza,rose", "--json"}

	program(t, args...).requireFailure(t, exitFailure, "missing.png")

	o := program(t, append(args, "--skip-errors")...)
	assert.Equal(t, exitSkipped, o.code)
	assert.Len(t, decodeLines[jsonAnswer](t, o.stdout), 2)
	lines := strings.Split(o.stderr, "\n")
	require.Len(t, lines, 4)
	assert.Contains(t, lines[0], bad)
	assert.Contains(t, lines[1], "missing.png")
	assert.Contains(t, lines[2], "2 of 4")

	o = program(t, "classify", bad, "--labels", "a", "--skip-errors")
	assert.Equal(t, exitFailure, o.code)
	assert.Contains(t, o.stderr, "none of the 1 inputs")
}

func TestLabelsAddUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labels.txt")
	require.NoError(t, os.WriteFile(file, []byte("rose\nguitar"), 0o666))
	o := programWithInput(t, "rocket\n", "classify", example("pizza"), "--labels", "pizza, cake", "--labels", file, "--labels", "-", "--labels", "book", "--json")
	o.requireDone(t)
	var labels []string
	for _, r := range decodeLines[jsonAnswer](t, o.stdout)[0].Results {
		labels = append(labels, r.Label)
	}
	assert.ElementsMatch(t, []string{"pizza", "cake", "rose", "guitar", "rocket", "book"}, labels)
}

func TestLabelsAndImagesAreNotMixedUp(t *testing.T) {
	image := example("pizza")
	for _, c := range []struct{ args, names []string }{
		{[]string{image, "--labels", "cat", "dog"}, []string{"dog: ", `--labels "cat,red dog"`}},
		{[]string{image, "--labels", "cat,", "dog"}, []string{"dog: ", `--labels "cat,red dog"`}},
		{[]string{image, "--labels", "cat", "--template", "{}", "photo"}, []string{"photo: ", `--template "a photo of a {}"`}},
		{[]string{"cat,dog", "--labels", image}, []string{image, "is an image"}},
		{[]string{"cat,dog", "--labels", "photo.JPG"}, []string{"photo.JPG", "no such file"}},
		{[]string{"missing.png", "--labels", "a"}, []string{"missing.png: "}},
	} {
		program(t, append([]string{"classify"}, c.args...)...).requireFailure(t, exitFailure, c.names...)
	}
	program(t, "classify", image, "--labels", "cat", "--template", "a", "photo", "of", "{}").requireFailure(t, exitUsage, `"a"`, "quotes")
	assert.NotContains(t, program(t, "classify", "missing.png", "--labels", "a").stderr, "--labels")
	o := program(t, "classify", image, "--labels", "cat", "dog", "--skip-errors")
	assert.Equal(t, exitSkipped, o.code)
	assert.Contains(t, o.stderr, `skipped: dog: `)
	assert.Contains(t, o.stderr, `--labels "cat,red dog"`)
}

func TestClassifyRecords(t *testing.T) {
	labels := filepath.Join(t.TempDir(), "labels.txt")
	require.NoError(t, os.WriteFile(labels, []byte("pizza\nsay \"a, b\"\n"), 0o666))
	args := []string{"classify", example("pizza"), example("rose"), "--labels", labels}
	o := program(t, append(args, "--format", "csv")...)
	o.requireDone(t)
	records := readCSV(t, o.stdout)
	require.Len(t, records, 5)
	assert.Equal(t, []string{"image", "label", "probability"}, records[0])
	assert.Equal(t, []string{example("pizza"), "pizza"}, records[1][:2])
	assert.Equal(t, `say "a, b"`, records[2][1])
	o = program(t, append(args, "--format", "tsv", "--top", "1")...)
	o.requireDone(t)
	assert.Len(t, readTSV(t, o.stdout), 3)
	json, jsonl := program(t, append(args, "--json")...), program(t, append(args, "--format", "jsonl")...)
	assert.Equal(t, json, jsonl)
}

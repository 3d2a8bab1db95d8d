package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/train/data"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// project is a folder with pictures, a table of captions for them, one to evaluate by, and a
// model.
func project(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "project")
	require.NoError(t, os.CopyFS(filepath.Join(folder, "data", "pictures"), os.DirFS(examples)))
	table := "filepath,title\npictures/rose.png,a rose\npictures/pizza.png,a pizza\npictures/cat-face.png,a cat\npictures/bicycle.png,a bicycle\n"
	for _, name := range []string{"captions.csv", "eval0.csv", "eval1.csv"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "data", name), []byte(table), 0o666))
	}
	program(t, "convert", "emoji-clip", "-o", filepath.Join(folder, "model")).requireDone(t)
	return folder
}

// begin trains a step on a project's data.
func begin(t *testing.T, folder, out string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(folder, name) }
	program(t, quickly(at("data/captions.csv"), "--eval", at("data/eval{0,1}.csv")+"::"+at("data/captions.csv"), "--model", at("model"), "--lr-scheduler", "const", "--steps", "1", "-o", out)...).requireDone(t)
}

// What moved together with a training's folder is found. What moved otherwise is named, and
// may be named anew, if it is the same.
func TestTrainFollowsWhatMoves(t *testing.T) {
	folder := project(t)
	whole, out := filepath.Join(t.TempDir(), "whole"), filepath.Join(folder, "runs", "mine")
	begin(t, folder, whole)
	begin(t, folder, out)
	moved := filepath.Join(t.TempDir(), "moved")
	require.NoError(t, os.CopyFS(moved, os.DirFS(folder)))
	program(t, "train", "--resume", whole, "--steps", "4").requireDone(t)
	out = filepath.Join(moved, "runs", "mine")
	program(t, "train", "--resume", out, "--steps", "2").requireDone(t) // by what it was copied from
	require.NoError(t, os.RemoveAll(folder))
	program(t, "train", "--resume", out, "--steps", "3").requireDone(t)

	alone := filepath.Join(t.TempDir(), "alone")
	require.NoError(t, os.Rename(out, alone))
	program(t, "train", "--resume", alone, "--steps", "4").requireDone(t)
	assert.Equal(t, losses(t, whole), losses(t, alone))

	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	require.NoError(t, os.Rename(filepath.Join(moved, "data"), elsewhere))
	out = alone
	captions, before := filepath.Join(elsewhere, "captions.csv"), filepath.Join(moved, "data", "captions.csv")
	resume := []string{"train", "--resume", out, "--steps", "5"}
	program(t, resume...).requireFailure(t, exitFailure, "--resume "+out, before+" is not there, nor is ")
	program(t, append(resume, captions)...).requireFailure(t, exitFailure, "--resume "+out, filepath.Join(moved, "data", "eval{0,1}.csv")+" is not there, nor is ")
	program(t, append(resume, captions, "--eval", captions)...).requireDone(t)
	program(t, "train", "--resume", out, "--steps", "6", filepath.Join(examples, "..")).requireFailure(t, exitFailure)
	require.NoError(t, os.WriteFile(captions, []byte("filepath,title\npictures/rose.png,a rose\nrose.png,a pizza\npictures/cat-face.png,a cat\npictures/bicycle.png,a bicycle\n"), 0o666))
	program(t, "train", "--resume", out, "--steps", "6").requireFailure(t, exitFailure, "names, captions or their order differ")
}

// A training's folder of an older version knows neither where it was nor names.
func TestTrainGoesOnWithPlaces(t *testing.T) {
	csv, out := captionTable(t), filepath.Join(t.TempDir(), "out")
	program(t, quickly(csv, "--steps", "1", "-o", out)...).requireDone(t)
	set, err := data.Open([]string{csv}, data.Options{})
	require.NoError(t, err)
	run, err := os.ReadFile(filepath.Join(out, runName))
	require.NoError(t, err)
	for _, c := range []struct {
		data string
		code int
	}{{"0" + set.FingerprintOfPlaces(), exitFailure}, {set.FingerprintOfPlaces(), exitOK}} {
		older := regexp.MustCompile(`(?s)"folder": .*"names": "[^"]*"`).ReplaceAll(run, []byte(`"data": "`+c.data+`"`))
		require.NotEqual(t, run, older)
		require.NoError(t, os.WriteFile(filepath.Join(out, runName), older, 0o666))
		assert.Equal(t, c.code, program(t, "train", "--resume", out, "--steps", "2").code)
	}
	program(t, "train", "--resume", out, "--steps", "3").requireDone(t) // by names now
	saved, err := readRun(out)
	require.NoError(t, err)
	assert.Equal(t, set.Fingerprint(), saved.Names)
	assert.Empty(t, saved.Data)
}

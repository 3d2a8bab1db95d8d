package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// captionTable is a table of the pictures that the repository ships, with their names.
func captionTable(t *testing.T) string {
	t.Helper()
	table := "filepath,title\n"
	for _, path := range exampleFiles(t) {
		absolute, err := filepath.Abs(path)
		require.NoError(t, err)
		table += fmt.Sprintf("%s,%s\n", absolute, strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".png"), "-", " "))
	}
	file := filepath.Join(t.TempDir(), "captions.csv")
	require.NoError(t, os.WriteFile(file, []byte(table), 0o666))
	return file
}

// losses are those of a training's log, whose steps are counted.
func losses(t *testing.T, folder string) (all []float64) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, "log.jsonl"))
	require.NoError(t, err)
	for i, line := range decodeLines[logLine](t, string(content)) {
		require.Equal(t, i+1, line.Step)
		all = append(all, line.Loss)
	}
	return all
}

// quickly are the flags of a training that tests can wait for.
func quickly(args ...string) []string {
	return append([]string{"train", "--batch-size", "4", "--lr", "1e-3", "--lock-image", "--log-every", "1"}, args...)
}

// A training writes a model that other commands take, and goes on as one that was never
// stopped.
func TestTrain(t *testing.T) {
	csv, folder := captionTable(t), filepath.Join(t.TempDir(), "out")
	classes, _ := exampleClasses(t)
	swapped := filepath.Join(t.TempDir(), "names.txt") // it is to learn new names
	labels, err := os.ReadFile(filepath.Join(examples, "labels.txt"))
	require.NoError(t, err)
	names := strings.Split(strings.TrimSpace(string(labels)), "\n")
	require.NoError(t, os.WriteFile(swapped, []byte(strings.Join(append(names[8:], names[:8]...), "\n")), 0o666))

	o := program(t, quickly(classes, "--class-names", swapped, "--batch-size", "8", "--lock-image=false", "--steps", "24", "--eval", classes, "--eval-every", "12", "-o", folder)...)
	o.requireDone(t)
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	require.Len(t, lines, 25)
	assert.Equal(t, "24 steps made; the result is in "+filepath.Join(folder, "model"), lines[24])
	assert.Regexp(t, `^step 24 of 24  epoch 11  loss \S+  lr \S+  \S+ samples/s  0s left  top1 \S+ %  top5 \S+ %$`, lines[23])
	first := losses(t, folder)
	assert.Less(t, first[23], first[0]/4)
	for _, name := range []string{"loss.svg", "run.json", "state-00000024.safetensors", "model/open_clip_config.json"} {
		assert.FileExists(t, filepath.Join(folder, name))
	}
	o = program(t, "eval", classes, "--class-names", swapped, "--json", "--model", filepath.Join(folder, "model"))
	o.requireDone(t)
	assert.Greater(t, decodeLines[zeroShotLine](t, o.stdout)[0].Top1, 0.9)

	whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts[1]")
	program(t, quickly(csv, "--steps", "9", "--lr-scheduler", "const", "--aug-scale", "0.5,1", "-o", whole)...).requireDone(t)
	o = program(t, quickly(csv, "--steps", "5", "--lr-scheduler", "const", "--aug-scale", "0.5,1", "--eval", classes, "--class-names", swapped, "-o", parts)...)
	o.requireDone(t)
	assert.Regexp(t, `step 5 of 5 .* top1 \S+ %`, o.stdout, "of the data that has classes")
	for _, left := range []string{"state-00000007.safetensors.0123abcd.tmp", "model.0123abcd.tmp", "model.0123abcd.tmp.old", "mine.tmp", "merged.0123abcd.tmp", "model.f16.0123abcd.tmp"} {
		require.NoError(t, os.CopyFS(filepath.Join(parts, left), os.DirFS(filepath.Join(parts, "model"))))
	}
	program(t, "train", "--resume", parts, "--steps", "9").requireDone(t)
	requireFiles(t, parts, "log.jsonl", "loss.svg", "merged.0123abcd.tmp", "mine.tmp", "model", "model.f16.0123abcd.tmp", "run.json", "run.lock", "state-00000009.safetensors")
	assert.Equal(t, losses(t, whole), losses(t, parts))
	program(t, "train", "--resume", parts).requireFailure(t, exitFailure, "9 steps are made, of 9")
	program(t, "train", "--resume", parts, "--lr", "1").requireFailure(t, exitUsage, "--lr")
	require.NoError(t, os.WriteFile(csv, []byte("filepath,title\nx.png,x\na.png,a\nb.png,b\nc.png,c\n"), 0o666))
	program(t, "train", "--resume", parts, "--steps", "12").requireFailure(t, exitFailure, "the data is not that of the training")
}

func TestTrainSaysWhatItTakes(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "out")
	o := program(t, quickly(captionTable(t), "--epochs", "3", "--dry-run", "-o", folder)...)
	o.requireDone(t)
	assert.Contains(t, o.stdout, "16 samples, 0 of them unusable; 12 steps of 4 pairs, 4 an epoch\n")
	assert.Regexp(t, `\d+ of \d+ parameters are trained\n`, o.stdout)
	assert.Regexp(t, `a step takes \S+ here, all \S+, without evaluations\n$`, o.stdout)
	assert.NoDirExists(t, folder)
}

func TestTrainLeavesOutWhatItCannotRead(t *testing.T) {
	csv := captionTable(t)
	content, err := os.ReadFile(csv)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(csv, append(content, "missing.png,nothing\nbroken\n"...), 0o666))
	folder := filepath.Join(t.TempDir(), "out")
	o := program(t, quickly(csv, "--epochs", "1", "-o", folder)...)
	require.Zero(t, o.code, o.stderr)
	assert.Contains(t, o.stderr, "missing.png")
	assert.Contains(t, o.stderr, "captions.csv:19: 1 columns")
	assert.Len(t, losses(t, folder), 4)
	program(t, quickly(csv, "--max-bad", "0", "-o", filepath.Join(t.TempDir(), "x"))...).requireFailure(t, exitFailure, "at most 0 may be so")
	program(t, quickly(captionTable(t), "-o", folder)...).requireFailure(t, exitFailure, "not empty", "--resume")
}

// A loss that is no number ends the training, with what may help.
func TestTrainStopsAtNaN(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "out")
	o := program(t, "train", captionTable(t), "--batch-size", "4", "--steps", "20", "--lr", "1e30", "--warmup", "0", "--save-every", "1", "--quiet", "-o", folder)
	assert.Equal(t, exitFailure, o.code)
	assert.Regexp(t, `clip-wgpu: .*step 2.* a smaller --lr than 1e\+30.*; the last checkpoint is whole: --resume `, o.stderr)
	assert.FileExists(t, filepath.Join(folder, "state-00000001.safetensors"))
}

func TestTrainWarns(t *testing.T) {
	var notes []string
	w := newTrainingWatch(8, 14, func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) })
	for i := range 3 * stuckSteps {
		w.look(logLine{Loss: 2.0794 + 0.01*float64(i%2), LogitScale: 14})
	}
	w.look(logLine{Loss: 1, LogitScale: 100})
	require.Len(t, notes, 2)
	assert.Contains(t, notes[0], "ln(batch size) = 2.079 for 200 steps")
	assert.Contains(t, notes[1], "from 14.0 to its bound of 100")
	notes = nil
	w = newTrainingWatch(8, 100, func(format string, args ...any) { notes = append(notes, format) })
	for i := range 2 * stuckSteps {
		w.look(logLine{Loss: 2.0794 - float64(i)*0.001, LogitScale: 100})
	}
	assert.Empty(t, notes, "it learns, and its scale was there from the start")
}

func TestTrainRefuses(t *testing.T) {
	csv, out := captionTable(t), filepath.Join(t.TempDir(), "out")
	for want, args := range map[string][]string{
		"no data":                      {"-o", out},
		"no output":                    {csv},
		"--epochs and --steps":         {csv, "-o", out, "--epochs", "1", "--steps", "1"},
		"--steps 0":                    {csv, "-o", out, "--steps", "0"},
		"--lr-scheduler":               {csv, "-o", out, "--lr-scheduler", "x"},
		"--loss":                       {csv, "-o", out, "--loss", "x"},
		"--lr -1":                      {csv, "-o", out, "--lr", "-1"},
		"--weights f16":                {csv, "-o", out, "--weights", "f16"},
		"--eval-every":                 {csv, "-o", out, "--eval-every", "2"},
		"--lock-image-unlocked-groups": {csv, "-o", out, "--lock-image-unlocked-groups", "2"},
		"--lock-text-freeze":           {csv, "-o", out, "--lock-text-freeze-layer-norm"},
		"--resume takes":               {"-o", out, "--resume", out},
		"--aug-scale":                  {csv, "-o", out, "--aug-scale", "1"},
		"--aug-color-jitter":           {csv, "-o", out, "--aug-color-jitter", "1,2"},
		"--aug-scale [0 0]":            {csv, "-o", out, "--aug-scale", "0,0"},
		"--aug-affine 1.5: want 0 to":  {csv, "-o", out, "--aug-affine", "1.5"},
		"--aug-affine NaN":             {csv, "-o", out, "--aug-affine", "NaN"},
		"--aug-affine and --aug-scale": {csv, "-o", out, "--aug-affine", "0", "--aug-scale", "0.9,1"},
		`--aug-background "pink"`:      {csv, "-o", out, "--aug-background", "pink"},
		`--aug-background ""`:          {csv, "-o", out, "--aug-background", ""},
		"--minutes 0: want more":       {csv, "-o", out, "--minutes", "0"},
		"--minutes NaN":                {csv, "-o", out, "--minutes", "NaN"},
		"--minutes +Inf":               {csv, "-o", out, "--minutes", "inf"},
		"want no --from-scratch":       {csv, "-o", out, "--lora-rank", "2", "--from-scratch"},
	} {
		program(t, append([]string{"train"}, args...)...).requireFailure(t, exitUsage, want)
	}
	for want, args := range map[string][]string{
		"there is no run.json": {"--resume", out},
		"batches of 64":        {csv, "-o", out},
		"scale [2 1]":          {csv, "-o", out, "--aug-scale", "2,1"},
		"no-such-model":        {csv, "-o", out, "--model", "no-such-model"},
		"Beta1:1":              {csv, "-o", out, "--batch-size", "2", "--beta1", "1"},
	} {
		program(t, append([]string{"train"}, args...)...).requireFailure(t, exitFailure, want)
	}
	assert.NoDirExists(t, out)
}

// What a file of flags says counts less than the command line.
func TestTrainFlags(t *testing.T) {
	csv, folder := captionTable(t), t.TempDir()
	file := filepath.Join(folder, "flags.txt")
	require.NoError(t, os.WriteFile(file, []byte("# quick\nbatch-size 4\nsteps 9\n\nlock-image\nlr   1e-4\nquiet\ndata "+csv+"\n"), 0o666))
	out := filepath.Join(folder, "out")
	program(t, "train", "--flags", file, "--steps", "2", "-o", out).requireDone(t)
	assert.Len(t, losses(t, out), 2)
	saved, err := readRun(out)
	require.NoError(t, err)
	assert.Equal(t, []string{csv}, saved.Args)
	assert.Equal(t, map[string][]string{"batch-size": {"4"}, "steps": {"2"}, "lock-image": {"true"}, "lr": {"0.0001"}, "quiet": {"true"}}, saved.Flags)
	for want, text := range map[string]string{"line 2": "quiet\nlearning-rate 5", "want a number": "lr fast", `"resume" is no flag`: "resume x"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o666))
		program(t, "train", csv, "--flags", file, "-o", out).requireFailure(t, exitFailure, want)
	}
}

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/sysfile"
)

// What ends a training between two steps loses none of them, and no line of the log.
func TestTrainSavesWhatItHas(t *testing.T) {
	csv, folder := captionTable(t), t.TempDir()
	table, err := os.ReadFile(csv)
	require.NoError(t, err)
	eval := filepath.Join(folder, "eval.csv")
	require.NoError(t, os.WriteFile(eval, []byte("filepath,title\nlater.png,rose\n"), 0o666))
	out := filepath.Join(folder, "out")
	o := program(t, quickly(csv, "--steps", "4", "--eval", eval, "--eval-every", "2", "-o", out)...)
	require.Equal(t, exitFailure, o.code)
	assert.Contains(t, o.stderr, "2 of 4 steps are saved; --resume "+out)
	assert.Contains(t, o.stderr, "none of the 1 inputs could be read\n")
	rose, err := os.ReadFile(example("rose"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "later.png"), rose, 0o666))
	program(t, "train", "--resume", out).requireDone(t)
	log, err := os.ReadFile(filepath.Join(out, "log.jsonl"))
	require.NoError(t, err)
	lines := decodeLines[logLine](t, string(log))
	require.Len(t, lines, 4)
	for i, line := range lines {
		assert.Equal(t, i+1, line.Step)
		assert.Equal(t, i%2 == 1, line.Eval != nil)
	}

	for i := range 3 {
		table = fmt.Appendf(table, "%d.png,none\n", i)
	}
	require.NoError(t, os.WriteFile(csv, table, 0o666))
	out = filepath.Join(folder, "bad")
	o = program(t, quickly(csv, "--steps", "7", "--max-bad", "2", "-o", out)...)
	require.Equal(t, exitFailure, o.code)
	assert.Contains(t, o.stderr, "at most 2 may be so")
	o = program(t, "train", "--resume", out, "--max-bad", "3")
	require.Zero(t, o.code, o.stderr)
	assert.Len(t, losses(t, out), 7)
	program(t, "train", "--resume", out, "--steps", "8", "--max-bad", "2").requireFailure(t, exitFailure, "3 samples cannot be used, at most 2")
}

// What names data, such as a relative path, is relative to where a training began.
func TestTrainGoesOnAnywhere(t *testing.T) {
	csv := captionTable(t)
	t.Chdir(filepath.Dir(csv))
	program(t, "convert", "emoji-clip", "-o", "model").requireDone(t)
	program(t, quickly("captions.csv", "--eval", "./capt{i,i}ons.csv::captions.csv", "--root", ".", "--model", "model", "--steps", "1", "-o", "out")...).requireDone(t)
	t.Chdir(t.TempDir())
	out := filepath.Join(filepath.Dir(csv), "out")
	program(t, "train", "--resume", out, "--steps", "2").requireDone(t)
	table, err := os.ReadFile(csv)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(csv, table[:bytes.LastIndexByte(table[:len(table)-1], '\n')+1], 0o666))
	program(t, "train", "--resume", out, "--steps", "3").requireFailure(t, exitFailure, out, "it has 15 samples, and had 16")
}

// What the config in an older run.json does not say is what its absence means.
func TestTrainReadsOlderRuns(t *testing.T) {
	csv, out := captionTable(t), filepath.Join(t.TempDir(), "out")
	program(t, quickly(csv, "--steps", "1", "-o", out)...).requireDone(t)
	run, err := os.ReadFile(filepath.Join(out, runName))
	require.NoError(t, err)
	edit := func(pattern, to string) {
		t.Helper()
		lines := regexp.MustCompile(pattern)
		require.Regexp(t, lines, string(run))
		require.NoError(t, os.WriteFile(filepath.Join(out, runName), lines.ReplaceAll(run, []byte(to)), 0o666))
	}
	edit(`"heads": 4,`, "")
	program(t, "train", "--resume", out, "--steps", "2").requireFailure(t, exitFailure, "text_cfg.heads is 4, and was 8")
	edit(`"heads": 4,`, `"heads": 4, "ears": 2,`)
	program(t, "train", "--resume", out, "--steps", "2").requireFailure(t, exitFailure, filepath.Join(out, runName), `"ears"`)
	edit(`"(attn_pooler_heads|proj_type|norm_eps|rope_temperature)": .*,`, "")
	program(t, "train", "--resume", out, "--steps", "2").requireDone(t)
}

func TestTrainRefusesFolders(t *testing.T) {
	csv, out := captionTable(t), filepath.Join(t.TempDir(), "out")
	program(t, quickly(csv, "--steps", "1", "-o", out)...).requireDone(t)
	lock, err := os.OpenFile(filepath.Join(out, lockName), os.O_RDWR, 0)
	require.NoError(t, err)
	locked, err := sysfile.TryLock(lock)
	require.NoError(t, err)
	require.True(t, locked)
	program(t, "train", "--resume", out, "--steps", "2").requireFailure(t, exitFailure, out, "another process trains")
	require.NoError(t, lock.Close())

	run, err := os.ReadFile(filepath.Join(out, runName))
	require.NoError(t, err)
	for from, to := range map[string]string{
		string(run):          "",
		`"flags": {`:         `"flags": null, "x": {`,
		`"lr": [`:            `"rate": [`,
		`"0.001"`:            `"0.001", "2"`,
		`"clip_wgpu_run": 1`: `"clip_wgpu_run": 2`,
		`"step": 1`:          `"step": 0`,
		`"state": "`:         `"state": "../`,
		`"next": 4`:          `"next": -4`,
		`"names": "`:         `"names": "0`,
	} {
		changed := strings.Replace(string(run), from, to, 1)
		require.NotEqual(t, string(run), changed, from)
		require.NoError(t, os.WriteFile(filepath.Join(out, runName), []byte(changed), 0o666))
		o := program(t, "train", "--resume", out, "--steps", "2")
		assert.Equal(t, exitFailure, o.code, "%s: %s", to, o.stderr)
	}
	device := strings.Replace(string(run), `"device": "`, `"device": "another `, 1)
	for want, changed := range map[string]string{
		"was on another":                       device,
		"text_cfg.heads is 4, and was 8":       strings.Replace(string(run), `"heads": 4`, `"heads": 8`, 1),
		"names, captions or their order":       strings.Replace(string(run), `"names": "`, `"names": "0`, 1),
		"no position whose bad samples are [1": strings.Replace(string(run), `"epoch": 0,`, `"epoch": 0, "bad": [1, 1],`, 1),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(out, runName), []byte(changed), 0o666))
		o := program(t, "train", "--resume", out, "--steps", "2")
		assert.Equal(t, exitFailure, o.code)
		assert.Contains(t, o.stderr, want)
	}
	require.NoError(t, os.WriteFile(filepath.Join(out, runName), []byte(device), 0o666))
	o := program(t, "train", "--resume", out, "--steps", "2", "--device", "0")
	require.Zero(t, o.code, o.stderr)
	assert.Contains(t, o.stderr, "rounds otherwise")
	require.NoError(t, os.WriteFile(filepath.Join(out, logName), []byte(`{"step": `), 0o666))
	o = program(t, "train", "--resume", out, "--steps", "3")
	require.Zero(t, o.code, o.stderr)
	assert.Contains(t, o.stderr, "has 0 lines of 2 steps")
}

// A piece ends when its minutes are over, with what the next one goes on from: both make what
// one training makes. It begins with random weights, and its samples come in order: the last
// of them cannot be read.
func TestTrainInPieces(t *testing.T) {
	csv, folder := captionTable(t), t.TempDir()
	table, err := os.ReadFile(csv)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(csv, append(table, "a.png,a\nb.png,b\nc.png,c\nd.png,d\n"...), 0o666))
	flags := quickly(csv, "--steps", "3", "--max-bad", "0", "--from-scratch", "--in-order", "--aug-affine", "0.5", "--aug-background", "random")
	whole, parts := filepath.Join(folder, "whole"), filepath.Join(folder, "parts")
	program(t, append(flags, "-o", whole)...).requireDone(t)
	o := program(t, append(flags, "--minutes", "1e-6", "-o", parts)...)
	o.requireDone(t)
	assert.Contains(t, o.stdout, "--minutes 1e-06 are over: 1 of 3 steps are saved; --resume "+parts+" goes on\n")
	for name, value := range map[string]string{"aug-affine": "0", "aug-background": "random", "from-scratch": "false", "in-order": "false"} {
		program(t, "train", "--resume", parts, "--"+name+"="+value).requireFailure(t, exitUsage, "--"+name)
	}
	program(t, "train", "--resume", parts, "--minutes", "60").requireDone(t)
	all := losses(t, whole)
	assert.Equal(t, all, losses(t, parts))
	assert.InDelta(t, math.Log(4), all[0], 0.5, "it knows nothing")
	saved, err := readRun(parts)
	require.NoError(t, err)
	assert.Equal(t, 12, saved.Position.Next)
	program(t, "tokenize", "a rose", "--model", filepath.Join(parts, "model")).requireDone(t)
}

// A model with a decoder learns captions, too: a random one's loss is twice ln(vocabulary),
// and what it has of pairs.
func TestTrainOfCoCa(t *testing.T) {
	classes, _ := exampleClasses(t)
	model, out := captionModel(t), filepath.Join(t.TempDir(), "out")
	program(t, "train", classes, "--model", model, "--batch-size", "4", "--steps", "1", "-o", out).requireDone(t)
	assert.InDelta(t, 2*math.Log(49408), losses(t, out)[0], 10)
	program(t, "train", classes, "--model", model, "--batch-size", "4", "--group-equal", "-o", out+"2").requireFailure(t, exitUsage, "--group-equal")
}

// Pictures of one class are no negatives of each other, whatever templates their captions
// are of: a model that knows both classes has no loss.
func TestTrainGroupsClasses(t *testing.T) {
	folder, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	for _, name := range []string{"rose", "pizza"} {
		picture, err := os.ReadFile(example(name))
		require.NoError(t, err)
		require.NoError(t, os.Mkdir(filepath.Join(folder, name), 0o777))
		for i := range 4 {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name, fmt.Sprintf("%d.png", i)), picture, 0o666))
		}
	}
	program(t, "train", folder, "--template", "{}", "--template", "{} {}", "--template", "a {}", "--batch-size", "8", "--steps", "1", "-o", out).requireDone(t)
	assert.Less(t, losses(t, out)[0], 0.3)
}

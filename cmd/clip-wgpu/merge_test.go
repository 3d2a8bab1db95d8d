package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Adapters that were trained on weights of 8 bits work with them, merged, and half merged.
func TestTrainAndMergeAdapters(t *testing.T) {
	classes, names := exampleClasses(t)
	swapped := filepath.Join(t.TempDir(), "names.txt") // it is to learn new names
	require.NoError(t, os.WriteFile(swapped, []byte(strings.Join(append(names[8:], names[:8]...), "\n")), 0o666))
	folder := t.TempDir()
	out, adapter := filepath.Join(folder, "out"), filepath.Join(folder, "out", "adapter")
	o := program(t, "train", classes, "--class-names", swapped, "--batch-size", "8", "--lr", "1e-2", "--steps", "30", "--lora-rank", "4", "--weights", "q8", "-o", out)
	o.requireDone(t)
	assert.NoDirExists(t, filepath.Join(out, "model"))
	top1 := func(args ...string) float64 {
		o := program(t, append([]string{"eval", classes, "--class-names", swapped, "--json"}, args...)...)
		o.requireDone(t)
		return decodeLines[zeroShotLine](t, o.stdout)[0].Top1
	}
	assert.Zero(t, top1())
	learnt := top1("--adapter", adapter, "--weights", "q8")
	assert.Greater(t, learnt, 0.8)

	merged, both, half := filepath.Join(folder, "merged"), filepath.Join(folder, "both"), filepath.Join(folder, "half")
	program(t, "merge", "emoji-clip", "--adapter", adapter, "-o", merged).requireDone(t)
	assert.InDelta(t, learnt, top1("--model", merged), 0.1)
	program(t, "merge", "emoji-clip", merged, "--alpha", "0.25", "-o", both).requireDone(t)
	program(t, "merge", "emoji-clip", "emoji-clip", "--adapter", adapter, "--alpha", "0.25", "-o", half).requireDone(t)
	one, err := os.ReadFile(filepath.Join(both, "open_clip_model.safetensors"))
	require.NoError(t, err)
	other, err := os.ReadFile(filepath.Join(half, "open_clip_model.safetensors"))
	require.NoError(t, err)
	assert.Equal(t, one, other)

	require.NoError(t, os.WriteFile(filepath.Join(adapter, "adapter_model.safetensors.0123abcd.tmp"), nil, 0o666)) // a crash left it
	program(t, "train", "--resume", out, "--steps", "31").requireDone(t)
	requireFiles(t, adapter, "adapter_config.json", "adapter_model.safetensors")
	program(t, "classify", example("rose"), "--labels", "rose", "--adapter", folder).requireFailure(t, exitFailure, "adapter_config.json")
	program(t, "merge", "emoji-clip", "--adapter", adapter, "-o", merged).requireFailure(t, exitFailure, "--force")
	for want, args := range map[string][]string{
		"one or two models": {"-o", merged},
		"no output":         {"emoji-clip", merged},
		"--alpha 2":         {"emoji-clip", merged, "--alpha", "2", "-o", half},
		"--alpha goes with": {"emoji-clip", "--adapter", adapter, "--alpha", "0.5", "-o", half},
		"nothing to merge":  {"emoji-clip", "-o", half},
	} {
		program(t, append([]string{"merge"}, args...)...).requireFailure(t, exitUsage, want)
	}
	for want, args := range map[string][]string{
		"--lora-alpha goes with":  {"--lora-alpha", "2"},
		"want no --lock-image":    {"--lora-rank", "2", "--lock-image"},
		"train another":           {"--lora-rank", "2", "--adapter", adapter},
		"merge it into the model": {"--adapter", adapter},
	} {
		program(t, append([]string{"train", classes, "-o", half}, args...)...).requireFailure(t, exitUsage, want)
	}
	program(t, "train", classes, "--batch-size", "2", "--lora-rank", "2", "--lora-target", "q_proj", "-o", filepath.Join(folder, "x")).requireFailure(t, exitFailure, "q_proj", "c_fc")
}

// Weights of the same shapes can be of models that compute otherwise.
func TestMergeRefusesOtherConfigs(t *testing.T) {
	folder := t.TempDir()
	other := filepath.Join(folder, "other")
	program(t, "convert", "emoji-clip", "-o", other).requireDone(t)
	path := filepath.Join(other, "open_clip_config.json")
	config, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(config), `"heads": 4`)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(config), `"heads": 4`, `"heads": 8`, 1)), 0o666))
	program(t, "merge", "emoji-clip", other, "-o", filepath.Join(folder, "x")).requireFailure(t, exitFailure, "emoji-clip", other, "heads", "models of one config")
	assert.NoDirExists(t, filepath.Join(folder, "x"))
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

func TestBench(t *testing.T) {
	for _, tower := range towerNames {
		o := program(t, "bench", "--tower", tower, "--batch", "1,2", "--weights", "f32,q8", "--seconds", "0.01", "--rounds", "2")
		o.requireDone(t)
		lines := decodeLines[measurement](t, o.stdout)
		require.Len(t, lines, 4)
		for i, m := range lines {
			assert.Equal(t, []any{"emoji-clip", tower, 1 + i%2}, []any{m.Model, m.Tower, m.Batch})
			assert.Equal(t, []clip.CastDType{clip.F32, clip.Q8}[i/2], m.Weights)
			for _, v := range []float64{m.ItemsPerS, m.GFLOPS, m.CPUMsPerItem, float64(m.Dispatches), float64(m.ArenaBytes), m.LoadMs, m.FirstRunMs} {
				assert.Positive(t, v)
			}
			assert.InEpsilon(t, lines[0].GFLOPS/lines[0].ItemsPerS, m.GFLOPS/m.ItemsPerS, 2e-3, "the work of an item")
			if runtime.GOOS == "linux" && i == 0 {
				assert.Positive(t, m.AnonPeakMB)
			}
		}
		assert.Equal(t, lines[0].Dispatches, lines[1].Dispatches)
		assert.Greater(t, lines[1].ArenaBytes, lines[0].ArenaBytes)
	}
}

func TestBenchOfAnUnknownModel(t *testing.T) {
	program(t, "bench", "--model", "ViT-B-33").requireFailure(t, exitFailure, "ViT-B-33", "ViT-B-32")
	program(t, "bench", "--compare", "no-file").requireFailure(t, exitFailure, "no-file")
}

const peerLines = `{"system":"runtime-1.0","ep":"gpu","model":"b32","tower":"image","batch":8,"median_ms":4000,"cpu_ms_per_run":16000,"items_per_s":0.5,"gflops":4.4}
{"system":"runtime-1.0","ep":"cpu","model":"b32","tower":"image","batch":8,"items_per_s":20,"gflops":176.5}
{"system":"runtime-1.0","ep":"gpu","model":"b32","tower":"image","batch":8,"cpu_ms_per_run":12000,"items_per_s":0.4,"gflops":3.5}
{"system":"runtime-1.0","ep":"gpu","model":"b32","tower":"image","batch":8,"items_per_s":0.7,"gflops":6.2}
{"system":"runtime-1.0","ep":"gpu","model":"b32","tower":"image","batch":8,"cpu_ms_per_run":11000,"items_per_s":0.6,"gflops":5.3}
{"system":"cpp","file":"b32-f16.gguf","tower":"image","batch":8,"cpu_ms_per_run":4000,"items_per_s":3,"gflops":26.4}
{"system":"runtime-1.0","ep":"gpu","model":"b32","tower":"text","batch":8,"items_per_s":1}
{"system":"product","shape":[1024,1024,1024],"gflops":3.5}
`

func TestCompareTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(peerLines), 0o666))
	peers, err := readPeers(path)
	require.NoError(t, err)
	ours := []measurement{
		{Model: "ViT-B-32", Tower: "image", Batch: 1, Weights: clip.F32, ItemsPerS: 3.5, GFLOPS: 30.86, CPUMsPerItem: 500},
		{Model: "ViT-B-32", Tower: "image", Batch: 8, Weights: clip.F32, ItemsPerS: 4, GFLOPS: 35.27, CPUMsPerItem: 400},
		{Model: "ViT-B-32", Tower: "image", Batch: 8, Weights: clip.Q8, ItemsPerS: 8, GFLOPS: 70.54, CPUMsPerItem: 200},
	}
	assert.Equal(t, `| model | tower | batch | system | CPU ms/item | items/s | GFLOP/s | CPU time, ours = 1 |
|---|---|---:|---|---:|---:|---:|---:|
| ViT-B-32 | image | 1 | **clip-wgpu**, f32 weights | 500 | 3.50 | 30.9 | 1.00 |
| ViT-B-32 | image | 8 | **clip-wgpu**, f32 weights | 400 | 4.00 | 35.3 | 1.00 |
| ViT-B-32 | image | 8 | **clip-wgpu**, q8 weights | 200 | 8.00 | 70.5 | 0.50 |
| ViT-B-32 | image | 8 | runtime-1.0 gpu | 1500 | 0.40 | 3.5 | 3.75 |
| ViT-B-32 | image | 8 | runtime-1.0 cpu |  | 20.00 | 176.5 |  |
| ViT-B-32 | image | 8 | cpp b32-f16.gguf | 500 | 3.00 | 26.4 | 1.25 |
`, compareTable(ours, peers))
}

func TestPeersThatAreNoJSONLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(peerLines+"system: x\n"), 0o666))
	program(t, "bench", "--compare", path).requireFailure(t, exitFailure, path, "value 9", "JSON lines")
}

// The shares are of the whole way, and a picture that cannot be read ends it.
func TestBenchOfPictures(t *testing.T) {
	folder := filepath.Dir(example("pizza"))
	o := program(t, "bench", "--pictures", folder, "--batch", "2,4", "--seconds", "0.01", "--rounds", "2", "--draft")
	o.requireDone(t)
	lines := decodeLines[measurement](t, o.stdout)
	require.Len(t, lines, 2)
	for _, m := range lines {
		assert.Equal(t, picturesTower, m.Tower)
		assert.Positive(t, m.ItemsPerS)
		require.NotNil(t, m.Shares)
		sum := 0.0
		for _, share := range m.Shares.all() {
			assert.Positive(t, *share)
			sum += *share
		}
		assert.InDelta(t, 1, sum, 0.05, "medians of shares")
	}
	peers := filepath.Join(t.TempDir(), "peers.jsonl")
	require.NoError(t, os.WriteFile(peers, []byte(`{"system":"torch","model":"emoji-clip","tower":"pictures","batch":2,"items_per_s":3}`), 0o666))
	o = program(t, "bench", "--pictures", folder, "--batch", "2", "--seconds", "0.01", "--compare", peers)
	o.requireDone(t)
	assert.Contains(t, o.stdout, "| emoji-clip | pictures | 2 | torch |  | 3.00 |")

	bad := t.TempDir()
	program(t, "bench", "--pictures", bad).requireFailure(t, exitFailure, bad, "no images in it")
	program(t, "bench", "--pictures", filepath.Join(bad, "none")).requireFailure(t, exitFailure, "none", "no such file")
	program(t, "bench", "--pictures", example("pizza")).requireFailure(t, exitFailure, "pizza.png: is no folder")
	program(t, "bench", "--pictures", "-").requireFailure(t, exitFailure, "pictures: -: no such file")
	program(t, "bench", "--pictures", "").requireFailure(t, exitUsage, "--pictures: want a folder")
	require.NoError(t, os.WriteFile(filepath.Join(bad, "a.png"), []byte("no picture"), 0o666))
	program(t, "bench", "--pictures", bad).requireFailure(t, exitFailure, "a.png", "unsupported image format")
	program(t, "bench", "--pictures", folder, "--tower", "text").requireFailure(t, exitUsage, "--tower", "--pictures")
	program(t, "bench", "--orient").requireFailure(t, exitUsage, "--orient goes with --pictures")
}

// Steps are measured beside the forward pass of the same pairs, whole and in micro-batches.
func TestBenchOfTraining(t *testing.T) {
	for _, more := range [][]string{nil, {"--micro-batch", "2", "--grad-checkpointing"}} {
		o := program(t, append([]string{"bench", "--train", "--batch", "2,4", "--seconds", "0.01", "--rounds", "2"}, more...)...)
		o.requireDone(t)
		lines := decodeLines[stepMeasurement](t, o.stdout)
		require.Len(t, lines, 2)
		for i, m := range lines {
			assert.Equal(t, []any{"emoji-clip", 2 + 2*i, clip.F32}, []any{m.Model, m.Batch, m.Weights})
			assert.InEpsilon(t, m.StepMs/m.ForwardMs, m.Ratio, 2e-3)
			assert.InEpsilon(t, float64(m.Batch)*1e3/m.StepMs, m.PairsPerS, 2e-3)
			assert.InEpsilon(t, m.CPUMsPerPair/m.ForwardCPUMsPerPair, m.CPURatio, 2e-3)
			assert.Greater(t, m.CPURatio, 1.0)
			assert.Positive(t, m.FirstStepMs)
			assert.NotEmpty(t, m.Device)

			var plan planLine
			o := program(t, append([]string{"program", "--train", "--json", "--batch", strconv.Itoa(m.Batch)}, more...)...)
			o.requireDone(t)
			require.NoError(t, json.Unmarshal([]byte(o.stdout), &plan))
			dispatches, arena := 0, int64(0)
			for _, p := range plan.Programs {
				dispatches, arena = dispatches+p.Runs*p.Dispatches, max(arena, p.ArenaBytes)
			}
			assert.Equal(t, []any{plan.MicroBatch, dispatches, arena, plan.StateBytes}, []any{m.MicroBatch, m.Dispatches, m.ArenaBytes, m.StateBytes})
		}
	}
}

func TestBenchRefuses(t *testing.T) {
	program(t, "bench", "--train", "--weights", "f32,q8").requireFailure(t, exitUsage, "--weights f32,q8", "--train", "f32")
	program(t, "bench", "--train", "--tower", "text").requireFailure(t, exitUsage, "--tower", "--train")
	program(t, "bench", "--train", "--pictures", ".").requireFailure(t, exitUsage, "--pictures", "--train")
	program(t, "bench", "--train", "--compare", "x").requireFailure(t, exitUsage, "--compare", "--train")
	program(t, "bench", "--micro-batch", "2").requireFailure(t, exitUsage, "--micro-batch", "--train")
	program(t, "bench", "--model", "ViT-B-32,").requireFailure(t, exitUsage, "--model", `""`)
}

// Several models share the rounds, and the table.
func TestBenchOfSeveralModels(t *testing.T) {
	other := editModel(t, func(map[string]any) {})
	arguments := []string{"bench", "--tower", "text", "--batch", "1", "--seconds", "0.01", "--rounds", "1", "--model"}
	for _, models := range [][]string{{"emoji-clip," + other}, {"emoji-clip", "--model", other}} {
		o := program(t, append(arguments, models...)...)
		o.requireDone(t)
		lines := decodeLines[measurement](t, o.stdout)
		require.Len(t, lines, 2)
		assert.Equal(t, []string{"emoji-clip", other}, []string{lines[0].Model, lines[1].Model})
		assert.Equal(t, lines[0].Dispatches, lines[1].Dispatches)
	}
	peers := filepath.Join(t.TempDir(), "peers.jsonl")
	require.NoError(t, os.WriteFile(peers, []byte(`{"system":"torch","model":"emoji-clip","tower":"text","batch":1,"items_per_s":3}`), 0o666))
	o := program(t, append(arguments, "emoji-clip,"+other, "--compare", peers)...)
	o.requireDone(t)
	assert.Contains(t, o.stdout, "| emoji-clip | text | 1 | torch |")
	assert.Contains(t, o.stdout, "| "+other+" | text | 1 | **clip-wgpu**")
	program(t, append(arguments, "emoji-clip,ViT-B-33")...).requireFailure(t, exitFailure, "ViT-B-33")
}

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pprof "github.com/google/pprof/profile"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProfile(t *testing.T) {
	for _, tower := range towerNames {
		path := filepath.Join(t.TempDir(), "profile.pb.gz")
		o := program(t, "profile", "--tower", tower, "--batch", "2", "--runs", "2", "--top", "3", "--pprof", path, "--quiet")
		o.requireDone(t)
		title := "emoji-clip, " + tower + " tower, batch 2, f32 weights"
		for _, want := range []string{title, "GFLOP/s", "\nkernel ", "\nlayer ", "resblocks.*.", "all others"} {
			assert.Contains(t, o.stdout, want)
		}
		file, err := os.Open(path)
		require.NoError(t, err)
		p, err := pprof.Parse(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		assert.Contains(t, p.Comments[0], title)
		assert.Len(t, p.Sample, everyRun(t, "--tower", tower, "--batch", "2"))
		program(t, "profile", "--pprof", path).requireFailure(t, exitFailure, path, "--force")
	}
}

func TestProfileJSON(t *testing.T) {
	type row struct {
		Step              int
		Scope, Op, Kernel string
		FLOPs             int64
		Ms                float64
	}
	o := program(t, "profile", "--json", "--runs", "1", "--quiet")
	o.requireDone(t)
	rows := decodeLines[row](t, o.stdout)
	listing := program(t, "program").stdout
	var flops int64
	for i, r := range rows {
		assert.Equal(t, i, r.Step)
		assert.Contains(t, listing, r.Kernel)
		assert.GreaterOrEqual(t, r.Ms, 0.0)
		flops += r.FLOPs
	}
	assert.Len(t, rows, everyRun(t))
	assert.Positive(t, flops)
}

// everyRun counts the dispatches that program lists, but for those that run once.
func everyRun(t *testing.T, args ...string) (n int) {
	listing := program(t, append([]string{"program", "--json"}, args...)...)
	for _, step := range decodeLines[struct{ Once bool }](t, listing.stdout) {
		if !step.Once {
			n++
		}
	}
	return n
}

// A run that encoding splits is profiled as it is split.
func TestProfileOfASplitBatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profile.pb.gz")
	o := program(t, "profile", "--batch", "6", "--runs", "1", "--json", "--pprof", path, "--quiet")
	o.requireDone(t)
	rows := decodeLines[struct{ Step, Batch int }](t, o.stdout)
	dispatches := everyRun(t)
	require.Len(t, rows, 2*dispatches)
	for i, r := range rows {
		assert.Equal(t, []int{i, 4 - i/dispatches*2}, []int{r.Step, r.Batch})
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	p, err := pprof.ParseData(data)
	require.NoError(t, err)
	assert.Len(t, p.Sample, len(rows))
	assert.Contains(t, p.Comments[0], "batch 6 (4 + 2), f32")
}

// made are two blocks of two layers and an unnamed step.
func made() steps {
	return steps{
		{"tower.0.a", "linear", "linear <1>", 2, 2e6, 2 * time.Millisecond},
		{"tower.0.b", "norm", "norm", 2, 0, time.Millisecond},
		{"tower.1.a", "linear", "linear <1>", 2, 2e6, 4 * time.Millisecond},
		{"tower.1.b", "norm", "norm", 2, 0, 2 * time.Millisecond},
		{"", "unit & last", "norm", 2, 0, time.Millisecond},
	}
}

func TestWritePprof(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, writePprof(&b, `model "<&>"`, made()))
	p, err := pprof.ParseData(b.Bytes())
	require.NoError(t, err)
	assert.Equal(t, []string{`model "<&>"`}, p.Comments)
	stacks := map[string]time.Duration{}
	for _, s := range p.Sample {
		var stack []string
		for _, l := range s.Location {
			stack = append(stack, l.Line[0].Function.Name)
		}
		slices.Reverse(stack)
		stacks[strings.Join(append(stack, s.Label["block"]...), ";")] += time.Duration(s.Value[2])
	}
	assert.Equal(t, map[string]time.Duration{
		"tower.*;a;linear;linear <1>;0": 2 * time.Millisecond,
		"tower.*;b;norm;norm;0":         time.Millisecond,
		"tower.*;a;linear;linear <1>;1": 4 * time.Millisecond,
		"tower.*;b;norm;norm;1":         2 * time.Millisecond,
		"unit & last;norm":              time.Millisecond,
	}, stacks)
	assert.Equal(t, []int64{1, 2e6, 2e6}, p.Sample[0].Value)
	assert.EqualValues(t, 10*time.Millisecond, p.DurationNanos)
	require.NoError(t, writePprof(io.Discard, "nothing", nil))
}

func TestStepTables(t *testing.T) {
	var b strings.Builder
	require.NoError(t, made().write(&b, "a model", 2))
	assert.Equal(t, `a model
10.0 ms in 5 dispatches, 0.4 GFLOP/s

kernel             ms      %  calls  GFLOP/s
linear <1>      6.000   60.0      2      0.7
norm            4.000   40.0      3

layer                    ms      %  calls  GFLOP/s
tower.*.a.linear      6.000   60.0      2      0.7
tower.*.b.norm        3.000   30.0      2
all others            1.000   10.0      1
`, b.String())
}

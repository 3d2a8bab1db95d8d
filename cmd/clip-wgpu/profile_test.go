package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProfile(t *testing.T) {
	for _, tower := range towers {
		path := filepath.Join(t.TempDir(), "flame.svg")
		o := program(t, "profile", "--tower", tower, "--batch", "2", "--runs", "2", "--top", "3", "--svg", path, "--quiet")
		o.requireDone(t)
		for _, want := range []string{"emoji-clip, " + tower + " tower, batch 2, f32 weights", "GFLOP/s", "\nkernel ", "\nlayer ", "resblocks.*.", "all others"} {
			assert.Contains(t, o.stdout, want)
		}
		picture, err := os.ReadFile(path)
		require.NoError(t, err)
		texts := xmlTexts(t, string(picture))
		for _, want := range []string{"transformer", "In the order of execution", "By kernel"} {
			assert.True(t, strings.Contains(strings.Join(texts, "\n"), want), want)
		}
		program(t, "profile", "--svg", path).requireFailure(t, exitFailure, path, "--force")
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
	listing := program(t, "program")
	var flops int64
	for i, r := range rows {
		assert.Equal(t, i, r.Step)
		assert.Contains(t, listing.stdout, r.Kernel)
		assert.GreaterOrEqual(t, r.Ms, 0.0)
		flops += r.FLOPs
	}
	assert.Equal(t, strings.Fields(listing.stdout)[:2], []string{strconv.Itoa(len(rows)), "steps,"})
	assert.Positive(t, flops)
}

// xmlTexts are the texts of a document, which must be well formed.
func xmlTexts(t *testing.T, document string) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(document))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		require.NoError(t, err)
		if text, ok := token.(xml.CharData); ok {
			texts = append(texts, string(text))
		}
	}
}

// made are two blocks of two layers and an unnamed step.
func made() steps {
	return steps{
		{"tower.0.a", "linear", "linear <1>", 2e6, 2 * time.Millisecond},
		{"tower.0.b", "norm", "norm", 0, time.Millisecond},
		{"tower.1.a", "linear", "linear <1>", 2e6, 4 * time.Millisecond},
		{"tower.1.b", "norm", "norm", 0, 2 * time.Millisecond},
		{"", "unit & last", "norm", 0, time.Millisecond},
	}
}

func TestFlames(t *testing.T) {
	var outline func(f *frame) string
	outline = func(f *frame) string {
		var parts []string
		for _, c := range f.children {
			parts = append(parts, outline(c))
		}
		text := f.name + " " + f.duration.String()
		if len(parts) > 0 {
			text += " (" + strings.Join(parts, ", ") + ")"
		}
		return text
	}
	assert.Equal(t, "all 10ms (tower 9ms (0 3ms (a 2ms (linear 2ms), b 1ms (norm 1ms)), 1 6ms (a 4ms (linear 4ms), b 2ms (norm 2ms))), unit & last 1ms)",
		outline(flames(made())))
	assert.Equal(t, "all 10ms (tower 9ms (a 6ms (linear 6ms), b 3ms (norm 3ms)), unit & last 1ms)",
		outline(flames(made()).blocksTogether()))
	twice := steps{{"x.0", "sum", "k", 0, 1}, {"x.0", "norm", "n", 0, 2}, {"x.0", "sum", "k", 0, 4}, {"x.1", "sum", "k", 0, 8}, {"x.1", "norm", "n", 0, 16}, {"x.1", "sum", "k", 0, 32}}
	assert.Equal(t, "all 63ns (x 63ns (sum 9ns, norm 18ns, sum 36ns))", outline(flames(twice).blocksTogether()), "the second sums apart from the first")
	assert.Equal(t, "all.x 63ns (sum 9ns, norm 18ns, sum 36ns)", outline(flames(twice).blocksTogether().folded()))
}

func TestFlameEscapes(t *testing.T) {
	var b strings.Builder
	require.NoError(t, writeFlame(&b, `model "<&>"`, made()))
	texts := strings.Join(xmlTexts(t, b.String()), "\n")
	for _, want := range []string{`model "<&>"`, "10.0 ms in 5 dispatches, 0.4 GFLOP/s", "tower.0.a.linear: 2.000 ms, 20.0 %, linear <1>", "unit & last"} {
		assert.Contains(t, texts, want)
	}
	require.NoError(t, writeFlame(io.Discard, "nothing", nil))
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

func TestFitted(t *testing.T) {
	assert.Equal(t, "attn 12.0 %", fitted("attn 12.0 %", "attn", 200))
	assert.Equal(t, "attn", fitted("attn 12.0 %", "attn", 30))
	assert.Equal(t, "resb…", fitted("resblocks 1 %", "resblocks", 5*charWidth))
	assert.Empty(t, fitted("resblocks", "resblocks", 3*charWidth))
}

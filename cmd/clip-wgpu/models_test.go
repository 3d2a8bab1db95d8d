package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestModels(t *testing.T) {
	o := program(t, "models")
	o.requireDone(t)
	lines := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
	require.Len(t, lines, 1+181)
	row := func(name string) []string {
		for _, line := range lines {
			if fields := strings.Fields(line); fields[0] == name {
				return fields
			}
		}
		require.Fail(t, "no line", name)
		return nil
	}
	assert.Equal(t, []string{"ViT", "151.3M", "224", "yes"}, row("ViT-B-32")[1:5])
	assert.Contains(t, row("ViT-B-32"), "laion2b_s34b_b79k")
	assert.Equal(t, []string{"EVA", "149.7M", "224", "yes"}, row("EVA02-B-16")[1:5])
	assert.Contains(t, strings.Join(row("CLAP-HTSAT-tiny"), " "), `missing: audio_cfg (CLAP)`)
	assert.Equal(t, []string{"CLAP", "?", "-", "no"}, row("CLAP-HTSAT-tiny")[1:5])

	o = program(t, "models", "vit-b/32", "--json")
	o.requireDone(t)
	one := decodeLines[models.Info](t, o.stdout)
	require.Len(t, one, 1)
	assert.Equal(t, "ViT-B-32", one[0].Name)
	assert.True(t, one[0].Supported)
	assert.Equal(t, "timm/vit_base_patch32_clip_224.openai/", one[0].Pretrained["openai"].HFHub)
}

func TestModelCoverage(t *testing.T) {
	o := program(t, "models", "--coverage")
	o.requireDone(t)
	assert.Regexp(t, `(?m)^ModifiedResNet +\d+ +10$`, o.stdout)
	assert.Regexp(t, `\n\d+ of 154\n$`, o.stdout)
	o = program(t, "models", "--coverage", "--json")
	o.requireDone(t)
	rows := decodeLines[coverage](t, o.stdout)
	sum := coverage{Family: "all"}
	for _, row := range rows[:len(rows)-1] {
		sum.Models += row.Models
		sum.Supported += row.Supported
	}
	assert.Equal(t, sum, rows[len(rows)-1])
	assert.Equal(t, 154, sum.Models)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	for _, row := range rows[:len(rows)-1] {
		assert.Contains(t, string(readme), fmt.Sprintf("\n| %s | %d | `", row.Family, row.Models), "the table of families")
	}
}

func TestModelShapes(t *testing.T) {
	o := program(t, "models", "ViT-B-32", "--shapes")
	o.requireDone(t)
	lines := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
	assert.Len(t, lines, 302)
	for _, want := range []string{"logit_scale", "token_embedding.weight 49408 512", "visual.conv1.weight 768 3 32 32"} {
		assert.Contains(t, lines, want)
	}
	program(t, "models", "CLAP-HTSAT-tiny", "--shapes").requireFailure(t, exitFailure, "CLAP-HTSAT-tiny", "audio_cfg")
	program(t, "models", "ViT-B-33", "--shapes").requireFailure(t, exitFailure, `"ViT-B-33"`, "ViT-B-32")
	program(t, "models", "--shapes").requireFailure(t, exitUsage, "NAME")
	program(t, "models", "--coverage", "ViT-B-32").requireFailure(t, exitUsage, "--coverage")
	program(t, "models", "a", "b").requireFailure(t, exitUsage, "one NAME")
}

func TestModelsThatRunComeFirst(t *testing.T) {
	o := program(t, "models")
	o.requireDone(t)
	rank, last := map[bool]int{true: 0, false: 1}, 0
	for _, line := range strings.Split(strings.TrimSpace(o.stdout), "\n")[1:] {
		r := rank[strings.Contains(line, "  yes  ")]
		if strings.Contains(line, "(CLAP)") || strings.Contains(line, "(GenLIP)") || strings.Contains(line, "(GenLAP)") {
			r = 2
		}
		assert.GreaterOrEqual(t, r, last, line)
		last = r
	}
	assert.Equal(t, 2, last)

	o = program(t, "models", "--runs", "--family", "siglip", "--json")
	o.requireDone(t)
	list := decodeLines[models.Info](t, o.stdout)
	assert.NotEmpty(t, list)
	for _, m := range list {
		assert.Equal(t, "SigLIP", m.Family)
		assert.True(t, m.Supported)
	}
	o = program(t, "models", "--runs")
	o.requireDone(t)
	assert.NotContains(t, o.stdout, "missing:")
	assert.Equal(t, 154, strings.Count(o.stdout, "  yes  "))
	program(t, "models", "--family", "VIT", "--runs").requireDone(t)
	program(t, "models", "--family", "vitt").requireFailure(t, exitFailure, `"vitt"`, "ViT", "CLAP")
}

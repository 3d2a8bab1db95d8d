package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]struct {
		bytes size
		shown string
	}{
		"1":       {1, "1"},
		"1000":    {1000, "1000"},
		"2048":    {2048, "2K"},
		"64M":     {64 << 20, "64M"},
		"1.5g":    {3 << 29, "1536M"},
		"2T":      {2 << 40, "2T"},
		"1048576": {1 << 20, "1M"},
	} {
		var s size
		require.NoError(t, s.Set(text), text)
		assert.Equal(t, want.bytes, s, text)
		assert.Equal(t, want.shown, s.String(), text)
	}
	for _, text := range []string{"", "M", "0", "-1M", "0.5", "NaN", "Inf", "9999999T", "64 MB", "64MiB"} {
		assert.Error(t, new(size).Set(text), text)
	}
}

func TestMemoryBudget(t *testing.T) {
	program(t, "bench", "--model", "ViT-B-32", "--max-gpu-mem", "64M").requireFailure(t, exitFailure, "MiB of device memory needed", "64.0 MiB allowed")
	program(t, "bench", "--batch", "1", "--seconds", "0.01", "--max-gpu-mem", "64M").requireDone(t)
}

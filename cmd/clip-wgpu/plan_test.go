package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPlanOfABigBatch needs no GPU: ViT-B-32 trains with 4,096 pairs in 24 GB.
func TestPlanOfABigBatch(t *testing.T) {
	big := []string{"program", "ViT-B-32", "--train", "--limits", "default", "--batch", "4096", "--max-gpu-mem", "24G"}
	r := program(t, big...)
	r.requireDone(t)
	assert.Contains(t, r.stdout, "a step of 4096 pairs, 128 at a time: ")
	assert.Contains(t, r.stdout, "32 × gradients of 128 pairs: ")

	var plan planLine
	before := int64(0)
	for _, more := range [][]string{nil, {"--grad-checkpointing"}, {"--grad-checkpointing", "--micro-batch", "32"}} {
		r := program(t, append(append(big, "--json"), more...)...)
		r.requireDone(t)
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &plan))
		assert.Equal(t, 4096, plan.Pairs)
		assert.Equal(t, 4096, plan.Programs[1].Runs*plan.MicroBatch)
		assert.Less(t, plan.StateBytes+plan.WorkBytes, int64(24<<30))
		if before > 0 {
			assert.Less(t, plan.WorkBytes, before)
		}
		before = plan.WorkBytes
	}
	program(t, "program", "ViT-B-32", "--train", "--limits", "default", "--max-gpu-mem", "1G").
		requireFailure(t, exitFailure, "MiB of device memory needed", "1024.0 MiB allowed")
	program(t, "program", "ViT-B-32", "--limits", "default", "--micro-batch", "8").requireFailure(t, exitUsage, "--micro-batch goes with --train")
	program(t, "program", "ViT-B-32", "--limits", "default", "--train", "--tower", "text").requireFailure(t, exitUsage, "--tower does not go with --train")
}

package train

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

const (
	lives     = 10 // that end by a kill
	killedRun = 30 // steps
	stateFile = "CLIPWGPU_TEST_STATE"
)

// batchOf is the batch of a step, in another order every time.
func batchOf(step int) Batch {
	images, texts := pairs(4)
	size, n := len(images.Data)/4, step%4
	return Batch{
		Images: clip.Array{Shape: images.Shape, Data: slices.Concat(images.Data[n*size:], images.Data[:n*size])},
		Texts:  slices.Concat(texts[step%3:], texts[:step%3]),
	}
}

// trainAndSave resumes from path if there is such a file, goes on until all steps are made,
// saves after each and tells of it.
func trainAndSave(t *testing.T, path string, tell func(step int, loss float64)) {
	t.Helper()
	trainer, err := New(open(t), withAverages())
	require.NoError(t, err)
	defer trainer.Close()
	if _, err := os.Stat(path); err == nil {
		require.NoError(t, trainer.Resume(t.Context(), path))
	}
	for step := trainer.Steps() + 1; step <= killedRun; step++ {
		loss, err := trainer.Step(t.Context(), batchOf(step))
		require.NoError(t, err)
		require.NoError(t, trainer.Save(t.Context(), path))
		tell(step, loss)
	}
}

// TestLife is what TestKilledRunsGoOn starts and kills.
func TestLife(t *testing.T) {
	path := os.Getenv(stateFile)
	if path == "" {
		t.Skip("started by another test")
	}
	trainAndSave(t, path, func(step int, loss float64) { fmt.Printf("\nstep %d %d\n", step, math.Float64bits(loss)) })
}

// A training that is killed at any moment and goes on from the last file has the curve
// of one that is not, and ends in the same file.
func TestKilledRunsGoOn(t *testing.T) {
	whole, path := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "state")
	want, got := map[int]float64{}, map[int]float64{}
	trainAndSave(t, whole, func(step int, loss float64) { want[step] = loss })
	rng := rand.New(rand.NewPCG(3, 4))
	for life := range lives + 1 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLife$", "-test.timeout=120s")
		cmd.Env = append(os.Environ(), stateFile+"="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		until := 1 + rng.IntN(2)
		if life == lives {
			until = math.MaxInt
		}
		lines := bufio.NewScanner(out)
		for told := 0; told < until && lines.Scan(); {
			var step int
			var loss uint64
			if n, _ := fmt.Sscanf(lines.Text(), "step %d %d", &step, &loss); n == 2 {
				got[step] = math.Float64frombits(loss)
				told++
			}
		}
		if life < lives {
			time.Sleep(time.Duration(rng.IntN(80)) * time.Millisecond)
			require.NoError(t, cmd.Process.Kill())
			assert.Error(t, cmd.Wait(), "life %d ended before it was killed", life)
		} else {
			require.NoError(t, cmd.Wait())
		}
	}
	for step, loss := range got {
		assert.Equal(t, want[step], loss, "step %d", step)
	}
	assert.Greater(t, len(got), killedRun/2)
	assert.Equal(t, contents(t, whole), contents(t, path))
}

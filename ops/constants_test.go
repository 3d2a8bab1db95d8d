package ops

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// TestConstantsAreThoseOfTheKernels: what Go and WGSL both say is the same in both.
func TestConstantsAreThoseOfTheKernels(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range shaders.Files() {
		k, err := kernel(file).Load()
		require.NoError(t, err)
		for name, check := range map[string]func(value int){
			"NONE":  func(value int) { assert.Equal(t, int(none), value, "functions") },
			"PANEL": func(value int) { assert.Equal(t, packing.Arrangement{}, packing.Panels(value), "blocks of a panel") },
			"TILE": func(int) {
				if file != "linear_tile" { // whose DEPTH counts groups
					assert.Equal(t, leastDepth, k.Consts["DEPTH"], "terms in workgroup memory")
				}
			},
			"RECORD": func(value int) {
				assert.Equal(t, recordWords, value, "words of a record")
				if file != "grad_norm" { // which looks for the parameters that a workgroup has elements of
					assert.Zero(t, SlabAlign%(4*k.Tile[0]), "%s: a workgroup has elements of two parameters", file)
				}
			},
		} {
			if value, ok := k.Consts[name]; ok {
				seen[name] = true
				check(value)
			}
		}
	}
	assert.Len(t, seen, 4)
}

package tests

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/clip-wgpu/clip-wgpu/"

// mayImport are the arrows between the packages: towers are recorded,
// differentiated and planned without any device.
var mayImport = map[string][]string{
	"internal/debug":      {},
	"shaders":             {"internal/debug"},
	"internal/guard":      {},
	"internal/atomicfile": {},
	"internal/smallfile":  {},
	"internal/strictjson": {},
	"internal/fuzztest":   {"internal/guard"},
	"internal/half":       {},
	"internal/await":      {},
	"internal/usage":      {},
	"internal/hubtest":    {},
	"internal/torchtest":  {},
	"graph":               {"shaders", "internal/debug", "internal/half"},
	"ops":                 {"graph", "shaders"},
	"layers":              {"graph", "ops"},
	"weights":             {"graph", "internal/atomicfile", "internal/guard", "internal/half"},
	"gpu":                 {"graph", "shaders", "internal/atomicfile", "internal/await", "internal/debug", "internal/smallfile"},
	"clip/tokenizer":      {"internal/guard", "internal/smallfile", "internal/strictjson"},
	"clip/preprocess":     {"internal/guard", "internal/strictjson"},
	"clip/hub":            {"weights", "internal/atomicfile", "internal/smallfile"},
	"clip":                {"clip/tokenizer", "clip/preprocess", "clip/hub", "internal/await", "internal/guard", "internal/smallfile", "internal/strictjson", "graph", "layers", "ops", "weights", "gpu"},
	"train":               {"clip", "internal/await", "graph", "ops", "gpu"},
}

func TestImportsFollowTheArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		if strings.HasPrefix(pkg, "cmd/") || pkg == "tests" {
			continue
		}
		home, _, internal := strings.Cut(pkg, "/internal/")
		allowed, ok := mayImport[home]
		if internal {
			allowed = []string{"internal/strictjson"}
		}
		if !assert.True(t, ok, "package %s has no place among the arrows", pkg) {
			continue
		}
		for _, imp := range fields[1:] {
			if strings.Contains(imp, "go-webgpu") {
				assert.Equal(t, "gpu", pkg, "only gpu may import the WebGPU binding")
			}
			ours, is := strings.CutPrefix(imp, module)
			if is && !strings.HasPrefix(ours, home+"/internal/") {
				assert.True(t, slices.Contains(allowed, ours), "%s imports %s", pkg, ours)
			}
		}
	}
}

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
	"internal/sysfile":    {},
	"internal/walk":       {},
	"internal/await":      {},
	"internal/flight":     {},
	"internal/usage":      {},
	"internal/hubtest":    {},
	"internal/torchtest":  {},
	"internal/dist":       {},
	"graph/packing":       {"internal/half"},
	"graph":               {"shaders", "graph/packing", "internal/debug"},
	"ops":                 {"graph", "graph/packing", "internal/half", "shaders"},
	"layers":              {"graph", "graph/packing", "ops"},
	"weights":             {"graph", "internal/atomicfile", "internal/guard", "internal/half", "internal/strictjson"},
	"gpu":                 {"graph", "graph/packing", "shaders", "gpu/internal/raw", "internal/atomicfile", "internal/await", "internal/debug", "internal/smallfile"},
	"gpu/scene":           {"gpu", "gpu/internal/raw"},
	"gpu/window":          {"gpu", "gpu/internal/raw", "gpu/scene"},
	"clip/tokenizer": {"clip/tokenizer/internal/ftfy", "clip/tokenizer/internal/hf", "clip/tokenizer/internal/pytext", "clip/tokenizer/internal/sentencepiece",
		"clip/tokenizer/internal/subword", "internal/guard", "internal/smallfile", "internal/strictjson"},
	"clip/preprocess": {"clip/preprocess/internal/inflate", "clip/preprocess/internal/jpeg", "clip/preprocess/internal/vp8l", "internal/guard", "internal/strictjson"},
	"clip/hub":        {"weights", "internal/atomicfile", "internal/sysfile", "internal/smallfile"},
	"clip/posembed":   {},
	"clip/emoji-clip": {},
	"clip/config":     {"clip/internal/check", "clip/internal/timm", "clip/tokenizer", "internal/guard", "internal/strictjson", "weights"},
	"clip/towers": {"clip/config", "clip/internal/check", "clip/internal/timm", "clip/internal/transformers", "clip/posembed", "graph", "graph/packing", "internal/guard", "internal/strictjson", "layers", "ops",
		"weights"},
	"clip/lora":       {"graph", "internal/atomicfile", "internal/smallfile", "layers", "ops", "weights"},
	"clip/generation": {"clip/internal/check"},
	"clip/models":     {"clip/config", "clip/preprocess", "clip/towers"},
	"clip/checkpoint": {"clip/config", "clip/emoji-clip", "clip/hub", "clip/internal/check", "clip/internal/finite", "clip/lora", "clip/models", "clip/preprocess", "clip/tokenizer",
		"clip/towers", "graph", "graph/packing", "internal/atomicfile", "internal/smallfile", "layers", "weights"},
	"clip": {"clip/checkpoint", "clip/config", "clip/generation", "clip/internal/check", "clip/internal/engine", "clip/internal/finite", "clip/preprocess", "clip/tokenizer", "clip/towers",
		"gpu", "graph", "internal/await", "internal/guard", "ops", "weights"},
	"train/data":   {"clip/preprocess", "internal/walk"},
	"train/eval":   {"clip"},
	"train":        {"clip", "clip/config", "clip/towers", "internal/await", "internal/flight", "graph", "ops", "gpu", "weights"},
	"search":       {"clip", "clip/preprocess", "clip/tokenizer", "gpu", "graph", "ops", "search/index"},
	"search/index": {"clip/preprocess", "internal/atomicfile", "internal/sysfile", "internal/half", "internal/walk"},
}

// inside are the arrows of the packages that only their neighbours can import: the
// engine knows neither CLIP nor its families.
var inside = map[string][]string{
	"clip/internal/check":                   {},
	"clip/internal/finite":                  {},
	"clip/internal/timm":                    {},
	"clip/internal/transformers":            {},
	"clip/internal/cliptest":                {"graph", "weights"},
	"clip/internal/engine":                  {"gpu", "graph", "internal/await", "internal/flight"},
	"clip/preprocess/internal/inflate":      {},
	"clip/preprocess/internal/jpeg":         {},
	"clip/preprocess/internal/vp8l":         {},
	"clip/tokenizer/internal/pytext":        {},
	"clip/tokenizer/internal/ftfy":          {"clip/tokenizer/internal/pytext"},
	"clip/tokenizer/internal/subword":       {},
	"clip/tokenizer/internal/hf":            {"clip/tokenizer/internal/pytext", "clip/tokenizer/internal/subword", "internal/strictjson"},
	"clip/tokenizer/internal/sentencepiece": {"clip/tokenizer/internal/subword"},
	"clip/tokenizer/internal/recorded":      {},
	"gpu/internal/raw":                      {},
	"gpu/window/internal/slowrelease":       {},
}

// needGPU are the packages that do not build without cgo, the binding's language.
var needGPU = []string{"gpu", "clip", "clip/internal/engine", "train", "train/eval", "search"}

// imports are what each package imports on a system, with the window, which only Linux has by a tag.
func imports(t *testing.T, system string) map[string][]string {
	tags := map[string]string{"linux": "glfw"}[system]
	list := exec.Command("go", "list", "-tags", tags, "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...")
	list.Env = append(list.Environ(), "GOOS="+system, "CGO_ENABLED=1")
	out, err := list.Output()
	require.NoError(t, err)
	found := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		found[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	return found
}

// GLFW opens the window, and only package window knows it.
func TestOneWindow(t *testing.T) {
	for _, system := range []string{"linux", "darwin", "windows"} {
		for pkg, all := range imports(t, system) {
			glfw := slices.ContainsFunc(all, func(imp string) bool { return strings.Contains(imp, "/glfw") })
			assert.Equal(t, pkg == "gpu/window", glfw, "%s on %s imports GLFW", pkg, system)
		}
	}
}

func TestImportsFollowTheArrows(t *testing.T) {
	for pkg, all := range imports(t, "linux") {
		if strings.HasPrefix(pkg, "cmd/") || pkg == "tests" {
			continue
		}
		allowed, ok := mayImport[pkg]
		if !ok {
			allowed, ok = inside[pkg]
		}
		if !assert.True(t, ok, "package %s has no place among the arrows", pkg) {
			continue
		}
		for _, imp := range all {
			if strings.Contains(imp, "go-webgpu") {
				assert.True(t, pkg == "gpu" || strings.HasPrefix(pkg, "gpu/"), "%s imports the WebGPU binding, which only gpu and what lies below it see", pkg)
			}
			if ours, is := strings.CutPrefix(imp, module); is {
				assert.True(t, slices.Contains(allowed, ours), "%s imports %s", pkg, ours)
			}
		}
	}
}

// What needs no GPU builds where there is no C compiler either.
func TestNoCgoWithoutGPU(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{.ImportPath}}`, "-deps", module+"clip/checkpoint", module+"clip/models", module+"layers", module+"search/index")
	list.Env = append(list.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	require.NoError(t, err)
	for pkg := range strings.Lines(string(out)) {
		ours, is := strings.CutPrefix(strings.TrimSpace(pkg), module)
		assert.False(t, is && slices.Contains(needGPU, ours), "%s is needed", ours)
	}
	build := exec.Command("go", "vet", module+"clip/checkpoint", module+"clip/models", module+"layers", module+"search/index")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	text, err := build.CombinedOutput()
	require.NoError(t, err, "%s", text)
}

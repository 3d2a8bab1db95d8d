package shaders

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestKernels holds every kernel file to WebGPU's default limits and to this folder's manner.
func TestKernels(t *testing.T) {
	formula := regexp.MustCompile(`^// \S`)
	require.NotEmpty(t, Files())
	for _, name := range Files() {
		t.Run(name, func(t *testing.T) {
			src, err := files.ReadFile(name + ".wgsl")
			require.NoError(t, err)
			lines := strings.Split(strings.TrimSuffix(string(src), "\n"), "\n")
			assert.Regexp(t, formula, lines[0], "line 1 says what the kernel computes")
			assert.LessOrEqual(t, len(lines), 150, "lines")

			for _, v := range variants(t, name) {
				k, err := v.Load()
				require.NoError(t, err)
				assert.Positive(t, k.Tile[0], "%s says what a workgroup makes: //!tile", k.Name)
				checkLimits(t, k)
			}
		})
	}
}

// checkLimits compares a kernel with the limits that every WebGPU device grants.
func checkLimits(t *testing.T, k *Kernel) {
	storage := 0
	for _, b := range k.Bindings {
		if b.Access != Uniform {
			storage++
		}
	}
	w := k.Workgroup
	assert.LessOrEqual(t, storage, 8, "%s: storage buffers", k.Name)
	assert.LessOrEqual(t, w[2], uint32(64), "%s: workgroup z", k.Name)
	assert.LessOrEqual(t, uint64(w[0])*uint64(w[1])*uint64(w[2]), uint64(256), "%s: invocations", k.Name)
	assert.LessOrEqual(t, k.Shared, 16<<10, "%s: bytes of workgroup memory", k.Name)
}

var switches = regexp.MustCompile(`^const (\w+)[ :bool]* = (true|false);`)

// variants are a kernel with every tuning value, each way of its switches, in every weight format, of rows and of windows,
// which are read forward only.
func variants(t *testing.T, name string) []Variant {
	all, err := Variant{File: name}.Tuned()
	require.NoError(t, err)
	cross := func(key string, values ...any) {
		var crossed []Variant
		for _, v := range all {
			for _, value := range values {
				crossed = append(crossed, v.With(map[string]any{key: value}))
			}
		}
		all = crossed
	}
	src, err := files.ReadFile(name + ".wgsl")
	require.NoError(t, err)
	lines, err := splice(files, name, string(src), nil)
	require.NoError(t, err)
	weighs, reads := false, false
	for _, l := range lines {
		if m := switches.FindStringSubmatch(l.text); m != nil {
			cross(m[1], false, true)
		}
		weighs = weighs || l.file == "lib/weight_f32.wgsl"
		reads = reads || l.file == "lib/x_rows.wgsl"
	}
	if weighs {
		formats, err := fs.Glob(files, "lib/weight_*.wgsl")
		require.NoError(t, err)
		values := make([]any, len(formats))
		for i, f := range formats {
			values[i] = strings.TrimSuffix(strings.TrimPrefix(f, "lib/weight_"), ".wgsl")
		}
		cross("weight", values...)
	}
	if reads {
		for _, v := range all {
			if v.Consts["BACKWARD"] == false {
				all = append(all, v.With(map[string]any{"x": "windows"}))
			}
		}
	}
	return all
}

// eachKernel runs f on the variants of every kernel file, as a device takes them, in a subtest a file, and on two kernels
// that are in no file.
func eachKernel(t *testing.T, as func(Variant) (Variant, error), f func(t *testing.T, k *Kernel)) {
	for _, name := range Files() {
		t.Run(name, func(t *testing.T) {
			for _, v := range variants(t, name) {
				v, err := as(v)
				require.NoError(t, err)
				k, err := v.Load()
				require.NoError(t, err)
				f(t, k)
			}
		})
	}
	for name, src := range map[string]string{
		"tiled": tiled,
		"math":  "//!use math\n@compute @workgroup_size(1)\nfn main() {}\n",
	} {
		t.Run("inline/"+name, func(t *testing.T) {
			k, err := parse(name, src, nil)
			require.NoError(t, err)
			f(t, k)
		})
	}
}

// unchanged are the kernels of every device but DX12's.
func unchanged(v Variant) (Variant, error) { return v, nil }

// TestTranslate has naga, the compiler inside wgpu, validate every kernel as it is on DX12 and write it as HLSL. Glslang, a
// compiler of its own, reads that. The environment variable HLSL names a folder that keeps it.
func TestTranslate(t *testing.T) {
	naga, glslang := nagaPath(t), glslangPath(t)
	eachKernel(t, Variant.DX12, func(t *testing.T, k *Kernel) {
		checkLimits(t, k)
		translate(t, naga, glslang, k)
	})
}

// nagaPath finds naga 0.13, the version inside wgpu-native 0.17. The environment
// variable NAGA names it, as CI does, and then it must be there; without it the
// test takes naga from PATH, and is skipped where there is none.
func nagaPath(t *testing.T) string {
	naga, required := os.LookupEnv("NAGA")
	if !required {
		naga = "naga"
	}
	version, err := exec.Command(naga, "--version").Output()
	if err == nil && strings.Contains(string(version), "0.13.") {
		return naga
	}
	const install = "%q is not naga 0.13: `cargo install naga-cli@0.13.0` and name it in NAGA"
	if required {
		t.Fatalf(install, naga)
	}
	t.Skipf(install, naga)
	return ""
}

// glslangPath finds glslang in PATH. Where NAGA is set, as in CI, it must be there. Elsewhere
// its path may be "", and then nothing reads the HLSL.
func glslangPath(t *testing.T) string {
	path, err := exec.LookPath("glslangValidator")
	if err != nil {
		if _, required := os.LookupEnv("NAGA"); required {
			t.Fatal("glslangValidator is not installed, nothing reads the HLSL: apt-get install glslang-tools")
		}
		t.Log("glslangValidator is not installed: nothing reads the HLSL")
	}
	return path
}

func translate(t *testing.T, naga, glslang string, k *Kernel) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "kernel.wgsl"), filepath.Join(dir, "kernel.hlsl")
	require.NoError(t, os.WriteFile(in, []byte(k.WGSL), 0o600))
	msg, err := exec.Command(naga, in, out).CombinedOutput()
	require.NoError(t, err, "%s to HLSL: %s", k.Name, msg)
	src, err := os.ReadFile(out)
	require.NoError(t, err)
	if kept := os.Getenv("HLSL"); kept != "" {
		name := strings.NewReplacer(" ", ",", "=", "-").Replace(k.Name) + ".hlsl"
		require.NoError(t, os.WriteFile(filepath.Join(kept, name), src, 0o600))
	}
	if glslang != "" {
		parseHLSL(t, glslang, k, src)
	}
}

// zeroArray is how naga writes a zeroed array, which glslang's grammar alone does not take.
var zeroArray = regexp.MustCompile(` = \(\w+(\[\d+\])+\)0`)

// parseHLSL has glslang read what naga wrote.
func parseHLSL(t *testing.T, glslang string, k *Kernel, src []byte) {
	path := filepath.Join(t.TempDir(), "kernel.hlsl")
	require.NoError(t, os.WriteFile(path, zeroArray.ReplaceAll(src, nil), 0o600))
	msg, err := exec.Command(glslang, "-D", "-V", "-S", "comp", "-e", "main", "-o", os.DevNull, path).CombinedOutput()
	require.NoError(t, err, "%s as HLSL: %s", k.Name, msg)
}

package shaders

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMetal has naga write every kernel as Metal. Clang, the compiler that Metal's own is made of, reads that as
// OpenCL C++, Metal's nearest kin, with the library in testdata/msl: it finds errors of grammar, types and address
// spaces. What only Metal's compiler knows, such as its attributes, it does not check.
func TestMetal(t *testing.T) {
	naga, clang := nagaPath(t), clangCommand(t)
	eachKernel(t, unchanged, func(t *testing.T, k *Kernel) {
		assert.NoError(t, metalError(t, naga, clang, k.WGSL), k.Name)
		assert.LessOrEqual(t, strings.Count(k.WGSL, "var<workgroup>"), 31, "%s: Metal has no place for more", k.Name)
	})
}

// TestMetalRefuses feeds metalError with what Metal lacks. Of clang's errors TestMetalReader has one of each kind.
func TestMetalRefuses(t *testing.T) {
	naga, clang := nagaPath(t), clangCommand(t)
	const main = "\n@compute @workgroup_size(1) fn main() { y[0] = x; }"
	require.NoError(t, metalError(t, naga, clang, "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\nconst x = 1.0;"+main))
	f64 := "@group(0) @binding(0) var<storage, read_write> y: array<f64>;\nvar<private> x: f64;" + main
	assert.ErrorContains(t, metalError(t, naga, clang, f64), "f64, which naga writes as float")
	atomic := "@group(0) @binding(0) var<storage, read_write> y: atomic<f32>;\n@compute @workgroup_size(1) fn main() { atomicAdd(&y, 1.0); }"
	assert.ErrorContains(t, metalError(t, naga, clang, atomic), "not supported for an atomic")
}

// TestMetalReader holds that clang refuses what Metal's compiler does, and not only what naga does.
func TestMetalReader(t *testing.T) {
	clang := clangCommand(t)
	if clang == nil {
		t.Skip("nothing reads Metal")
	}
	read := func(parameters, body string) error {
		path := filepath.Join(t.TempDir(), "kernel.metal")
		src := "#include <metal_stdlib>\n#include <simd/simd.h>\nkernel void main_(" + parameters + ") { " + body + " }\n"
		require.NoError(t, os.WriteFile(path, []byte(src), 0o600))
		return clangError(clang, path)
	}
	const y = "device metal::float4& y"
	require.NoError(t, read(y, "y = metal::fma(y, metal::float4(1.0), y);"))
	assert.ErrorContains(t, read(y, "y = metal::fma(y, metal::float4(1.0));"), "fma", "number of arguments")
	assert.ErrorContains(t, read(y, "y = metal::float2(1.0);"), "float2", "size of a vector")
	assert.ErrorContains(t, read(y, "y.xyz = metal::erf(y.xyz);"), "erf", "no such function")
	assert.ErrorContains(t, read(y, "threadgroup metal::float4& w = y;"), "address space")
	assert.ErrorContains(t, read("constant metal::float4& y", "y = metal::float4(1.0);"), "read-only")
	assert.ErrorContains(t, read(y, "y = metal::transpose(y);"), "transpose", "of a vector")
	assert.ErrorContains(t, read(y, "metal::float2x4 m; y = m * y;"), "cannot convert", "inner dimensions")
}

// clangCommand is the command that reads Metal, by the clang in zig 0.13. The environment variable ZIG names zig, as CI
// does, and then it must be there. Without ZIG the test takes zig from PATH. The command is nil where that is not 0.13.
func clangCommand(t *testing.T) []string {
	zig, required := os.LookupEnv("ZIG")
	if !required {
		zig = "zig"
	}
	var env struct {
		LibDir  string `json:"lib_dir"`
		Version string
	}
	out, err := exec.Command(zig, "env").Output()
	if err == nil {
		err = json.Unmarshal(out, &env)
	}
	if err != nil || !strings.HasPrefix(env.Version, "0.13.") {
		const install = "%q is not zig 0.13: `pip install ziglang==0.13.0` and name its zig in ZIG"
		if required {
			t.Fatalf(install, zig)
		}
		t.Logf(install, zig)
		return nil
	}
	library, err := filepath.Abs("testdata/msl")
	require.NoError(t, err)
	return []string{zig, "clang", "-x", "clcpp", "-cl-std=clc++2021", "-cl-single-precision-constant", "-target", "spir64",
		"-fsyntax-only", "-Werror", "-Wno-unknown-attributes", "-Wno-array-bounds", "-isystem", filepath.Join(env.LibDir, "include"), "-I", library}
}

var double = regexp.MustCompile(`\bf64\b`)

// metalError says what keeps WGSL from being Metal.
func metalError(t *testing.T, naga string, clang []string, wgsl string) error {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "kernel.wgsl"), filepath.Join(dir, "kernel.metal")
	require.NoError(t, os.WriteFile(in, []byte(wgsl), 0o600))
	if msg, err := exec.Command(naga, in, out).CombinedOutput(); err != nil {
		return fmt.Errorf("naga: %w: %s", err, msg)
	}
	if double.MatchString(wgsl) {
		return errors.New("f64, which naga writes as float")
	}
	if clang == nil {
		return nil
	}
	return clangError(clang, out)
}

// clangError says what clang finds in a file of Metal.
func clangError(clang []string, path string) error {
	msg, err := exec.Command(clang[0], append(clang[1:len(clang):len(clang)], path)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("clang: %w: %s", err, msg)
	}
	return nil
}

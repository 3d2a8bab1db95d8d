package shaders

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEval(t *testing.T) {
	names := func(name string) (value, error) {
		return eval(map[string]string{"N": "8u", "EPS": "0.5f", "I": "-3i"}[name], nil)
	}
	for _, c := range []struct{ expr, typ, want string }{
		{"8u", "u32", "8u"},
		{"0x1Fu", "u32", "31u"},
		{"N * N", "u32", "64u"},
		{"(N + 3) / 4", "u32", "2u"},
		{"2 + N % 3", "u32", "4u"},
		{"N << 2u | 1", "u32", "33u"},
		{"~0u", "u32", "4294967295u"},
		{"-7 / 2", "i32", "-3"},
		{"I * 2", "i32", "-6"},
		{"1", "i32", "1"},
		{"1 / 4.0", "f32", "0.25"},
		{"1e-5", "f32", "1e-05"},
		{"0.1", "f32", "0.1"},
		{"EPS * 4", "f32", "2.0"},
		{".5f", "f32", "0.5"},
		{"f32(N) * EPS", "f32", "4.0"},
		{"u32(2.9)", "u32", "2u"},
		{"max(N, 16) - min(1, 2)", "u32", "15u"},
		{"select(1u, 4u, N >= 8)", "u32", "4u"},
		{"N == 8 && !(EPS > 1.0)", "bool", "true"},
	} {
		x, err := eval(c.expr, names)
		if assert.NoError(t, err, c.expr) {
			typ, text := x.literal()
			assert.Equal(t, c.typ+" "+c.want, typ+" "+text, c.expr)
		}
	}
}

func TestEvalErrors(t *testing.T) {
	none := func(name string) (value, error) { return value{}, assert.AnError }
	for expr, want := range map[string]string{
		"1u +":              "cannot read",
		"1u - 2u":           "out of range for u32",
		"4294967295u + 1":   "out of range for u32",
		"2147483647i + 1":   "out of range for i32",
		"1e39f":             "out of range for f32",
		"1u / 0":            "division by zero",
		"1.0 / 0.0":         "division by zero",
		"1u + 1i":           "operator +: i32 where u32 is wanted",
		"1u + 1.0":          "operator +",
		"true + true":       "does not take bool",
		"1.5 % 1.0":         "does not take float",
		"!1":                "does not take int",
		"-1u":               "does not take u32",
		"1 << 40":           "below 32",
		"sqrt(2.0)":         "is not evaluated",
		"MISSING":           assert.AnError.Error(),
		"a.b":               "only scalar",
		"f32(true, false)":  "is not evaluated",
		"select(1, 2u, 3u)": "is not evaluated",
	} {
		_, err := eval(expr, none)
		assert.ErrorContains(t, err, want, expr)
	}
}

const tiled = `// t
const NN = N * N;  // use before declaration
const N = 4u; //!tune 4 8
const EPS = 1e-6;
const HAS_BIAS = false;
const W = vec2<f32>(1.0, 2.0);
const_assert N <= 16u;
var<workgroup> tile: array<array<vec4<f32>, N>, NN / 2>;
var<workgroup> flag: atomic<u32>;
struct Params { rows: u32, shift: i32, scale: f32, }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(1) var<storage, read> x: array<f32>; // array<f32, IGNORED>
@compute @workgroup_size(N, NN / N)
fn main(@builtin(local_invocation_id) at: vec3<u32>) {
    var acc: array<f32, NN>;
    acc[at.x] = EPS + x[at.x] * W.x;
    if HAS_BIAS { acc[at.x] = 1.0; }
    tile[at.y][at.x] = vec4f(acc[at.x]);
    atomicAdd(&flag, 1u);
    if at.x < p.rows { y[at.x] = tile[at.y][at.x] * p.scale + f32(p.shift); }
}
`

func TestLower(t *testing.T) {
	k, err := parse("tiled", tiled, nil)
	require.NoError(t, err)
	got := strings.Split(k.WGSL, "\n")
	for n, want := range map[int]string{
		2:  "const NN: u32 = 16u;  // use before declaration",
		3:  "const N: u32 = 4u; //!tune 4 8",
		4:  "const EPS: f32 = 1e-06;",
		5:  "const HAS_BIAS: bool = false;",
		6:  "const W = vec2<f32>(1.0, 2.0);",
		7:  "",
		8:  "var<workgroup> tile: array<array<vec4<f32>, 4>, 8>;",
		13: "@group(0) @binding(1) var<storage, read> x: array<f32>; // array<f32, IGNORED>",
		14: "@compute @workgroup_size(4, 4)",
		16: "    var acc: array<f32, 16>;",
	} {
		assert.Equal(t, want, got[n-1], "line %d", n)
	}

	k, err = parse("tiled", tiled, map[string]any{"N": 8, "HAS_BIAS": true, "EPS": 1})
	require.NoError(t, err)
	assert.Contains(t, k.WGSL, "const NN: u32 = 64u;")
	assert.Contains(t, k.WGSL, "const HAS_BIAS: bool = true;")
	assert.Contains(t, k.WGSL, "const EPS: f32 = 1.0;")
	assert.Equal(t, [3]uint32{8, 8, 1}, k.Workgroup)
}

func TestLowerErrors(t *testing.T) {
	const main = "\n@compute @workgroup_size(1)\nfn main() {}\n"
	for src, want := range map[string]string{
		"// t\nconst N = 1u + 1.0;":          "bad.wgsl:2: const N: 1u + 1.0: operator +: float where u32 is wanted",
		"const N: bool = 3;":                 "bad.wgsl:1: const N: int where bool is wanted",
		"const A = B;\nconst B = A;":         "depends on itself",
		"const A = C;":                       "bad.wgsl:1: const A: C: C is not a scalar const",
		"const A = 1;\nconst A = 2;":         "bad.wgsl:2: const A is declared twice",
		"const A =\n  2;":                    "bad.wgsl:1: want `const NAME = VALUE;` on one line",
		"fn f() {\n  const A = 2;\n}":        "bad.wgsl:2: const and const_assert belong at module scope",
		"const A = 3u;\nconst_assert A < 2;": "bad.wgsl:2: const_assert fails: A < 2",
		"const_assert 3;":                    "const_assert wants a bool",
		"override A = 3;":                    "bad.wgsl:1: override is not supported",
		"@id(1) override A = 3;":             "bad.wgsl:1: override is not supported",
		"enable f16;":                        "enable is not supported",
		"/* x */":                            "/* is not supported",
		"var<private> a: array<f32, M>;":     "bad.wgsl:1: array length: M: M is not a scalar const",
		"var<private> a: array<f32, 0>;":     "array length: 0 is not a positive integer",
		"var<private> a: array<f32, 1.5>;":   "array length: 1.5 is not a positive integer",
		"//!use nothing":                     "bad.wgsl:1: no file lib/nothing.wgsl to use",
		"@workgroup_size(K)":                 "bad.wgsl:1: @workgroup_size: K",
	} {
		_, err := parse("bad", src+main, nil)
		assert.ErrorContains(t, err, want, src)
	}
	for variant, want := range map[string]string{
		"N=3.5":       "const N: value 3.5: float where u32 is wanted",
		"N=true":      "value true: bool where u32 is wanted",
		"N=-1":        "out of range for u32",
		"N=4i":        "i32 where u32 is wanted",
		"N=EPS":       "not a literal",
		"N=(":         "cannot read",
		"N=32":        "const_assert fails: N <= 16u",
		"HAS_BIAS=1":  "const HAS_BIAS: value 1: int where bool is wanted",
		"M=1":         "tiled.wgsl: no scalar const M to replace, it has [EPS HAS_BIAS N NN]",
		"W=1":         "no scalar const W",
		"weight=f16":  "does not say //!use weight",
		"weight=none": "does not say //!use weight",
	} {
		name, value, _ := strings.Cut(variant, "=")
		_, err := parse("tiled", tiled, map[string]any{name: value})
		assert.ErrorContains(t, err, want, variant)
	}
}

func TestUnroll(t *testing.T) {
	const src = `const N = 2u;
@compute @workgroup_size(1)
fn main() {
    var a: array<array<f32, 3>, N>;
    for (var i = 0u; i < N; i++) {  //!unroll
        let ii = i;
        for (var j = 0u; j < N + 1u; j++) {  //!unroll
            a[i][j] = f32(ii);
        }
    }
}
`
	k, err := parse("k", src, nil)
	require.NoError(t, err)
	got := strings.Split(k.WGSL, "\n")
	one := func(i string) string {
		return "{ let ii = " + i + "; { a[" + i + "][0u] = f32(ii); } { a[" + i + "][1u] = f32(ii); } { a[" + i + "][2u] = f32(ii); } }"
	}
	assert.Equal(t, "    "+one("0u")+" "+one("1u"), got[4])
	assert.Equal(t, []string{"", "", "", "", "", "}"}, got[5:11])

	for body, want := range map[string]string{
		"for (var i = 1u; i < N; i++) {  //!unroll\n}":           "bad.wgsl:3: //!unroll wants `for (var i = 0u; i < COUNT; i++) {`",
		"for (var i = 0u; i < N; j++) {  //!unroll\n}":           "//!unroll wants",
		"let x = 1u;  //!unroll":                                 "//!unroll wants",
		"for (var i = 0u; i < M; i++) {  //!unroll\n}":           "//!unroll: M: M is not a scalar const",
		"for (var i = 0u; i < N; i++) {  //!unroll\n  break;\n}": "bad.wgsl:4: //!unroll: the loop of line 3 must run to its end",
		"for (var i = 0u; i < N; i++) {  //!unroll\n  }":         "bad.wgsl:3: //!unroll: no line \"}\" ends the loop",
	} {
		_, err := parse("bad", "const N = 2u;\nfn f() {\n"+body+"\n  }\n@compute @workgroup_size(1)\nfn main() {}", nil)
		assert.ErrorContains(t, err, want, body)
	}
}

func TestSplice(t *testing.T) {
	lib := fstest.MapFS{
		"lib/weight_f32.wgsl": {Data: []byte("//!use pack\n// plain\n")},
		"lib/weight_f16.wgsl": {Data: []byte("// half\n")},
		"lib/pack.wgsl":       {Data: []byte("// pack\n")},
	}
	text := func(weight string) (out []string) {
		lines, err := splice(lib, "k", "//!use weight\n//!use pack\n//!use pack\n// end\n", map[string]string{"weight": weight})
		require.NoError(t, err)
		for _, l := range lines[4:] {
			out = append(out, l.text)
		}
		return out
	}
	assert.Equal(t, []string{"//!use pack", "// plain", "// pack"}, text(""))
	assert.Equal(t, []string{"// half", "// pack"}, text("f16"))
	_, err := splice(lib, "k", "//!use weight\n", map[string]string{"weight": "q3"})
	assert.ErrorContains(t, err, "k.wgsl:1: no file lib/weight_q3.wgsl to use")
}

// An error in a spliced file names that file, and of its constants only the marked ones can be replaced.
func TestSplicedLines(t *testing.T) {
	lines := append(split("k.wgsl", "const A = 1u;"), split("lib/l.wgsl", "// l\nconst B = A + 1.5;")...)
	_, err := lower("k", lines, nil)
	assert.ErrorContains(t, err, "lib/l.wgsl:2: const B")
	_, err = lower("k", lines, map[string]any{"B": 1})
	assert.ErrorContains(t, err, "k.wgsl: no scalar const B to replace, it has [A]")
	lines = append(split("k.wgsl", "const A = 2u * C;"), split("lib/l.wgsl", "const B = 3u;\nconst C = 8u;  //!replace")...)
	got, err := lower("k", lines, map[string]any{"C": 5})
	require.NoError(t, err)
	assert.Equal(t, "const A: u32 = 10u;", got[0].text)
	_, err = lower("k", lines, map[string]any{"B": 1})
	assert.ErrorContains(t, err, "k.wgsl: no scalar const B to replace, it has [A C]")
}

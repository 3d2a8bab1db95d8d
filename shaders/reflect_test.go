package shaders

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReflect(t *testing.T) {
	k, err := parse("tiled", tiled, nil)
	require.NoError(t, err)
	assert.Equal(t, []Binding{{"p", Uniform, "Params"}, {"x", Read, "f32"}, {"y", ReadWrite, "vec4<f32>"}}, k.Bindings)
	assert.Equal(t, []string{"u32", "i32", "f32"}, k.Params)
	assert.Equal(t, [3]uint32{4, 4, 1}, k.Workgroup)
	assert.Equal(t, 4*8*16+16, k.Shared, "the atomic counts 16 bytes")
	k, err = Variant{"linear_split", map[string]any{"ROWS": 8}}.Load()
	require.NoError(t, err)
	assert.Equal(t, []int{8, 8}, []int{k.Consts["ROWS"], k.Consts["PANEL"]}, "replaced, and a library's")
	assert.NotContains(t, k.Consts, "BACKWARD")
}

func TestReflectErrors(t *testing.T) {
	const (
		params = "struct Params { n: u32 }\n@group(0) @binding(0) var<uniform> p: Params;\n"
		entry  = "@compute @workgroup_size(64)\nfn main() {}\n"
	)
	for src, want := range map[string]string{
		params + "@group(0) @binding(2) var<storage, read> x: array<f32>;\n" + entry:    "bad.wgsl:3: x has binding 2, want 0 to 1 without gaps",
		params + "@group(0) @binding(0) var<storage, read> x: array<f32>;\n" + entry:    "bad.wgsl:3: p and x share binding 0",
		params + "@group(1) @binding(1) var<storage, read> x: array<f32>;\n" + entry:    "x is in group 1",
		params + "@group(0) @binding(1) var<storage, read> x: array<f32, 4>;\n" + entry: "want a runtime-sized array",
		params + "@group(0) @binding(1) var<storage, read> x: f32;\n" + entry:           "x is f32, want a runtime-sized array",
		params + "@group(0) @binding(1) var<storage, write> x: array<f32>;\n" + entry:   "bad.wgsl:3: x: var<storage,write>",
		params + "@group(0) @binding(1) var<uniform> q: Params;\n" + entry:              "q: only binding 0 may be a uniform",
		params + "@binding(1) @group(0) var<storage, read> x: array<f32>;\n" + entry:    "bad.wgsl:3: want `@group(0) @binding(N)",
		params + "@group(0) @binding(1) var t: texture_2d<f32>;\n" + entry:              "bad.wgsl:3: want `@group(0) @binding(N)",
		"// x\n@group(0) @binding(0) var<uniform> p: Params;\n" + entry:                 "bad.wgsl:2: the uniform's type Params is not a struct",
		strings.Replace(params, "u32", "vec2<u32>", 1) + entry:                          "field of type vec2<u32>",
		params:                 "bad.wgsl: want one entry point",
		params + entry + entry: "want one entry point",
		params + strings.Replace(entry, "main", "run", 1):  "want one entry point",
		params + strings.Replace(entry, "64", "", 1):       "bad.wgsl:3: @workgroup_size takes one to three sizes",
		params + "var<workgroup> s: Missing;\n" + entry:    "bad.wgsl:3: s: type Missing has no known size",
		params + "var<workgroup> s: array<f32>;\n" + entry: "s: type array<f32> has no known size",
	} {
		_, err := parse("bad", src, nil)
		assert.ErrorContains(t, err, want, src)
	}
}

func TestLayout(t *testing.T) {
	types := declaredTypes("struct S { a: f32, b: vec3<f32>, c: u32, }\nstruct T { s: S, d: array<f32, 3> }\nalias Tile = array<vec4f, 4>;")
	for typ, want := range map[string][2]int{
		"f32":                      {4, 4},
		"atomic<u32>":              {4, 4},
		"vec2f":                    {8, 8},
		"vec3<u32>":                {12, 16},
		"vec4<f32>":                {16, 16},
		"mat4x4<f32>":              {64, 16},
		"mat2x3f":                  {32, 16},
		"array<f32, 5>":            {20, 4},
		"array<vec3<f32>, 2>":      {32, 16},
		"array<array<f32, 3>, 2>":  {24, 4},
		"S":                        {32, 16},
		"T":                        {48, 16},
		"array< Tile , 2>":         {128, 16},
		"array<array<vec2f, 2>,3>": {48, 8},
	} {
		size, align, err := types.sizeAndAlign(typ)
		assert.NoError(t, err, typ)
		assert.Equal(t, want, [2]int{size, align}, typ)
	}
}

func TestLoad(t *testing.T) {
	multiply := Variant{"binary", map[string]any{"OP": 2}}
	k, err := multiply.Load()
	require.NoError(t, err)
	assert.Equal(t, "binary OP=2", k.Name)
	assert.Contains(t, k.WGSL, "const OP: u32 = 2u;")
	assert.Contains(t, k.WGSL, "fn group_index")

	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			same, err := multiply.Load()
			assert.NoError(t, err)
			assert.Same(t, k, same)
		})
	}
	wait.Wait()

	for _, c := range []struct {
		file   string
		consts map[string]any
		want   string
	}{
		{"", nil, "no kernel .wgsl"},
		{"missing", nil, "no kernel missing.wgsl"},
		{"lib/fold", nil, "no kernel lib/fold.wgsl"},
		{"../x", nil, "no kernel"},
		{"binary", map[string]any{"OP": 9}, "const_assert fails"},
		{"binary", map[string]any{"OP": 1.5}, "const OP"},
		{"binary", map[string]any{"OP": "x"}, "const OP"},
		{"binary", map[string]any{"ADD": 9}, "binary.wgsl: no scalar const ADD to replace, it has [OP WG]"},
		{"binary", map[string]any{"weight": "f16"}, "does not say //!use weight"},
		{"linear_tile", map[string]any{"weight": 3}, "no file lib/weight_3.wgsl"},
		{"linear_step", map[string]any{"x": "windows"}, "does not say //!use x"},
		{"linear_tile", map[string]any{"x": "windows", "BACKWARD": true}, "lib/x_windows.wgsl:10: const_assert fails"},
	} {
		_, err := Variant{c.file, c.consts}.Load()
		assert.ErrorContains(t, err, c.want, "%s %v", c.file, c.consts)
	}
}

func TestVariant(t *testing.T) {
	v := Variant{"linear_split", map[string]any{"ROWS": 8}}
	w := v.With(map[string]any{"weight": "f16", "ACT": 3, "BACKWARD": true})
	assert.Equal(t, "linear_split ROWS=8", v.String(), "With copies")
	assert.Equal(t, "linear_split ACT=3 BACKWARD=true ROWS=8 weight=f16", w.String())

	var names []string
	for _, file := range []string{"linear_split", "linear_step", "linear_tile"} {
		all, err := Variant{File: file}.Tuned()
		require.NoError(t, err)
		for _, v := range all {
			names = append(names, v.String())
		}
	}
	assert.Equal(t, []string{"linear_split ROWS=1", "linear_split ROWS=4", "linear_split ROWS=8",
		"linear_step GROUPS=2", "linear_step GROUPS=4", "linear_tile"}, names)
	_, err := Variant{File: "missing"}.Tuned()
	assert.Error(t, err)

	for line, want := range map[string]string{
		"const A = 1u;  //!tune":                      "bad.wgsl:1: want `const NAME = VALUE;  //!tune N N …`",
		"const A = 1u;  //!tune 1 x":                  "bad.wgsl:1: want `const NAME",
		"let a = 1u;  //!tune 1":                      "bad.wgsl:1: want `const NAME",
		"const A = 1u;  //!tune 99999999999999999999": "bad.wgsl:1: //!tune: ",
		"const A = 1u;  //!dx12":                      "bad.wgsl:1: want `const NAME",
		"const A = 1u;  //!dx12 1 2":                  "bad.wgsl:1: //!dx12: want one value",
	} {
		_, err := parse("bad", line+"\n", nil)
		assert.ErrorContains(t, err, want, line)
	}
	all, err := tunes([]line{{"x.wgsl", 1, "const A = 1u;  //!tune 8 1 4 1"}})
	require.NoError(t, err)
	assert.Equal(t, []tune{{tuneMark, "A", []int{1, 4, 8}}}, all)
}

func TestDX12(t *testing.T) {
	v, err := Variant{"linear_split", map[string]any{"ROWS": 8}}.DX12()
	require.NoError(t, err)
	assert.Equal(t, "linear_split ROUND=1 ROWS=8", v.String())
	v, err = Variant{File: "fill"}.DX12()
	require.NoError(t, err)
	assert.Equal(t, "fill", v.String())
	_, err = Variant{File: "missing"}.DX12()
	assert.ErrorContains(t, err, "missing.wgsl")
}

func TestTile(t *testing.T) {
	k, err := Variant{"linear_step", map[string]any{"GROUPS": 4}}.Load()
	require.NoError(t, err)
	assert.Equal(t, [2]int{10, 128}, k.Tile)
	assert.Equal(t, 2*3*4, k.Groups(2, 21, 385))
	k, err = Variant{File: "fill"}.Load()
	require.NoError(t, err)
	assert.Equal(t, [2]int{64, 1}, k.Tile)
	assert.Equal(t, 3, k.Groups(1, 129, 1))

	const main = "@compute @workgroup_size(1)\nfn main() {}\n"
	for line, want := range map[string]string{
		"//!tile 0":            "0 is not a positive integer",
		"//!tile 1 2 3":        "want one size or two",
		"//!tile ":             "want one size or two",
		"//!tile N":            "N is not a scalar const",
		"//!tile 1\n//!tile 2": "a second //!tile",
	} {
		_, err := parse("bad", line+"\n"+main, nil)
		assert.ErrorContains(t, err, want, line)
	}
}

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
		size, align, err := types.layout(typ)
		assert.NoError(t, err, typ)
		assert.Equal(t, want, [2]int{size, align}, typ)
	}
}

func TestLoad(t *testing.T) {
	k, err := Load("binary OP=2")
	require.NoError(t, err)
	assert.Equal(t, "binary OP=2", k.Name)
	assert.Contains(t, k.Source, "const OP: u32 = 2u;")
	assert.Contains(t, k.Source, "fn group_index")

	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			same, err := Load("binary OP=2")
			assert.NoError(t, err)
			assert.Same(t, k, same)
		})
	}
	wait.Wait()

	for variant, want := range map[string]string{
		"":                 "empty",
		"missing":          "no kernel missing.wgsl",
		"lib/fold":         "no kernel lib/fold.wgsl",
		"../x":             "no kernel",
		"binary OP":        `"OP" is not NAME=VALUE`,
		"binary OP=":       `"OP=" is not NAME=VALUE`,
		"binary OP=1 OP=2": "OP is given twice",
		"binary OP=9":      "const_assert fails",
		"binary ADD=9":     "binary.wgsl: no scalar const ADD to replace, it has [OP WG]",
	} {
		_, err := Load(variant)
		assert.ErrorContains(t, err, want, variant)
	}
}

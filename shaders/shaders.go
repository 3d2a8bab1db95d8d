// Package shaders holds every compute kernel as one readable WGSL file and turns a file into what a device takes:
// it splices shared functions, replaces and evaluates constants, and reflects bindings, workgroup and memory from the text.
//
// A kernel is spec-style WGSL with six additions, comments to any other reader:
//
//	//!tile ROWS 4*WG gives the rows and columns of the result that one workgroup makes. It stands before main.
//	//!tile 4*WG      gives its elements, for a result that is a list.
//	//!use NAME       appends lib/NAME.wgsl, once. `//!use weight` and `//!use x` append one of several, see Variant.
//	//!replace        ends a const line of a library whose value a Variant may replace. A kernel's own need no mark.
//	//!tune 16 32 64  ends a const line. It lists the values worth trying for the constant.
//	//!dx12 1         ends a const line. It is the constant's value on DX12, see Variant.DX12.
//	//!unroll         ends `for (var i = 0u; i < COUNT; i++) {`. The loop is written out, its body COUNT times.
//
// Binding 0 is the uniform struct of u32, i32 and f32 fields, the others are storage buffers of runtime-sized arrays,
// and the entry point is main.
package shaders

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

//go:embed *.wgsl lib/*.wgsl
var files embed.FS

// Kernel is one compute shader, ready for a device. Kernels are shared: do not modify them.
type Kernel struct {
	Name      string    // the Variant as text
	WGSL      string    // text that naga 0.13 takes; line numbers are those of the file, spliced lines follow
	Bindings  []Binding // of group 0; the index is the binding number
	Params    []string  // "u32", "i32" or "f32": the uniform struct's fields in order; nil without one
	Workgroup [3]uint32 // invocations in x, y, z
	Tile      [2]int    // rows and columns of its result that one workgroup makes
	Shared    int       // bytes of workgroup memory, each variable rounded up to 16 as WebGPU counts them

	Consts map[string]int // its integer constants by name, those of the libraries it uses too
}

// Groups counts the workgroups that compute a result [batch, rows, cols].
func (k *Kernel) Groups(batch, rows, cols int) int {
	ceil := func(n, size int) int { return (n + size - 1) / size }
	return batch * ceil(rows, k.Tile[0]) * ceil(cols, k.Tile[1])
}

// Binding is one buffer that a kernel takes.
type Binding struct {
	Name   string
	Access Access
	Elem   string // what a storage buffer is an array of, such as "f32" or "vec4<f32>"; the uniform's struct name
}

// Access is how a kernel uses a buffer.
type Access uint8

// The three ways to bind a buffer.
const (
	Uniform Access = iota
	Read
	ReadWrite
)

var cache = struct {
	sync.Mutex
	kernels map[string]*Kernel
	tunes   map[string][]tune // of files
}{kernels: map[string]*Kernel{}, tunes: map[string][]tune{}}

// Load returns the kernel. Results are cached and shared. Load is safe for concurrent use.
func (v Variant) Load() (*Kernel, error) {
	name, from := v.String(), kernelFolder()
	key := from.dir + " " + name
	cache.Lock()
	defer cache.Unlock()
	if k := cache.kernels[key]; k != nil {
		return k, nil
	}
	if !slices.Contains(Files(), v.File) {
		return nil, fmt.Errorf("shaders: no kernel %s.wgsl", v.File)
	}
	src, err := fs.ReadFile(from, v.File+".wgsl")
	if err != nil {
		return nil, fmt.Errorf("shaders: %w", err)
	}
	k, err := parse(v.File, string(src), v.Consts)
	if err == nil && k.Tile[0] == 0 {
		err = fmt.Errorf("%s.wgsl: want %sand what a workgroup makes", v.File, tileMark)
	}
	if err != nil {
		return nil, fmt.Errorf("shaders: %w", err)
	}
	k.Name = name
	cache.kernels[key] = k
	return k, nil
}

// Files returns the names of all kernels, sorted, without the extension.
func Files() []string {
	names, err := fs.Glob(files, "*.wgsl")
	if err != nil {
		panic(err) // only a malformed pattern fails
	}
	for i, n := range names {
		names[i] = strings.TrimSuffix(n, ".wgsl")
	}
	slices.Sort(names)
	return names
}

// parse makes a kernel of src, the text of name.wgsl. consts are a Variant's: new values of constants and libraries to
// use.
func parse(name, src string, consts map[string]any) (*Kernel, error) {
	chosen := map[string]string{}
	for use := range choices {
		if value, ok := consts[use]; ok {
			chosen[use] = fmt.Sprint(value)
		}
	}
	if _, err := tunes(split(name+".wgsl", src)); err != nil {
		return nil, err
	}
	lines, err := splice(kernelFolder(), name, src, chosen)
	if err != nil {
		return nil, err
	}
	if lines, err = lower(name, lines, consts); err != nil {
		return nil, err
	}
	return reflect(name, lines)
}

// Digest identifies the kernels: it changes when any of their files does.
var Digest = sync.OnceValue(func() string {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(kernelFolder(), path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	if err != nil {
		panic(err) // what is embedded can be read
	}
	return fmt.Sprintf("%.6x", h.Sum(nil))
})

// Package shaders holds every compute kernel as one readable WGSL file and turns a file into what a device takes:
// it splices shared functions, replaces and evaluates constants, and reflects bindings, workgroup and memory from the text.
//
// A kernel is spec-style WGSL with three additions, comments to any other reader:
//
//	//!use NAME       appends lib/NAME.wgsl, once; `//!use weight` appends lib/weight_FORMAT.wgsl
//	//!tune 16 32 64  after a const line lists the values worth trying for it
//	//!unroll         after `for (var i = 0u; i < COUNT; i++) {` writes the loop out, its body COUNT times
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
	Name      string    // the variant that Load was given
	Source    string    // WGSL that naga 0.13 takes; line numbers are those of the file, spliced lines follow
	Bindings  []Binding // of group 0; the index is the binding number
	Params    []string  // "u32", "i32" or "f32": the uniform struct's fields in order; nil without one
	Workgroup [3]uint32 // invocations in x, y, z
	Shared    int       // bytes of workgroup memory, each variable rounded up to 16 as WebGPU counts them
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
}{kernels: map[string]*Kernel{}}

// Load returns the kernel that variant names: a file and its constants, such as "matmul" or "matmul HAS_BIAS=true TILE=4".
// The blank-separated NAME=VALUE pairs replace the values of that file's const lines and keep their types;
// weight=f16 chooses the format of `//!use weight`, which is f32 otherwise.
// Results are cached and shared. Load is safe for concurrent use.
func Load(variant string) (*Kernel, error) {
	cache.Lock()
	defer cache.Unlock()
	if k := cache.kernels[variant]; k != nil {
		return k, nil
	}
	name, consts, err := splitVariant(variant)
	if err != nil {
		return nil, fmt.Errorf("shaders: variant %q: %w", variant, err)
	}
	if !slices.Contains(Files(), name) {
		return nil, fmt.Errorf("shaders: variant %q: no kernel %s.wgsl", variant, name)
	}
	src, err := files.ReadFile(name + ".wgsl")
	if err != nil {
		return nil, fmt.Errorf("shaders: %w", err)
	}
	k, err := parse(name, string(src), consts)
	if err != nil {
		return nil, fmt.Errorf("shaders: %w", err)
	}
	k.Name = variant
	cache.kernels[variant] = k
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

func splitVariant(variant string) (name string, consts map[string]string, err error) {
	words := strings.Fields(variant)
	if len(words) == 0 {
		return "", nil, fmt.Errorf("empty, want a kernel's name and NAME=VALUE pairs")
	}
	consts = map[string]string{}
	for _, w := range words[1:] {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" || v == "" {
			return "", nil, fmt.Errorf("%q is not NAME=VALUE", w)
		}
		if _, twice := consts[k]; twice {
			return "", nil, fmt.Errorf("%s is given twice", k)
		}
		consts[k] = v
	}
	return words[0], consts, nil
}

// parse makes a kernel of the text of name.wgsl and the values that replace its constants.
func parse(name, src string, consts map[string]string) (*Kernel, error) {
	lines, err := splice(files, name, src, consts["weight"])
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
		text, err := files.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	if err != nil {
		panic(err) // what is embedded can be read
	}
	return fmt.Sprintf("%.6x", h.Sum(nil))
})

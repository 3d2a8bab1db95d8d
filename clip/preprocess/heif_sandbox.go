//go:build heic

package preprocess

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"sync"
	_ "unsafe" // for go:linkname

	_ "github.com/gen2brain/avif"
	_ "github.com/gen2brain/heic"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// The decoders, libheif and libavif as WebAssembly, are those of packages heic and avif. Their
// functions are not called: they free pixels before they return them, take rows for
// shorter than they are, and read libraries of the system that may be of any version.

//go:linkname heifWASM github.com/gen2brain/heic.heifWasm
var heifWASM []byte

//go:linkname avifWASM github.com/gen2brain/avif.decodeWasm
var avifWASM []byte

var heicSandbox, avifSandbox = &sandbox{wasm: &heifWASM}, &sandbox{wasm: &avifWASM}

// The most memory of an instance, of which the addresses have 32 bits, and of all at once.
const (
	sandboxBytes = 2 << 30
	sandboxBase  = 16 << 20 // of any picture: AVIF took 11 beside what bytesPerPixel says
	sandboxPage  = 64 << 10
)

// sandbox runs a decoder that reaches nothing but its own memory.
type sandbox struct {
	wasm    *[]byte
	once    sync.Once
	runtime wazero.Runtime
	module  wazero.CompiledModule
	err     error
}

func (s *sandbox) compile() {
	ctx := context.Background()
	s.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(sandboxBytes/sandboxPage))
	if _, s.err = wasi_snapshot_preview1.Instantiate(ctx, s.runtime); s.err != nil {
		return
	}
	packed, err := gzip.NewReader(bytes.NewReader(*s.wasm))
	if err != nil {
		s.err = err
		return
	}
	code, err := io.ReadAll(packed)
	if err != nil {
		s.err = err
		return
	}
	s.module, s.err = s.runtime.CompileModule(ctx, code)
}

// run calls f with an instance that has data, and memory enough for it. Its memory is gone
// after that.
func (s *sandbox) run(data []byte, memory int, f func(c *sandboxCall) error) error {
	if s.once.Do(s.compile); s.err != nil {
		return fmt.Errorf("the decoder cannot be compiled: %w", s.err)
	}
	ctx := experimental.WithMemoryAllocator(context.Background(), experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory {
		return &linearMemory{make([]byte, 0, memory)}
	}))
	module, err := s.runtime.InstantiateModule(ctx, s.module, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return err
	}
	defer module.Close(ctx)
	c := &sandboxCall{ctx: ctx, module: module, size: len(data)}
	c.data = c.alloc(len(data))
	c.write(c.data, data)
	return f(c)
}

// linearMemory is an instance's memory, at once as large as it will be: grown step by step
// it left copies to the garbage collector, and 48 megapixels took 2.4 GB rather than 0.8.
type linearMemory struct{ bytes []byte }

// Reallocate returns the first size bytes.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > uint64(cap(m.bytes)) {
		m.bytes = append(make([]byte, 0, min(2*size, sandboxBytes)), m.bytes...)
	}
	m.bytes = m.bytes[:size]
	return m.bytes
}

// Free gives the memory up.
func (m *linearMemory) Free() { m.bytes = nil }

// sandboxCall is an instance; err is the first of its errors.
type sandboxCall struct {
	ctx    context.Context
	module api.Module
	data   uint64 // where the file is
	size   int
	err    error
}

func (c *sandboxCall) call(name string, parameters ...uint64) uint64 {
	if c.err != nil {
		return 0
	}
	results, err := c.module.ExportedFunction(name).Call(c.ctx, parameters...)
	if err != nil {
		text, _, _ := bytes.Cut([]byte(err.Error()), []byte("\n")) // behind it is the stack
		c.err = fmt.Errorf("%w: the decoder failed: %s", ErrCorrupt, text)
		return 0
	}
	return results[0]
}

// alloc takes n bytes, which are freed with the instance.
func (c *sandboxCall) alloc(n int) uint64 {
	at := uint64(0)
	if n <= sandboxBytes { // addresses are cut to 32 bits
		at = c.call("malloc", uint64(n))
	}
	if at == 0 && c.err == nil {
		c.err = fmt.Errorf("%w: decoding takes over %d MiB", ErrTooLarge, sandboxBytes>>20)
	}
	return at
}

// decode calls the decoder on the file.
func (c *sandboxCall) decode(parameters ...uint64) {
	if c.call("decode", append([]uint64{c.data, uint64(c.size)}, parameters...)...) == 0 && c.err == nil {
		c.err = fmt.Errorf("%w: it cannot be decoded", ErrCorrupt)
	}
}

func (c *sandboxCall) write(at uint64, data []byte) {
	if c.err == nil && !c.module.Memory().Write(uint32(at), data) {
		c.err = fmt.Errorf("%w: the decoder gave an address outside its memory", ErrCorrupt)
	}
}

// read is n bytes at an address, valid until the next call.
func (c *sandboxCall) read(at uint64, n int) []byte {
	if c.err != nil {
		return nil
	}
	data, ok := c.module.Memory().Read(uint32(at), uint32(n))
	if !ok {
		c.err = fmt.Errorf("%w: the decoder gave an address outside its memory", ErrCorrupt)
	}
	return data
}

func (c *sandboxCall) u32(at uint64) int {
	b := c.read(at, 4)
	if b == nil {
		return 0
	}
	return u24(b) | int(b[3])<<24
}

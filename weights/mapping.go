package weights

import (
	"os"
	"runtime/debug"
	"sync"
	"unsafe"
)

// mapping is storage over a mapped file. Views count as references, so close
// cannot pull the memory away from under one.
type mapping struct {
	name string
	raw  []byte
	free func([]byte) error

	mu      sync.Mutex
	readers int
	closed  bool
}

// openMapping maps size > 0 bytes of f, which may be closed afterwards.
func openMapping(f *os.File, size int) (*mapping, error) {
	raw, free, err := mapFile(f, size)
	if err != nil {
		return nil, osError(f.Name(), err)
	}
	return &mapping{name: f.Name(), raw: raw, free: free}, nil
}

func (m *mapping) path() string { return m.name }

// view also turns the fault that reading a mapped page gives, when the file
// was shortened or its disk failed, into an error.
func (m *mapping) view(begin, end int, fn func(raw []byte) error) (err error) {
	if !m.acquire() {
		return &FileError{Path: m.name, Reason: ErrClosed.Error(), Err: ErrClosed}
	}
	defer m.release()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		if !m.holds(fault) {
			panic(fault)
		}
		err = m.fault()
	}()
	defer m.forget(begin, end)
	return fn(m.raw[begin:end:end])
}

func (m *mapping) fault() error {
	return &FileError{Path: m.name, Reason: "cannot be read any more: it was changed while in use, or its disk failed", Err: ErrTruncated}
}

const (
	forgotten = 256 << 10 // bytes; what is smaller is read again soon
	mapped    = 64 << 10  // bytes that systems map at once
)

// forget gives back the memory of pages that were read, of a large part of the
// file: what is read from one end to the other would else be in memory as a whole.
func (m *mapping) forget(begin, end int) {
	if end-begin >= forgotten {
		dropPages(m.raw[begin&^(mapped-1) : min(len(m.raw), (end+mapped-1)&^(mapped-1))])
	}
}

// holds reports whether a recovered value is a memory fault inside the mapping.
func (m *mapping) holds(fault any) bool {
	addressed, ok := fault.(interface{ Addr() uintptr })
	if !ok {
		return false
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(m.raw)))
	return addressed.Addr()-start < uintptr(len(m.raw))
}

func (m *mapping) acquire() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.readers++
	return true
}

func (m *mapping) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readers--
	if m.closed && m.readers == 0 {
		m.free(m.raw)
	}
}

// close refuses new views at once; the memory goes with the last running one.
func (m *mapping) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	if m.readers > 0 {
		return nil
	}
	return m.free(m.raw)
}

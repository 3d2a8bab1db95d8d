package gpu

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/rajveermalviya/go-webgpu/wgpu"
)

const (
	storageUsage = wgpu.BufferUsage_Storage | wgpu.BufferUsage_CopyDst | wgpu.BufferUsage_CopySrc
	// absentBytes is what a binding without a tensor gets: WebGPU's default offset alignment.
	absentBytes = 256
	// maxAbsent is how many outputs of one kernel may be absent.
	maxAbsent = 32
	// stagingBytes is the most that is on its way back at a time.
	stagingBytes = 4 << 20
	// pendingBytes is the most of small writes that the library keeps before the GPU has taken
	// it: it copies each of them to fresh memory.
	pendingBytes = 4 << 20
)

// buffer is GPU memory.
type buffer struct {
	*wgpu.Buffer
	size  int64
	users int // sessions, of a buffer in the pool
}

// newBuffer allocates zeroed memory. The caller is inside call.
func (c *core) newBuffer(what string, size int64, usage wgpu.BufferUsage) (*buffer, error) {
	if err := c.checkSize("a buffer for "+what, size, c.info.MaxBufferBytes); err != nil {
		return nil, err
	}
	size = (size + 3) &^ 3
	if err := c.fits(size); err != nil {
		return nil, err
	}
	b, err := c.device.CreateBuffer(&wgpu.BufferDescriptor{Label: what, Size: uint64(size), Usage: usage})
	if err != nil {
		return nil, err
	}
	if err := c.faults.pop(); err != nil { // out of memory: the buffer is there, but invalid
		b.Release()
		return nil, fmt.Errorf("%w (%d bytes for %s)", err, size, what)
	}
	c.used += size
	return &buffer{Buffer: b, size: size}, nil
}

// fits checks the memory budget before something of size is allocated.
func (c *core) fits(size int64) error {
	if allowed := c.options.MaxMemory; allowed > 0 && c.used+size > allowed {
		return &MemoryError{Needed: size, Used: c.used, Allowed: allowed}
	}
	return nil
}

// freeBuffer frees b, which the GPU must have finished with. The caller is inside
// call.
func (c *core) freeBuffer(b *buffer) {
	if b != nil && c.lost == nil {
		c.used -= b.size
		b.Release()
	}
}

// pick finds buffers of the pool for sizes, each its own, and says how many bytes
// are missing: where result[i] is nil, a new buffer of sizes[i] is needed.
func pick(pool []*buffer, sizes []int64) (result []*buffer, missing int64) {
	result = make([]*buffer, len(sizes))
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	picked := map[*buffer]bool{}
	for _, i := range order { // large first: what is left over suits the small
		for _, b := range pool {
			if b.size >= sizes[i] && !picked[b] && (result[i] == nil || b.size < result[i].size) {
				result[i] = b
			}
		}
		if result[i] == nil {
			missing += sizes[i]
		}
		picked[result[i]] = true
	}
	return result, missing
}

// workSizes are the sizes of p's arena, each with a guard behind it, and of its inputs.
func workSizes(p *graph.Program, guard int64) (sizes []int64) {
	for _, n := range p.Arena {
		sizes = append(sizes, n+guard)
	}
	for _, in := range p.Inputs {
		sizes = append(sizes, in.Bytes())
	}
	return sizes
}

// ownBytes is what a session of p takes for itself: params, and what steps that run once
// make, each buffer with a guard.
func ownBytes(p *graph.Program, guard int64) int64 {
	return int64(len(p.Steps))*paramsBytes + p.KeptBytes() + int64(len(p.Kept))*guard
}

// WorkBytes is the memory that sessions of programs take beside their States where they
// are loaded in this order and stay open: what programs share of activations and inputs
// counts once.
func WorkBytes(programs ...*graph.Program) (bytes int64) {
	var pool []*buffer
	for _, p := range programs {
		sizes := workSizes(p, 0)
		picked, missing := pick(pool, sizes)
		for i, b := range picked {
			if b == nil {
				pool = append(pool, &buffer{size: sizes[i]})
			}
		}
		bytes += missing + ownBytes(p, 0)
	}
	return bytes
}

// giveBack gives pool buffers back; those that nobody uses are freed.
func (c *core) giveBack(buffers []*buffer) {
	for _, b := range buffers {
		if b.users--; b.users == 0 {
			c.pool = slices.DeleteFunc(c.pool, func(p *buffer) bool { return p == b })
			c.freeBuffer(b)
		}
	}
}

// transfer is a range of a buffer to read into dst.
type transfer struct {
	src    *buffer
	offset int64
	dst    []byte
}

// stagingSize is the bytes that one submission may read back. Staging begins every
// transfer at a multiple of 8.
func (c *core) stagingSize() int64 { return stagingBytes / int64(c.depth) &^ 7 }

// batch splits transfers where they exceed what one submission may read back. It may
// write to transfers.
func (c *core) batch(transfers []transfer) (first, rest []transfer) {
	free := c.stagingSize()
	for i, t := range transfers {
		n := int64(len(t.dst))
		if n > free {
			rest = slices.Clone(transfers[i:])
			rest[0] = transfer{t.src, t.offset + free, t.dst[free:]}
			transfers[i].dst = t.dst[:free]
			return transfers[:i+1], rest
		}
		free -= aligned(n)
	}
	return transfers, nil
}

// aligned is where the next transfer after n bytes may begin: the library
// aborts the process when a mapped range starts elsewhere.
func aligned(n int64) int64 { return (n + 7) &^ 7 }

// bytesOf is the memory of 32-bit values.
func bytesOf[T float32 | int32 | uint32](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
}

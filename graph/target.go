package graph

import (
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// Target is the device that a Program is built for, as far as its steps and the
// places of its tensors depend on it. The zero Target is any GPU: it has WebGPU's
// default limits. All Programs that share States must be built for one Target,
// that of their device, because the States lie as it says.
type Target struct {
	// Adapter is the device's type. Other kernels are fastest on others.
	Adapter Adapter
	// DX12 says that Microsoft's compilers make the kernels: they get those of
	// shaders.Variant.DX12.
	DX12 bool
	// MaxBinding is how many bytes of one tensor a kernel binds; 0 is 128 MiB,
	// WebGPU's default maxStorageBufferBindingSize. Longer tensors lie in chunks.
	MaxBinding int64
	// Arrangement is where the blocks of packed States lie.
	Arrangement packing.Arrangement
}

// Adapter is a type of device: WebGPU's adapter types, of which those that it cannot tell
// count as Discrete.
type Adapter uint8

const (
	Discrete   Adapter = iota // a GPU with memory of its own, or a device of unknown type
	Integrated                // a GPU that shares the CPU's memory
	CPU                       // a driver that computes on the CPU
)

// load reads a kernel as the device takes it.
func (t Target) load(v shaders.Variant) (*shaders.Kernel, error) {
	if t.DX12 {
		var err error
		if v, err = v.DX12(); err != nil {
			return nil, err
		}
	}
	return v.Load()
}

const defaultMaxBinding = 128 << 20

// BindingLimit is how many bytes of one tensor a kernel binds: MaxBinding, or its
// default.
func (t Target) BindingLimit() int64 {
	if t.MaxBinding > 0 {
		return t.MaxBinding
	}
	return defaultMaxBinding
}

// Packing is how s lies on the device: the zero Weight if s is nil or not packed.
func (t Target) Packing(s *State) packing.Weight {
	if s == nil || !s.Packed() {
		return packing.Weight{}
	}
	n, k := s.Matrix()
	return packing.Weight{Name: s.Name, N: n, K: k, Transposed: s.Transposed, Format: s.Format, Arrangement: t.Arrangement}
}

// Packing is, while lowering, how s lies on the device that is built for.
func (n *Node) Packing(s *State) packing.Weight { return n.g.Packing(s) }

// Buffers are the sizes in bytes of the buffers that s lies in, in order.
func (t Target) Buffers(s *State) []int64 {
	if s.Packed() {
		return []int64{s.Bytes()}
	}
	var sizes []int64
	for _, c := range s.chunks(t.BindingLimit()) {
		sizes = append(sizes, 4*int64(c.Elems))
	}
	return sizes
}

// Choose picks one of several ways to compute the same, for a class of problems:
// what Graph.Variants says, or else the first. It returns the index. The first number in
// the class's name that stands after a space is the size: how much a problem has of what
// grows with the batch, to the next power of two. Classes that differ in it alone are
// neighbours.
func (n *Node) Choose(class string, ways ...string) int {
	n.class = class
	if n.g == nil || n.g.Variants == nil {
		return 0
	}
	return max(0, slices.Index(ways, n.g.Variants(class, ways)))
}

// Adapter is the type of the device that is built for, or Discrete where CLIPWGPU asks for
// a GPU's kernels.
func (n *Node) Adapter() Adapter {
	if n.g == nil || n.g.debug.GPU {
		return Discrete
	}
	return n.g.Target.Adapter
}

// Arrangement is where the blocks of all packed States lie, while lowering.
func (n *Node) Arrangement() packing.Arrangement { return n.g.Target.Arrangement }

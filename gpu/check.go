package gpu

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// stepName says which step of p an error is about.
func stepName(p *graph.Program, i int) string {
	st := p.Steps[i]
	name := "?"
	if st.Kernel != nil {
		name = st.Kernel.Name
	}
	return fmt.Sprintf("step %d, %s of %s.%s", i, name, st.Scope, st.Op)
}

// checkProgram refuses what the library would abort on, or accept and compute
// wrongly: buffers too small for what is bound, writable bindings that overlap.
func (c *core) checkProgram(p *graph.Program) error {
	if p == nil {
		return fmt.Errorf("nil program")
	}
	if p.Once < 0 || p.Once > len(p.Steps) {
		return fmt.Errorf("%d of %d steps run once", p.Once, len(p.Steps))
	}
	for what, sizes := range map[string][]int64{"activation": p.Arena, "kept": p.Kept} {
		for i, n := range sizes {
			if err := c.checkSize(fmt.Sprintf("%s buffer %d", what, i), n, c.info.MaxBufferBytes-c.guard()); err != nil {
				return err
			}
		}
	}
	for _, in := range p.Inputs {
		if err := c.checkSize("input "+in.Name, in.Bytes(), c.info.MaxBindingBytes); err != nil {
			return err
		}
	}
	for _, st := range p.States {
		if st.Packed() && p.Target.Arrangement != c.target.Arrangement {
			return fmt.Errorf("the program wants state %s in %v, it lies in %v", st.Name, p.Target.Arrangement, c.target.Arrangement)
		}
		for _, n := range c.target.Buffers(st) {
			if err := c.checkSize("state "+st.Name, n, c.info.MaxBufferBytes-c.guard()); err != nil {
				return err
			}
		}
	}
	for i := range p.Steps {
		err := c.checkStep(p, &p.Steps[i])
		if err == nil {
			err = checkOnce(p, i)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", stepName(p, i), err)
		}
	}
	for i, out := range p.Outputs {
		var bytes int64
		for _, slot := range out.Slots {
			if slot.Space == graph.SpaceNone {
				return fmt.Errorf("output %d %v is absent", i, out.Spec)
			}
			if err := c.checkSlot(p, slot, shaders.Read); err != nil {
				return fmt.Errorf("output %d %v: %w", i, out.Spec, err)
			}
			bytes += slot.Bytes
		}
		if bytes != out.Bytes() {
			return fmt.Errorf("output %d %v lies in %d bytes", i, out.Spec, bytes)
		}
	}
	return nil
}

func (c *core) checkSize(what string, n, limit int64) error {
	if n <= 0 || n > limit {
		return &LimitError{"bytes of " + what, n, limit}
	}
	return nil
}

func (c *core) checkStep(p *graph.Program, st *graph.Step) error {
	k := st.Kernel
	if k == nil {
		return fmt.Errorf("no kernel")
	}
	first := 0
	if len(k.Bindings) > 0 && k.Bindings[0].Access == shaders.Uniform {
		first = 1
	}
	if len(st.Params) != len(k.Params) || 4*len(st.Params) > paramsBytes || (first == 1) != (len(k.Params) > 0) {
		return fmt.Errorf("%d params, the kernel takes %d, at most %d", len(st.Params), len(k.Params), paramsBytes/4)
	}
	if len(st.Slots) != len(k.Bindings)-first {
		return fmt.Errorf("%d tensors, the kernel binds %d", len(st.Slots), len(k.Bindings)-first)
	}
	for _, n := range st.Groups {
		if n == 0 || int64(n) > int64(c.info.MaxWorkgroups) {
			return &LimitError{"workgroups in one dimension", int64(n), int64(c.info.MaxWorkgroups)}
		}
	}
	absent := 0
	for i, slot := range st.Slots {
		b := k.Bindings[first+i]
		if slot.Space == graph.SpaceNone && b.Access == shaders.ReadWrite {
			if absent++; absent > maxAbsent {
				return &LimitError{"absent outputs", int64(absent), maxAbsent}
			}
		}
		if err := c.checkSlot(p, slot, b.Access); err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
		for j, other := range st.Slots[:i] {
			if clash(slot, other, b.Access, k.Bindings[first+j].Access) {
				return fmt.Errorf("%s is %v and %s is %v, and one is written", k.Bindings[first+j].Name, other, b.Name, slot)
			}
		}
	}
	return nil
}

// checkOnce refuses a step that runs once but depends on more than States, or writes them,
// and one that runs more often but writes what the others keep.
func checkOnce(p *graph.Program, i int) error {
	st, once := &p.Steps[i], i < p.Once
	first := len(st.Kernel.Bindings) - len(st.Slots)
	for j, slot := range st.Slots {
		b, wrong := st.Kernel.Bindings[first+j], false
		write := b.Access == shaders.ReadWrite
		switch slot.Space {
		case graph.SpaceInput, graph.SpaceArena:
			wrong = once
		case graph.SpaceState:
			wrong = once && write
		case graph.SpaceKept:
			wrong = !once && write
		}
		if wrong {
			return fmt.Errorf("%s is %v, and %d steps run once", b.Name, slot, p.Once)
		}
	}
	return nil
}

// clash reports whether two bindings of a dispatch may not be together: one
// buffer read and written, or ranges that overlap and are written.
func clash(x, y graph.Slot, ax, ay shaders.Access) bool {
	if x.Space == graph.SpaceNone || x.Space != y.Space || x.Index != y.Index || ax == shaders.Read && ay == shaders.Read {
		return false
	}
	return ax != ay || x.Offset < y.Offset+y.Bytes && y.Offset < x.Offset+x.Bytes
}

func (c *core) checkSlot(p *graph.Program, slot graph.Slot, access shaders.Access) error {
	if slot.Space == graph.SpaceNone {
		return nil
	}
	end, err := c.capacity(p, slot)
	switch {
	case err != nil:
		return err
	case slot.Bytes <= 0 || slot.Bytes > c.info.MaxBindingBytes:
		return &LimitError{"bytes of a binding", slot.Bytes, c.info.MaxBindingBytes}
	case slot.Offset < 0 || slot.Offset%paramsBytes != 0:
		return fmt.Errorf("%v does not begin at a multiple of %d", slot, paramsBytes)
	case slot.Bytes > end-slot.Offset || slot.Bytes%4 != 0:
		return fmt.Errorf("%d bytes of %v, which has %d", slot.Bytes, slot, end-slot.Offset)
	case slot.Space == graph.SpaceInput && access == shaders.ReadWrite:
		return fmt.Errorf("writes input %v", slot)
	}
	return nil
}

// capacity returns the number of bytes at slot: in the arena, input or state that it
// lies in, up to the end of the buffer that holds its first byte.
func (c *core) capacity(p *graph.Program, slot graph.Slot) (int64, error) {
	sizes := map[graph.Space]int{
		graph.SpaceArena: len(p.Arena),
		graph.SpaceInput: len(p.Inputs),
		graph.SpaceState: len(p.States),
		graph.SpaceKept:  len(p.Kept),
	}
	if slot.Index < 0 || slot.Index >= sizes[slot.Space] {
		return 0, fmt.Errorf("the program has no %v", slot)
	}
	switch slot.Space {
	case graph.SpaceInput:
		return p.Inputs[slot.Index].Bytes(), nil
	case graph.SpaceState:
		var end int64
		for _, n := range c.target.Buffers(p.States[slot.Index]) {
			if end += n; slot.Offset < end {
				break
			}
		}
		return end, nil
	case graph.SpaceKept:
		return p.Kept[slot.Index], nil
	}
	return p.Arena[slot.Index], nil
}

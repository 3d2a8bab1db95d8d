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
	for i, n := range p.Arena {
		if err := c.checkSize(fmt.Sprintf("activation buffer %d", i), n, c.info.MaxBufferBytes-c.guard()); err != nil {
			return err
		}
	}
	for _, in := range p.Inputs {
		if err := c.checkSize("input "+in.Name, in.Bytes(), c.info.MaxBindingBytes); err != nil {
			return err
		}
	}
	for _, st := range p.States {
		if err := c.checkSize("state "+st.Name, st.Bytes(), c.info.MaxBindingBytes); err != nil {
			return err
		}
	}
	for i := range p.Steps {
		if err := c.checkStep(p, &p.Steps[i]); err != nil {
			return fmt.Errorf("%s: %w", stepName(p, i), err)
		}
	}
	for i, out := range p.Outputs {
		size, err := capacity(p, out.Slot)
		if err != nil || out.Slot.Bytes != out.Bytes() || size < out.Bytes() {
			return fmt.Errorf("output %d %v lies in %v of %d bytes", i, out.Spec, out.Slot, out.Slot.Bytes)
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
	for i, slot := range st.Slots {
		b := k.Bindings[first+i]
		if err := c.checkSlot(p, slot, b); err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
		for j, other := range st.Slots[:i] {
			shared := slot.Space != graph.SpaceNone && slot.Space == other.Space && slot.Index == other.Index
			if shared && (b.Access == shaders.ReadWrite || k.Bindings[first+j].Access == shaders.ReadWrite) {
				return fmt.Errorf("%s and %s are both %v, and one is written", k.Bindings[first+j].Name, b.Name, slot)
			}
		}
	}
	return nil
}

func (c *core) checkSlot(p *graph.Program, slot graph.Slot, b shaders.Binding) error {
	if slot.Space == graph.SpaceNone {
		return nil
	}
	size, err := capacity(p, slot)
	switch {
	case err != nil:
		return err
	case slot.Bytes <= 0 || slot.Bytes > c.info.MaxBindingBytes:
		return &LimitError{"bytes of a binding", slot.Bytes, c.info.MaxBindingBytes}
	case slot.Bytes > size || slot.Bytes%4 != 0:
		return fmt.Errorf("%d bytes of %v, which has %d", slot.Bytes, slot, size)
	case slot.Space == graph.SpaceInput && b.Access == shaders.ReadWrite:
		return fmt.Errorf("writes input %v", slot)
	}
	return nil
}

// capacity is how many bytes there are where slot lies.
func capacity(p *graph.Program, slot graph.Slot) (int64, error) {
	sizes := map[graph.Space]int{
		graph.SpaceArena: len(p.Arena),
		graph.SpaceInput: len(p.Inputs),
		graph.SpaceState: len(p.States),
	}
	if slot.Index < 0 || slot.Index >= sizes[slot.Space] {
		return 0, fmt.Errorf("the program has no %v", slot)
	}
	switch slot.Space {
	case graph.SpaceInput:
		return p.Inputs[slot.Index].Bytes(), nil
	case graph.SpaceState:
		return p.States[slot.Index].Bytes(), nil
	}
	return p.Arena[slot.Index], nil
}

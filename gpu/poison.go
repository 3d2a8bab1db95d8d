package gpu

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// What Options.Check adds to a run: activations start as NaN, so that reading
// one that nobody wrote shows, and behind every tensor that a step writes lie
// guardBytes of the same NaN, which must still be there after the step.

const (
	guardBytes = 256
	poisonWord = 0x7fc0dead
)

// guard returns how many bytes of NaN follow the tensors of every buffer that kernels
// write: none unless Options.Check is set.
func (c *core) guard() int64 {
	if c.options.Check {
		return guardBytes
	}
	return 0
}

func poison(bytes int64) []byte {
	b := make([]byte, bytes)
	for i := int64(0); i < bytes; i += 4 {
		binary.LittleEndian.PutUint32(b[i:], poisonWord)
	}
	return b
}

// poison fills buffers for activations of these sizes, and the buffer that stands for
// absent outputs.
func (s *Session) poison(ctx context.Context, u *uploader, buffers []*buffer, sizes []int64) error {
	for i, size := range sizes {
		if err := u.write(ctx, buffers[i], 0, poison((size+guardBytes)&^3)); err != nil {
			return err
		}
	}
	return u.write(ctx, s.core.unwritten, 0, poison(s.core.unwritten.size))
}

// guards returns the ranges that step i must not write: those behind the tensors that
// it writes, and the buffer that stands for absent outputs.
func (s *Session) guards(i int) []transfer {
	guards := []transfer{{s.core.unwritten, 0, make([]byte, s.core.unwritten.size)}}
	st := s.program.Steps[i]
	first := len(st.Kernel.Bindings) - len(st.Slots)
	for j, slot := range st.Slots {
		if st.Kernel.Bindings[first+j].Access == shaders.ReadWrite && s.guarded(slot) > 0 {
			b, offset := s.locate(slot)
			guards = append(guards, transfer{b, offset + slot.Bytes, make([]byte, guardBytes)})
		}
	}
	return guards
}

// guarded is how many bytes behind slot nothing else uses. They are bound with
// it: a store beyond a binding is dropped, and would not show.
func (s *Session) guarded(slot graph.Slot) int64 {
	free := false
	switch slot.Space {
	case graph.SpaceState:
		m, offset := s.states[slot.Index].at(slot.Offset)
		free = offset+slot.Bytes+s.core.guard() == m.size
	case graph.SpaceArena:
		free = s.program.Guard >= guardBytes || slot.Offset+slot.Bytes == s.program.Arena[slot.Index]
	case graph.SpaceKept:
		free = s.program.Guard >= guardBytes || slot.Offset+slot.Bytes == s.program.Kept[slot.Index]
	}
	if !free {
		return 0
	}
	return s.core.guard()
}

// checked is submit for steps lo to hi, with their guards set before and looked at after.
func (s *Session) checked(ctx context.Context, j *job, lo, hi int, reads []transfer) error {
	var guards []transfer
	for i := lo; i < hi; i++ {
		guards = append(guards, s.guards(i)...)
	}
	u := newUploader(s.core)
	for _, g := range guards {
		if err := u.write(ctx, g.src, g.offset, poison(int64(len(g.dst)))); err != nil {
			return err
		}
	}
	if err := s.submit(ctx, j, lo, hi, reads); err != nil {
		return err
	}
	if err := s.core.readback(ctx, guards); err != nil {
		return err
	}
	for _, g := range guards {
		for at := 0; at < len(g.dst); at += 4 {
			if word := binary.LittleEndian.Uint32(g.dst[at:]); word != poisonWord {
				return fmt.Errorf("wrote %#08x %d bytes behind a tensor", word, at)
			}
		}
	}
	return nil
}

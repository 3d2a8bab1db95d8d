package gpu

import (
	"context"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// extents are where a State lies: in one buffer, or in several where it is longer
// than what one kernel binds.
type extents []extent

// extent is one buffer's part of a State; behind it lies the guard, if any.
type extent struct {
	*buffer
	offset, bytes int64
	slab          bool // the buffer is a slab's
}

// newState allocates zeros for st. The caller is inside call.
func (c *core) newState(st *graph.State) (extents, error) {
	var m extents
	for _, n := range c.target.Buffers(st) {
		b, err := c.newBuffer("state "+st.Name, n+c.guard(), storageUsage)
		if err != nil {
			c.freeState(m)
			return nil, err
		}
		m = append(m, extent{buffer: b, bytes: n})
	}
	return m, nil
}

// freeState wants the GPU to be done with m, and leaves slabs alone. The caller is
// inside call.
func (c *core) freeState(m extents) {
	for _, e := range m {
		if !e.slab {
			c.freeBuffer(e.buffer)
		}
	}
}

// stateBytes is what newState allocates.
func (c *core) stateBytes(st *graph.State) (sum int64) {
	for _, n := range c.target.Buffers(st) {
		sum += n + c.guard()
	}
	return sum
}

// at finds the extent that holds byte offset, and where in its buffer that is.
func (m extents) at(offset int64) (extent, int64) {
	last := m[len(m)-1]
	for _, e := range m[:len(m)-1] {
		if offset < e.bytes {
			return e, e.offset + offset
		}
		offset -= e.bytes
	}
	return last, last.offset + offset
}

// transfers are the parts of data, which begins at a byte offset of the State, with
// the buffers that hold them.
func (m extents) transfers(offset int64, data []byte) []transfer {
	var parts []transfer
	for len(data) > 0 {
		e, at := m.at(offset)
		n := min(e.offset+e.bytes-at, int64(len(data)))
		parts = append(parts, transfer{e.buffer, at, data[:n]})
		offset, data = offset+n, data[n:]
	}
	return parts
}

// fill writes data from a byte offset of a State on, into the buffers that hold it.
func (u *uploader) fill(ctx context.Context, m extents, offset int64, data []byte) error {
	for _, part := range m.transfers(offset, data) {
		if err := u.write(ctx, part.src, part.offset, part.dst); err != nil {
			return err
		}
	}
	return nil
}

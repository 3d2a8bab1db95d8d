package gpu

import (
	"errors"
	"slices"
	"testing"

	"github.com/rajveermalviya/go-webgpu/wgpu"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
)

func TestExtents(t *testing.T) {
	a, b := &buffer{size: 300}, &buffer{size: 50}
	m := extents{{buffer: a, bytes: 256}, {buffer: b, bytes: 44}}
	data := make([]byte, 100)
	for _, c := range []struct {
		offset int64
		want   []transfer
	}{
		{0, []transfer{{a, 0, data}}},
		{156, []transfer{{a, 156, data}}},
		{200, []transfer{{a, 200, data[:56]}, {b, 0, data[56:]}}},
	} {
		assert.Equal(t, c.want, m.transfers(c.offset, data), "at %d", c.offset)
	}
	e, offset := m.at(256)
	assert.Same(t, b, e.buffer)
	assert.Zero(t, offset)
}

// A state longer than a binding, of several buffers, is one to its users.
func TestLongState(t *testing.T) {
	d := open(t, Options{Check: true, MaxMemory: 600 << 20})
	w := d.NewStore()
	defer w.Close()
	st := &graph.State{Name: "table", Spec: graph.Spec{Shape: graph.Shape{49408, 768}}}
	require.Len(t, d.Target().Buffers(st), 2)
	values := count(st.Shape.Elems())
	require.NoError(t, w.Write(t.Context(), st, values))
	g := graph.New()
	s := load(t, d, build(t, g, g.Add(g.State(st), g.Fill(1, st.Shape...))), w)
	got := make([]float32, len(values))
	require.NoError(t, s.Run(t.Context(), IO{Outputs: [][]float32{got}}))
	for i, v := range got {
		if v != values[i]+1 {
			require.Failf(t, "wrong sum", "element %d: %v + 1 = %v", i, values[i], v)
		}
	}
	require.NoError(t, w.Read(t.Context(), st, got))
	for i, v := range got {
		if v != values[i] {
			require.Failf(t, "wrong value", "element %d: %v, not %v", i, v, values[i])
		}
	}
}

// Bytes of a state are written a part at a time, and the rest of a new one are zeros.
func TestWriteBytes(t *testing.T) {
	w := open(t, Options{Check: true}).NewStore()
	defer w.Close()
	st := &graph.State{Name: "rows", Spec: graph.Spec{Shape: graph.Shape{3, 2}}}
	write := func(st *graph.State, offset int64, values ...float32) error {
		return w.WriteBytes(t.Context(), st, offset, bytesOf(values))
	}
	require.NoError(t, write(st, 8, 3, 4))
	require.NoError(t, write(st, 0, 1))
	require.NoError(t, write(st, 20, 6))
	require.NoError(t, write(st, 24))
	got := make([]float32, 6)
	require.NoError(t, w.Read(t.Context(), st, got))
	assert.Equal(t, []float32{1, 0, 3, 4, 0, 6}, got)

	for _, offset := range []int64{-4, 2, 24, 1 << 62} {
		assert.ErrorContains(t, write(st, offset, 1), "rows")
	}
	assert.ErrorContains(t, w.WriteBytes(t.Context(), st, 0, make([]byte, 3)), "got 3")
	packed := &graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{4, 4}}, Format: packing.F16}
	assert.ErrorContains(t, write(packed, 0, 1), "packed")
	assert.Error(t, write(nil, 0, 1))
	assert.ErrorIs(t, (*Store)(nil).WriteBytes(t.Context(), st, 0, nil), ErrClosed)
}

// Large writes and small ones, which go different ways, come in the order in which they were
// made, and take at most maxUploads buffers.
func TestWritesKeepTheirOrder(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	const n = 3*uploadBytes/4 + 77
	st := &graph.State{Name: "rows", Spec: graph.Spec{Shape: graph.Shape{n}}}
	want, got := make([]float32, n), make([]float32, n)
	write := func(first, n int, value float32) {
		t.Helper()
		values := slices.Repeat([]float32{value}, n)
		copy(want[first:], values)
		require.NoError(t, w.WriteBytes(t.Context(), st, 4*int64(first), bytesOf(values)))
	}
	for round := range 3 {
		value := float32(10 * round)
		write(0, n, value+1)
		write(5, 1, value+2)
		write(7, leastUpload/4, value+3)
		write(9, 2, value+4)
		write(n-3, 3, value+5)
	}
	require.NoError(t, w.Read(t.Context(), st, got))
	assert.True(t, slices.Equal(want, got))
	assert.LessOrEqual(t, d.core.uploadBuffers, maxUploads)
	assert.Zero(t, w.late.job.took)
}

// WriteBytes does not wait: what becomes of its data, the next one says, or a Load.
func TestLateErrorOfWriteBytes(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	st := &graph.State{Name: "rows", Spec: graph.Spec{Shape: graph.Shape{uploadBytes / 4}}}
	require.NoError(t, w.WriteBytes(t.Context(), st, 0, make([]byte, uploadBytes)))
	cause := errors.New("the GPU burns")
	d.core.calls.Lock()
	w.late.job.err = cause
	d.core.calls.Unlock()
	require.ErrorIs(t, w.WriteBytes(t.Context(), st, 0, make([]byte, uploadBytes)), cause)
	require.ErrorIs(t, w.WriteBytes(t.Context(), st, 0, make([]byte, 4)), cause)
	_, err := d.Load(plus(t, 4, 1), w)
	require.ErrorIs(t, err, cause)
}

// A buffer that cannot be mapped again is freed when the GPU is done with it, and uploads go on.
func TestUploadBufferThatCannotBeMapped(t *testing.T) {
	d := open(t, Options{})
	j := new(job)
	require.NoError(t, d.core.alone(t.Context(), func() error {
		b, err := d.core.device.CreateBuffer(&wgpu.BufferDescriptor{Size: uploadBytes, Usage: wgpu.BufferUsage_CopySrc, MappedAtCreation: true})
		require.NoError(t, err)
		d.core.uploadBuffers++
		return d.core.send(t.Context(), submission{job: j, upload: upload{b, d.core.unwritten, 0, 4}})
	}))
	require.ErrorContains(t, d.core.wait(t.Context(), j), "MAP_WRITE")
	assert.Empty(t, d.core.uploads)
	assert.Zero(t, d.core.uploadBuffers)

	w := d.NewStore()
	defer w.Close()
	st := &graph.State{Name: "rows", Spec: graph.Spec{Shape: graph.Shape{uploadBytes / 4}}}
	want, got := slices.Repeat([]float32{3}, uploadBytes/4), make([]float32, uploadBytes/4)
	require.NoError(t, w.Write(t.Context(), st, want))
	require.NoError(t, w.Read(t.Context(), st, got))
	assert.Equal(t, want, got)
}

// A write that is refused for its last value leaves the State as it was.
func TestWriteBeyondTheLayoutChangesNothing(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	s := &graph.State{Name: "w", Spec: graph.Spec{Shape: graph.Shape{300, 5}}, Format: packing.F16}
	values, got := make([]float32, 1500), make([]float32, 1500)
	values[1499] = 70000
	require.ErrorContains(t, w.Write(t.Context(), s, values), "cannot hold")
	require.ErrorIs(t, w.Read(t.Context(), s, got), errNotStored)

	old := slices.Repeat([]float32{1}, 1500)
	require.NoError(t, w.Write(t.Context(), s, old))
	require.ErrorContains(t, w.Write(t.Context(), s, values), "cannot hold")
	require.NoError(t, w.Read(t.Context(), s, got))
	assert.Equal(t, old, got)
}

package gpu

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Kernels compile while parameters are read, and only those of the program.
func TestLoadCompilesWhileItReads(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	slow := param("slow", make(heldSource), 64)
	g := graph.New()
	p := build(t, g, g.Add(g.Param(slow), g.Param(slow)))
	kernels := map[string]bool{}
	for _, st := range p.Steps {
		kernels[st.Kernel.WGSL] = true
	}
	compiled := func() (n int) {
		d.core.calls.Lock()
		defer d.core.calls.Unlock()
		return len(d.core.pipelines)
	}
	var loads sync.WaitGroup
	loads.Go(func() { load(t, d, p, w) })
	assert.Eventually(t, func() bool { return compiled() > 0 }, 30*time.Second, time.Millisecond)
	close(slow.Source.(heldSource))
	loads.Wait()
	assert.Equal(t, len(kernels), compiled())
}

// A source that fails and a kernel that does not compile give one error, the source's.
func TestLoadFailsTwice(t *testing.T) {
	d := open(t, Options{})
	w := d.NewStore()
	defer w.Close()
	before := d.core.used
	g := graph.New()
	p := build(t, g, g.Add(g.Param(param("bad", nil, 64)), g.Fill(1, 64)))
	p.Steps = append(p.Steps, handmade(kernel("broken", "fn main( {"), 64, 1).Steps...)
	for range 20 {
		_, err := d.Load(p, w)
		require.EqualError(t, err, "parameter bad: it has no source and was not written")
	}
	assert.Equal(t, before, d.core.used)
}

// TestFirstRunIsShort: one step has run when the steps like it come.
func TestFirstRunIsShort(t *testing.T) {
	d := open(t, Options{})
	p := repeated(handmade(slow, 64, 1, 1000), 100)
	other := p.Steps[0]
	other.Params = []uint32{1001}
	p.Steps = append(p.Steps, other)
	s := load(t, d, p, nil)
	require.Equal(t, 1, s.submissionEnd(0))
	s.learn(s.steps[:1], time.Millisecond)
	assert.Equal(t, 100, s.submissionEnd(0), "all but the other one")
	s.learn(s.steps[100:], 300*time.Millisecond)
	assert.Equal(t, 100, s.submissionEnd(0), "all but the slow one")
	require.NoError(t, s.Run(t.Context(), IO{}))
}

package train

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

func b32() clip.Config {
	c := clip.Config{EmbedDim: 512, VisionCfg: clip.DefaultVisionConfig(), TextCfg: clip.DefaultTextConfig()}
	c.VisionCfg.PatchSize = clip.Size{32, 32}
	return c
}

func TestCountB32(t *testing.T) {
	m, err := clip.New(b32(), 1, clip.WithGPU(gpu.Options{DefaultLimits: true}))
	require.NoError(t, err)
	defer m.Close()
	tr, err := New(m, DefaultConfig())
	require.NoError(t, err)
	p, err := tr.program(8, 77)
	require.NoError(t, err)
	os.WriteFile("/tmp/optim/new.txt", []byte(p.String()), 0o644)
	count := map[string]int{}
	for _, s := range p.Steps {
		count[s.Op]++
	}
	var states int64
	for _, s := range p.States {
		if s.Parts != nil {
			states += s.Bytes()
		}
	}
	fmt.Println(len(p.Steps), count, "arena", p.ArenaBytes(), p.ArenaBound, p.Arena, "states", states)
}

package clip

import (
	"strings"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/hub"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLoadFromTheHub(t *testing.T) {
	s := hubtest.New(t, map[string]map[string][]byte{"org/emoji": cliptest.Files(t, "emoji-clip")})
	s.Environment(t)
	want, err := Load(t.Context(), checkpoint.Embedded, WithDevice(device(t)))
	require.NoError(t, err)
	defer want.Close()
	texts := []string{"a red apple", "guitar"}
	features, err := want.EncodeTexts(t.Context(), texts)
	require.NoError(t, err)
	downloaded := map[string]int64{}
	progress := With(checkpoint.Options{Progress: func(file string, done, total int64) { downloaded[file] = done }})
	for _, source := range []string{"hf-hub:org/emoji", "hf-hub:org/emoji@main", "local-dir:emoji-clip"} {
		m, err := Load(t.Context(), source, WithDevice(device(t)), progress)
		require.NoError(t, err, source)
		if strings.HasPrefix(source, hub.Prefix) {
			assert.Equal(t, source, m.Name())
		}
		assert.Empty(t, m.Warnings())
		assert.Equal(t, want.Preprocess().Config(), m.Preprocess().Config())
		got, err := m.EncodeTexts(t.Context(), texts)
		require.NoError(t, err)
		assert.Equal(t, features, got, source)
		require.NoError(t, m.Close())
	}
	assert.Equal(t, int64(len(s.Repos["org/emoji"]["open_clip_model.safetensors"])), downloaded["open_clip_model.safetensors"])
}

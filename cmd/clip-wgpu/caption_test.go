package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// captionModel saves a small CoCa with CLIP's vocabulary and random weights.
func captionModel(t *testing.T) string {
	t.Helper()
	c, _, err := models.Parse([]byte(`{"embed_dim": 16, "custom_text": true,
		"multimodal_cfg": {"context_length": 20, "width": 16, "heads": 2, "layers": 1},
		"vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "output_tokens": true},
		"text_cfg": {"context_length": 20, "width": 16, "heads": 2, "layers": 1, "embed_cls": true, "output_tokens": true}}`))
	require.NoError(t, err)
	p, err := checkpoint.New(c, 1, checkpoint.Options{})
	require.NoError(t, err)
	defer p.Close()
	folder := filepath.Join(t.TempDir(), "coca")
	_, err = p.Save(t.Context(), folder, checkpoint.SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	return folder
}

func TestCaption(t *testing.T) {
	model := captionModel(t)
	broken := filepath.Join(t.TempDir(), "a-picture-that-is-broken.png")
	require.NoError(t, os.WriteFile(broken, []byte("nothing"), 0o666))
	args := []string{"caption", example("pizza"), broken, example("rose"), "--model", model, "--skip-errors", "--seq-len", "12", "--prompt", "a photo of", "--num-return-sequences", "2"}
	o := program(t, append(args, "--json")...)
	require.Equal(t, exitSkipped, o.code, o.stderr)
	type line struct {
		Image, Model string
		Captions     []string
	}
	lines := decodeLines[line](t, o.stdout)
	require.Len(t, lines, 2)
	assert.Equal(t, example("rose"), lines[1].Image)
	for _, l := range lines {
		require.Len(t, l.Captions, 2)
		for _, text := range l.Captions {
			assert.True(t, strings.HasPrefix(text, "a photo of "), text)
		}
	}
	o = program(t, append(args, "--format", "csv")...)
	rows := strings.Split(o.stdout, "\n")
	assert.Equal(t, "image,caption", rows[0])
	assert.Len(t, rows, 1+2*2+1)
	o = program(t, append(args, "--generation-type", "top_k", "--top-k", "50", "--seed", "7")...)
	again := program(t, append(args, "--generation-type", "top_k", "--top-k", "50", "--seed", "7", "--batch", "1")...)
	assert.Equal(t, o.stdout, again.stdout, "draws are the seed's, whatever the batch")
	assert.Contains(t, o.stdout, fmt.Sprintf("%-*s  a photo of ", len(broken), example("pizza")), "as wide as the longest name")
}

func TestCaptionRefusals(t *testing.T) {
	o := program(t, "caption", example("pizza"))
	assert.Equal(t, exitFailure, o.code)
	assert.Contains(t, o.stderr, "model emoji-clip has no decoder to write captions with")
	o = program(t, "caption", example("pizza"), "--model", captionModel(t), "--seq-len", "12", "--prompt", strings.Repeat("cat ", 12))
	assert.Equal(t, exitFailure, o.code)
	assert.Contains(t, o.stderr, "the prompt has 13 tokens with the start of text, and captions of seq_len 12 have room for 11 of them")
	for says, args := range map[string][]string{
		"no images given":      {"caption"},
		"num_beams is 0":       {"caption", "x.png", "--num-beams", "0"},
		`generation_type is "`: {"caption", "x.png", "--generation-type", "dance"},
		"min_seq_len is 40":    {"caption", "x.png", "--min-seq-len", "40"},
		"--format":             {"caption", "x.png", "--format", "npy"},
	} {
		o := program(t, args...)
		assert.Equal(t, exitUsage, o.code, says)
		assert.Contains(t, o.stderr, says)
	}
}

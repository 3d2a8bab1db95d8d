package tokenizer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/recorded"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/sentencepiece"
)

// TestLongTextsTakeBoundedTimeHuggingFace: see TestLongTextsTakeBoundedTime.
func TestLongTextsTakeBoundedTimeHuggingFace(t *testing.T) {
	const n = 100_000
	for _, name := range recorded.Cases {
		files := map[string][]byte{
			"tokenizer.json":          recorded.Load(t, name).Tokenizer,
			"special_tokens_map.json": []byte(`{"pad_token": "` + map[bool]string{true: "[UNK]", false: "<unk>"}[strings.Contains(name, "bert")] + `"}`),
		}
		if name == "roberta" || name == "clip" || name == "modernbert" {
			files["special_tokens_map.json"] = []byte(`{"pad_token": "!"}`)
		}
		tok, err := tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{})
		require.NoError(t, err, name)
		for kind, text := range map[string]string{
			"letter": strings.Repeat("a", n), "words": strings.Repeat("the ", n/4), "marks": "a" + strings.Repeat("\u0301\u0323", n/2),
			"unknown": strings.Repeat("\u16a0", n/3), "digits": strings.Repeat("0", n), "joined": strings.Repeat("\u200d", n/3),
			"specials": strings.Repeat("<mask></s>", n/10), "lines": strings.Repeat("x\n", n/2),
		} {
			start := time.Now()
			assert.Len(t, tokenize(t, tok, 64, text)[0], 64)
			assert.Less(t, time.Since(start), 20*time.Second, "%s %s", name, kind)
		}
	}
}

func encodeModel(t *testing.T, data []byte, text string) []int32 {
	t.Helper()
	m, err := sentencepiece.Parse(data)
	require.NoError(t, err)
	return m.Encode(text)
}

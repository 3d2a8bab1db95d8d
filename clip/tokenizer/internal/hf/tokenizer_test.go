package hf

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/recorded"
)

func TestEncodeEqualsTokenizers(t *testing.T) {
	texts := recorded.Texts(t)
	for _, name := range recorded.Cases {
		t.Run(name, func(t *testing.T) {
			c := recorded.Load(t, name)
			tok, err := Parse(c.Tokenizer)
			require.NoError(t, err)
			require.Len(t, c.IDs, len(texts))
			for i, text := range texts {
				got := slices.Concat(tok.Prefix(), tok.Encode(text), tok.Suffix())
				assert.Equal(t, c.IDs[i], append([]int32{}, got...), "%+q", text)
				assert.Equal(t, c.Decoded[i], tok.Decode(c.IDs[i]), "%v", c.IDs[i])
			}
		})
	}
}

func TestPartsEqualTokenizers(t *testing.T) {
	var parts []struct {
		Kind, Name string
		Config     json.RawMessage
		Out        []json.RawMessage
	}
	require.NoError(t, json.Unmarshal(recorded.Read(t, "components.json"), &parts))
	texts := recorded.Texts(t)
	require.Len(t, parts, 37)
	for _, p := range parts {
		t.Run(p.Kind+" "+p.Name, func(t *testing.T) {
			config := recorded.WithCharsMap(t, p.Config)
			for i, text := range texts {
				if p.Kind == "normalizer" {
					var want string
					require.NoError(t, json.Unmarshal(p.Out[i], &want))
					n, err := parseNormalizer(config)
					require.NoError(t, err)
					assert.Equal(t, want, n(text), "%+q", text)
					continue
				}
				var want []string
				require.NoError(t, json.Unmarshal(p.Out[i], &want))
				split, err := parsePreTokenizer(config)
				require.NoError(t, err)
				got := []string{}
				if text != "" {
					for _, p := range split([]piece{{text, 1}}) {
						got = append(got, p.text)
					}
				}
				assert.Equal(t, want, got, "%+q", text)
			}
		})
	}
}

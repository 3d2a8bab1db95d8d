package towers

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
)

// modernTiny is a model with a modern text tower, with members of text_cfg replaced.
func modernTiny(t *testing.T, text string) config.Config {
	t.Helper()
	cfg := map[string]any{"text_arch": "modern", "context_length": 6, "vocab_size": 20, "width": 12, "heads": 3, "layers": 2, "mlp_ratio": 2, "eos_id": 2}
	require.NoError(t, json.Unmarshal([]byte(text), &cfg))
	data, err := json.Marshal(map[string]any{
		"embed_dim":  8,
		"vision_cfg": map[string]any{"image_size": 8, "layers": 1, "width": 8, "head_width": 4, "patch_size": 4},
		"text_cfg":   cfg,
	})
	require.NoError(t, err)
	c, _, err := config.Parse(data)
	require.NoError(t, err)
	return c
}

// What open_clip would fail at is an error that names its key.
func TestModernTextConfigs(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{`{}`, ""},
		{`{"pool_type": "mean", "eos_id": null, "attention_mode": "bidirectional", "reg_tokens": 2}`, ""},
		{`{"pool_type": "map", "qk_norm": true, "norm_type": "layernorm", "attention_bias": true, "pos_embed": ""}`, ""},
		{`{"attn_gated": true, "gate_bias": true, "mlp_type": "relu2", "norm_placement": "sandwich", "value_residual": true}`, ""},
		{`{"proj_type": "none", "width": 8, "heads": 1, "ls_init_value": 0.1, "pre_norm": true, "zero_init_residual": true}`, ""},
		{`{"variable_text": true, "context_length": 200, "reg_tokens": -1}`, ""},
		{`{"pos_embed": "none", "heads": 4}`, ""},

		{`{"eos_id": null}`, "pool_type argmax, which is eos with text_arch modern, wants text_cfg.eos_id"},
		{`{"pool_type": "eos", "eos_id": null}`, "eos wants text_cfg.eos_id"},
		{`{"pool_type": "last"}`, `text_cfg.pool_type is "last"`},
		{`{"heads": 5}`, "text_cfg.width (12) is not divisible by text_cfg.heads (5)"},
		{`{"heads": 4}`, "rope wants an even width of heads, have 12 / 4"},
		{`{"heads": 0}`, "text_cfg.heads"},
		{`{"width": 0}`, "text_cfg.width"},
		{`{"layers": 0}`, "text_cfg.layers"},
		{`{"mlp_ratio": 0.01}`, "text_cfg.mlp_ratio"},
		{`{"vocab_size": 0}`, "text_cfg.vocab_size"},
		{`{"pad_id": 20}`, "text_cfg.pad_id is 20, want 0 to 19"},
		{`{"attention_mode": "full"}`, `text_cfg.attention_mode is "full"`},
		{`{"pos_embed": "learned"}`, `text_cfg.pos_embed is "learned"`},
		{`{"mlp_type": "geglu"}`, `text_cfg.mlp_type is "geglu"`},
		{`{"norm_type": "batchnorm"}`, `text_cfg.norm_type is "batchnorm"`},
		{`{"norm_placement": "post"}`, `text_cfg.norm_placement is "post"`},
		{`{"norm_eps": -1}`, "text_cfg.norm_eps is -1"},
		{`{"rope_temperature": 0}`, "text_cfg.rope_temperature is 0"},
		{`{"proj_type": "none"}`, "proj_type none wants text_cfg.width (12) equal to embed_dim (8)"},
		{`{"reg_tokens": 100000000}`, "text_cfg.reg_tokens"},
	} {
		m, err := Build(modernTiny(t, c.text))
		if c.says != "" {
			require.ErrorContains(t, err, c.says, c.text)
			require.ErrorIs(t, err, config.ErrConfig, c.text)
			continue
		}
		require.NoError(t, err, c.text)
		assert.True(t, m.Config.CustomText)
		for _, batch := range []int{1, 3} {
			_, text, err := m.Programs(batch, nil)
			require.NoError(t, err, c.text)
			assert.Equal(t, graph.Shape{batch, 8}, text.Outputs[0].Shape)
		}
	}
}

// Which token stands for a text, and what is padding.
func TestModernTextPools(t *testing.T) {
	hidden := float32(-math.MaxFloat32)
	rows := [][]int32{{5, 2, 2, 0}, {5, 6, 0, 7}, {0, 0, 0, 0}}
	for _, c := range []struct {
		text, input string
		want        any
	}{
		{`{}`, "pool", []int32{1, 4 + 2, 8}}, // without eos as many tokens on as there are
		{`{"pool_type": "mean"}`, "shares", []float32{1. / 3, 1. / 3, 1. / 3, 0, 1. / 3, 1. / 3, 0, 1. / 3, 1, 0, 0, 0}},
		{`{"pool_type": "map"}`, "hidden", []float32{0, 0, 0, hidden, 0, 0, hidden, 0, 0, hidden, hidden, hidden}},
		{`{"attention_mode": "bidirectional", "reg_tokens": 1}`, "mask", []float32{0, 0, 0, 0, hidden, 0, 0, 0, hidden, 0, 0, 0, hidden, hidden, hidden}},
	} {
		m, err := Build(modernTiny(t, c.text))
		require.NoError(t, err)
		b, err := m.Texts(rows)
		require.NoError(t, err)
		feed := b.Feed(0, 3)
		assert.Equal(t, c.want, feed[c.input], c.text)
		assert.NotContains(t, feed, map[string]string{"mask": "hidden", "hidden": "mask", "pool": "mask", "shares": "pool"}[c.input])
	}
	m, err := Build(modernTiny(t, `{}`))
	require.NoError(t, err)
	tokens, err := m.Config.TextCfg.Tokenizer(nil)
	require.NoError(t, err)
	assert.ErrorContains(t, m.Config.TextCfg.CheckEOS(tokens), "text_cfg.eos_id is 2, but the tokenizer ends texts with 49407")
	_, err = m.Texts([][]int32{{5, 20}})
	assert.ErrorContains(t, err, "token id 20 is outside the vocabulary of 20")
}

// Registers are apart from the text's tokens, in blocks' outputs and in the last.
func TestModernTextTokens(t *testing.T) {
	for registers := range 3 {
		m, err := Build(modernTiny(t, fmt.Sprintf(`{"reg_tokens": %d, "output_tokens": true}`, registers)))
		require.NoError(t, err)
		g := graph.New()
		r := m.Text.Record(g, 2, 5, 2)
		for i := range 2 {
			b := r.Block(i, i == 1)
			assert.Equal(t, graph.Shape{2, 5, 12}, b.Tokens.Shape())
			if assert.Equal(t, registers > 0, b.Special.Valid()); registers > 0 {
				assert.Equal(t, graph.Shape{2, registers, 12}, b.Special.Shape())
			}
		}
		outs := r.Outputs()
		assert.Equal(t, graph.Shape{2, 5, 12}, outs["tokens"].Shape())
		assert.Equal(t, graph.Shape{2, 8}, outs[Features].Shape())
		require.NoError(t, g.Err())
	}
}

// Initial weights are those of init_parameters.
func TestModernTextInit(t *testing.T) {
	std := func(text, name string) float64 {
		m, err := Build(modernTiny(t, `{"width": 48, "vocab_size": 50, "pad_id": 3, "attn_gated": true, "gate_bias": true, "reg_tokens": 20, `+text+`}`))
		require.NoError(t, err)
		for found, p := range m.NamedParameters() {
			if found != "text."+name {
				continue
			}
			layers.Seed(p, 1)
			x := make([]float32, p.Shape.Elems())
			require.NoError(t, p.Source.ReadF32(x, 0))
			sum := 0.0
			for i, v := range x {
				sum += float64(v) * float64(v) / float64(len(x))
				if name == "token_embedding.weight" {
					assert.Equal(t, i/48 == 3, v == 0, "only the row of padding is zero")
				}
			}
			return math.Sqrt(sum)
		}
		require.Fail(t, name)
		return 0
	}
	attn := math.Pow(48, -0.5)
	for _, c := range []struct {
		text, name string
		want       float64
	}{
		{`"layers": 2`, "blocks.1.attn.qkv.weight", attn}, {`"layers": 2`, "blocks.1.attn.proj.weight", attn / 2},
		{`"layers": 2`, "blocks.0.mlp.w12.weight", 1.22 * math.Pow(96, -0.5)}, {`"mlp_type": "mlp"`, "blocks.0.mlp.c_fc.weight", math.Pow(96, -0.5)},
		{`"norm_placement": "sandwich"`, "blocks.0.mlp.w12.weight", 0.02}, {`"norm_placement": "sandwich"`, "blocks.0.attn.gate.weight", 0.02},
		{`"zero_init_residual": true`, "blocks.0.mlp.w3.weight", 0}, {`"layers": 2`, "blocks.0.attn.gate.bias", 1},
		{`"layers": 2`, "reg_tokens", 1e-6}, {`"layers": 2`, "token_embedding.weight", 0.02}, {`"layers": 2`, "text_projection.weight", attn},
		{`"value_residual": true`, "blocks.1.attn.vr_lambda", 0.5}, {`"pool_type": "map"`, "pool.query", attn}, {`"pool_type": "map"`, "pool.kv.weight", attn},
	} {
		assert.InDelta(t, c.want, std(c.text, c.name), 0.15*c.want, fmt.Sprint(c))
	}
}

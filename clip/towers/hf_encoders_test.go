package towers

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// hfRecorded is a recording's config with members of hf_model_config replaced.
func hfRecorded(t *testing.T, name, model string) config.Config {
	t.Helper()
	data, err := os.ReadFile("../../tests/testdata/oracle/" + name + "/config.json")
	require.NoError(t, err)
	c, _, err := config.Parse(data)
	require.NoError(t, err)
	over := map[string]any{}
	require.NoError(t, json.Unmarshal(c.TextCfg.HFModelConfig, &over))
	require.NoError(t, json.Unmarshal([]byte(model), &over))
	c.TextCfg.HFModelConfig, err = json.Marshal(over)
	require.NoError(t, err)
	return c
}

// What cannot be is an error that names its key.
func TestHFEncoderConfigs(t *testing.T) {
	for _, c := range []struct{ recording, model, says string }{
		{"hf_mt5_mean_mlp", `{"dense_act_fn": "relu", "is_gated_act": false, "d_kv": 5, "pad_token_id": 60}`, ""},
		{"hf_mt5_mean_mlp", `{"model_type": "t5"}`, `hf_model_config.model_type is "t5"`},
		{"hf_mt5_mean_mlp", `{"d_model": 0}`, "hf_model_config.d_model"},
		{"hf_mt5_mean_mlp", `{"hidden_size": 8}`, "hidden_size is another name of text_cfg.hf_model_config.d_model: want one of them"},
		{"hf_mt5_mean_mlp", `{"head_dim": 8}`, "hf_model_config.head_dim is another name"},
		{"hf_mt5_mean_mlp", `{"d_kv": 60000, "num_heads": 60000}`, "d_kv times num_heads"},
		{"hf_mt5_mean_mlp", `{"num_layers": -1}`, "hf_model_config.num_layers"},
		{"hf_mt5_mean_mlp", `{"relative_attention_num_buckets": 3}`, "relative_attention_num_buckets is 3, want 4 to"},
		{"hf_mt5_mean_mlp", `{"relative_attention_max_distance": 8}`, "relative_attention_max_distance is 8, want 9 to"},
		{"hf_mt5_mean_mlp", `{"dropout_rate": 1}`, "hf_model_config.dropout_rate"},
		{"hf_mt5_mean_mlp", `{"layer_norm_epsilon": -1}`, "hf_model_config.layer_norm_epsilon is -1, want 0 or more"},
		{"hf_mt5_mean_mlp", `{"dense_act_fn": "mish"}`, `dense_act_fn "mish" is not supported`},
		{"hf_mt5_mean_mlp", `{"pad_token_id": 61}`, "hf_model_config.pad_token_id is 61, want 0 to 60"},
		{"hf_mt5_mean_mlp", `{"d_ff": "40"}`, `d_ff is "\"40\"", want a whole number`},

		{"hf_nllb_cls_linear", `{"scale_embedding": false, "encoder_layerdrop": 0.5, "activation_function": "gelu"}`, ""},
		{"hf_nllb_cls_linear", `{"d_model": 3}`, "hf_model_config.d_model is 3, want 4 to"},
		{"hf_nllb_cls_linear", `{"encoder_attention_heads": 5}`, "d_model (24) is not divisible by text_cfg.hf_model_config.encoder_attention_heads (5)"},
		{"hf_nllb_cls_linear", `{"num_hidden_layers": 2}`, "num_hidden_layers is another name"},
		{"hf_nllb_cls_linear", `{"encoder_ffn_dim": 0}`, "hf_model_config.encoder_ffn_dim"},
		{"hf_nllb_cls_linear", `{"encoder_layerdrop": 1}`, "hf_model_config.encoder_layerdrop"},
		{"hf_nllb_cls_linear", `{"activation_dropout": -1}`, "hf_model_config.activation_dropout"},
		{"hf_nllb_cls_linear", `{"pad_token_id": 24}`, "hf_model_config.pad_token_id is 24, want 0 to 23"},
		{"hf_nllb_cls_linear", `{"activation_function": "relu6"}`, `activation_function "relu6" is not supported`},
		{"hf_nllb_cls_linear", `{"model_type": "mbart"}`, "hf_model_config.model_type"},

		{"hf_modernbert_cls_linear", `{"norm_bias": true, "mlp_bias": true, "attention_bias": true, "local_attention": 0, "num_hidden_layers": 1}`, ""},
		{"hf_modernbert_cls_linear", `{"num_attention_heads": 8}`, "hidden_size (24) is not divisible by twice"},
		{"hf_modernbert_cls_linear", `{"local_attention": -2}`, "hf_model_config.local_attention"},
		{"hf_modernbert_cls_linear", `{"global_attn_every_n_layers": 2}`, "global_attn_every_n_layers is not supported"},
		{"hf_modernbert_cls_linear", `{"layer_types": []}`, "layer_types is not supported"},
		{"hf_modernbert_cls_linear", `{"norm_eps": -1}`, "hf_model_config.norm_eps"},
		{"hf_modernbert_cls_linear", `{"mlp_dropout": 2}`, "hf_model_config.mlp_dropout"},
		{"hf_modernbert_cls_linear", `{"pad_token_id": -1}`, "hf_model_config.pad_token_id"},
		{"hf_modernbert_cls_linear", `{"hidden_activation": "x"}`, "hidden_activation"},
	} {
		cfg := hfRecorded(t, c.recording, c.model)
		m, err := Build(cfg)
		if c.says != "" {
			require.ErrorContains(t, err, c.says, "%+v", c)
			continue
		}
		require.NoError(t, err, "%+v", c)
		for _, length := range []int{1, 5, 20} {
			g := graph.New()
			g.Training = true
			outs := m.RecordTexts(g, 3, length)
			require.NoError(t, g.Err(), "%+v", c)
			assert.Equal(t, graph.Shape{3, 18}, outs[Features].Shape())
		}
	}
}

// Other names of keys, which transformers has for some models, count.
func TestHFAliases(t *testing.T) {
	c := hfRecorded(t, "hf_mt5_mean_mlp", `{}`)
	c.TextCfg.HFModelConfig = json.RawMessage(`{"hidden_size": 10, "head_dim": 3, "num_attention_heads": 2, "num_hidden_layers": 1, "d_ff": 6, "vocab_size": 9, "feed_forward_proj": "relu"}`)
	m, err := Build(c)
	require.NoError(t, err)
	assert.Equal(t, []string{"text_cfg.hf_model_config: ignored, as by open_clip: feed_forward_proj"}, m.Warnings)
	shapes := map[string]graph.Shape{}
	for name, p := range m.NamedParameters() {
		shapes[strings.TrimPrefix(name, "text.transformer.block.")] = p.Shape
	}
	assert.Equal(t, graph.Shape{6, 10}, shapes["0.layer.0.SelfAttention.q.weight"])
	assert.NotContains(t, shapes, "1.layer.0.SelfAttention.q.weight")
}

// What the encoders feed beside the ids.
func TestHFEncodersFeed(t *testing.T) {
	hidden := float32(-math.MaxFloat32)
	feed := func(name, model string, rows ...[]int32) map[string]any {
		m, err := Build(hfRecorded(t, name, model))
		require.NoError(t, err)
		b, err := m.Text.Texts(rows, true)
		require.NoError(t, err)
		return b.Feed(0, len(rows))
	}
	in := feed("hf_nllb_cls_linear", `{"pad_token_id": 1}`, []int32{5, 1, 6}, []int32{1, 1, 1})
	assert.Equal(t, []int32{1, 0, 2, 0, 0, 0}, in["positions"])
	assert.Equal(t, slices.Concat(make([]float32, 24), sinusoid(2, 24), sinusoid(3, 24), sinusoid(4, 24)), in["sinusoids"])
	in = feed("hf_modernbert_cls_linear", `{"local_attention": 3}`, []int32{5, 6, 7})
	assert.Equal(t, []float32{0, 0, hidden, 0, 0, 0, hidden, 0, 0}, in["window"])
	assert.NotContains(t, feed("hf_modernbert_cls_linear", `{"local_attention": 4}`, []int32{5, 6, 7}), "window")
	in = feed("hf_mt5_mean_mlp", `{"relative_attention_num_buckets": 4, "relative_attention_max_distance": 2}`, []int32{5, 6, 7})
	assert.Equal(t, []int32{0, 3, 3, 1, 0, 3, 1, 1, 0}, in["buckets"])
}

// Training drops where transformers does.
func TestHFEncodersDrop(t *testing.T) {
	count := func(name, model string, training bool) (n int) {
		m, err := Build(hfRecorded(t, name, model))
		require.NoError(t, err)
		g := graph.New()
		g.Training = training
		g.Variants = func(string, []string) string { return "" }
		p, err := g.Build(m.RecordTexts(g, 2, 5)[Features])
		require.NoError(t, err)
		for _, s := range p.Steps {
			if s.Kernel.Name == "dropout" || strings.Contains(fmt.Sprint(s.Kernel), "DROPOUT=true") {
				n++
			}
		}
		return n
	}
	// Of the embeddings, of each of two layers four, and of the last hidden state.
	assert.Equal(t, 1+2*4+1, count("hf_mt5_mean_mlp", `{}`, true))
	assert.Equal(t, 0, count("hf_mt5_mean_mlp", `{"dropout_rate": 0}`, true))
	assert.Equal(t, 0, count("hf_mt5_mean_mlp", `{}`, false))
	// Of the embeddings, and of each of two layers four and its own.
	assert.Equal(t, 1+2*5, count("hf_nllb_cls_linear", `{"activation_dropout": 0.1, "encoder_layerdrop": 0.1}`, true))
	// Of the embeddings, and of each of two layers attention, what it gives, and the MLP.
	assert.Equal(t, 1+2*3, count("hf_modernbert_cls_linear",
		`{"num_hidden_layers": 2, "attention_dropout": 0.1, "embedding_dropout": 0.1, "mlp_dropout": 0.1}`, true))
}

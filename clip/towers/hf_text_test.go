package towers

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// hfTiny is a model with a text tower over roberta-base, shrunk, with members of
// text_cfg and of hf_model_config replaced.
func hfTiny(t *testing.T, text, model string) config.Config {
	t.Helper()
	over := map[string]any{"vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, "max_position_embeddings": 10}
	require.NoError(t, json.Unmarshal([]byte(model), &over))
	cfg := map[string]any{"hf_model_name": "roberta-base", "hf_model_config": over}
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

func hfBuild(t *testing.T, text, model string) *Model {
	t.Helper()
	m, err := Build(hfTiny(t, text, model))
	require.NoError(t, err)
	return m
}

// What open_clip or transformers would fail at, and what is not there yet, by its name.
func TestHFTextConfigs(t *testing.T) {
	for _, c := range []struct{ text, model, says string }{
		{`{}`, `{}`, ""},
		{`{"hf_model_name": "xlm-roberta-large"}`, `{"hidden_dropout_prob": 0, "layer_norm_eps": 0}`, ""},
		{`{"hf_model_name": "FacebookAI/xlm-roberta-base"}`, `{"position_embedding_type": "absolute", "pad_token_id": -1}`, ""},
		{`{"hf_proj_type": null}`, `{"hidden_size": 8, "num_attention_heads": 1}`, ""},
		{`{"hf_pooler_type": null, "hf_model_config": null}`, `{}`, ""},
		{`{"pool_type": "eos", "eos_id": 2, "width": -1, "heads": 0, "hf_model_pretrained": null}`, `{"hidden_act": "swish"}`, ""},

		{`{"hf_model_name": "gpt2"}`, `{}`, `hf_model_name "gpt2" is not supported; supported are bert-base-cased, bert-base-multilingual-cased`},
		{`{"hf_model_name": "someone/roberta-base"}`, `{}`, `hf_model_name "someone/roberta-base" is not supported`},
		{`{"hf_proj_type": null}`, `{}`, "hf_proj_type null wants embed_dim (8) equal to the width of roberta-base (12)"},
		{`{"hf_proj_type": "none"}`, `{}`, `text_cfg.hf_proj_type is "none"`},
		{`{"hf_proj_type": ""}`, `{}`, `text_cfg.hf_proj_type is ""`},
		{`{"hf_pooler_type": "attn_pooler"}`, `{}`, `text_cfg.hf_pooler_type is "attn_pooler"`},
		{`{"text_arch": "modern"}`, `{}`, "text_arch modern excludes hf_model_name"},
		{`{"pool_type": "eos"}`, `{}`, "eos wants text_cfg.eos_id"},
		{`{"pool_type": "eos", "eos_id": 4294967298}`, `{}`, "text_cfg.eos_id is 4294967298"}, // which as an int32 is 2
		{`{"tokenizer_kwargs": {"clean": "x"}}`, `{}`, "tokenizer_kwargs.clean"},
		{`{"variable_text": true}`, `{}`, ""},
		{`{"hf_model_config": [1]}`, `{}`, `text_cfg.hf_model_config is "[1]", want a JSON object`},
		{`{}`, `{"vocab_size": "40"}`, `text_cfg.hf_model_config.vocab_size is "\"40\"", want a whole number`},
		{`{}`, `{"pad_token_id": null}`, "hf_model_config.pad_token_id is"},
		{`{}`, `{"hidden_act": null}`, "hf_model_config.hidden_act is"},
		{`{}`, `{"hidden_act": "mish"}`, `hf_model_config.hidden_act "mish" is not supported`},
		{`{}`, `{"pad_token_id": 10}`, "hf_model_config.pad_token_id is 10, want -1 to 9"},
		{`{}`, `{"pad_token_id": -2}`, "hf_model_config.pad_token_id"},
		{`{}`, `{"vocab_size": 0}`, "hf_model_config.vocab_size"},
		{`{}`, `{"hidden_size": 100000000}`, "hf_model_config.hidden_size"},
		{`{}`, `{"num_hidden_layers": 0}`, "hf_model_config.num_hidden_layers"},
		{`{}`, `{"num_attention_heads": 5}`, "hidden_size (12) is not divisible by text_cfg.hf_model_config.num_attention_heads (5)"},
		{`{}`, `{"num_attention_heads": 0}`, "hf_model_config.num_attention_heads"},
		{`{}`, `{"intermediate_size": 0}`, "hf_model_config.intermediate_size"},
		{`{}`, `{"max_position_embeddings": 0}`, "hf_model_config.max_position_embeddings"},
		{`{}`, `{"type_vocab_size": 0}`, "hf_model_config.type_vocab_size"},
		{`{}`, `{"layer_norm_eps": -1}`, "hf_model_config.layer_norm_eps"},
		{`{}`, `{"initializer_range": -1}`, "hf_model_config.initializer_range"},
		{`{}`, `{"hidden_dropout_prob": 1}`, "hf_model_config.hidden_dropout_prob"},
		{`{}`, `{"attention_probs_dropout_prob": -0.5}`, "hf_model_config.attention_probs_dropout_prob"},
		{`{}`, `{"is_decoder": true}`, "decoder is not supported"},
		{`{}`, `{"position_embedding_type": "relative_key"}`, `position_embedding_type "relative_key" is not supported`},
		{`{"hf_model_name": "google-bert/bert-base-uncased"}`, `{"pad_token_id": 9}`, ""},
		{`{"hf_model_name": "bert-base-uncased"}`, `{"model_type": "roberta"}`, `hf_model_config.model_type is "roberta"`},
		{`{}`, `{"model_type": "bert"}`, `hf_model_config.model_type is "bert"`},
	} {
		cfg := hfTiny(t, c.text, c.model)
		err := Check(&cfg)
		if c.says == "" {
			require.NoError(t, err, "%+v", c)
			continue
		}
		require.ErrorContains(t, err, c.says, "%+v", c)
		assert.NotContains(t, err.Error(), "\n")
		_, err = Build(cfg)
		require.ErrorContains(t, err, c.says, "%+v", c)
	}
}

// The published models have as many parameters, and as open_clip counts them.
func TestBertModels(t *testing.T) {
	for name, want := range map[string]int{"roberta-base": 124055040, "roberta-large": 354310144, "xlm-roberta-base": 277453056, "xlm-roberta-large": 558840832, "bert-base-uncased": 108891648} {
		c := hfTiny(t, fmt.Sprintf(`{"hf_model_name": %q, "hf_model_config": {}}`, name), `{}`)
		m, err := Build(c)
		require.NoError(t, err)
		assert.Empty(t, m.Warnings)
		got := 0
		for name, p := range m.Parameters() {
			if strings.HasPrefix(name, "text.transformer.") {
				got += p.Shape.Elems()
			}
		}
		assert.Equal(t, want, got, name)
	}
	c := hfTiny(t, `{}`, `{}`)
	assert.Equal(t, 40, Vocabulary(&c))
}

// open_clip sets any key of a configuration; those that change nothing are told of.
func TestHFTextIgnoresKeys(t *testing.T) {
	m := hfBuild(t, `{}`, `{"architectures": ["RobertaForMaskedLM"], "use_cache": true}`)
	assert.Equal(t, []string{"text_cfg.hf_model_config: ignored, as by open_clip: architectures, use_cache"}, m.Warnings)
}

// Parameters have open_clip's names and transformers' initialisation.
func TestHFTextParameters(t *testing.T) {
	m := hfBuild(t, `{"hf_pooler_type": "cls_pooler", "hf_proj_type": "clap_mlp"}`, `{"num_hidden_layers": 1, "type_vocab_size": 2, "initializer_range": 0.5}`)
	require.True(t, m.Config.CustomText)
	var names, noDecay []string
	std := map[string]float64{}
	for name, p := range m.Parameters() {
		if !strings.HasPrefix(name, "text.") {
			continue
		}
		names = append(names, fmt.Sprint(name, p.Shape))
		if p.NoDecay {
			noDecay = append(noDecay, name)
		}
		layers.Seed(p, 1)
		x := make([]float32, p.Shape.Elems())
		require.NoError(t, p.Source.ReadF32(x, 0))
		for i, v := range x {
			std[name] += float64(v*v) / float64(len(x))
			if strings.Contains(name, "word_emb") || strings.Contains(name, "position_emb") {
				assert.Equal(t, i/12 == 1, v == 0, "%s: only the row of padding is zero: %d", name, i)
			}
		}
		std[name] = math.Sqrt(std[name])
	}
	assert.Equal(t, []string{
		"text.transformer.embeddings.word_embeddings.weight[40 12]", "text.transformer.embeddings.token_type_embeddings.weight[2 12]",
		"text.transformer.embeddings.LayerNorm.weight[12]", "text.transformer.embeddings.LayerNorm.bias[12]",
		"text.transformer.embeddings.position_embeddings.weight[10 12]",
		"text.transformer.encoder.layer.0.attention.self.query.weight[12 12]", "text.transformer.encoder.layer.0.attention.self.query.bias[12]",
		"text.transformer.encoder.layer.0.attention.self.key.weight[12 12]", "text.transformer.encoder.layer.0.attention.self.key.bias[12]",
		"text.transformer.encoder.layer.0.attention.self.value.weight[12 12]", "text.transformer.encoder.layer.0.attention.self.value.bias[12]",
		"text.transformer.encoder.layer.0.attention.output.dense.weight[12 12]", "text.transformer.encoder.layer.0.attention.output.dense.bias[12]",
		"text.transformer.encoder.layer.0.attention.output.LayerNorm.weight[12]", "text.transformer.encoder.layer.0.attention.output.LayerNorm.bias[12]",
		"text.transformer.encoder.layer.0.intermediate.dense.weight[20 12]", "text.transformer.encoder.layer.0.intermediate.dense.bias[20]",
		"text.transformer.encoder.layer.0.output.dense.weight[12 20]", "text.transformer.encoder.layer.0.output.dense.bias[12]",
		"text.transformer.encoder.layer.0.output.LayerNorm.weight[12]", "text.transformer.encoder.layer.0.output.LayerNorm.bias[12]",
		"text.transformer.pooler.dense.weight[12 12]", "text.transformer.pooler.dense.bias[12]",
		"text.proj.0.weight[8 12]", "text.proj.0.bias[8]", "text.proj.2.weight[8 8]", "text.proj.2.bias[8]",
	}, names)
	assert.Equal(t, []string{"text.transformer.embeddings.token_type_embeddings.weight", "text.transformer.embeddings.position_embeddings.weight"}, noDecay)
	for name, want := range map[string]float64{
		"embeddings.word_embeddings.weight": 0.5, "encoder.layer.0.attention.self.key.weight": 0.5, "encoder.layer.0.output.dense.weight": 0.5,
		"encoder.layer.0.output.dense.bias": 0, "embeddings.LayerNorm.weight": 1, "pooler.dense.weight": 0.5, "pooler.dense.bias": 0,
	} {
		assert.InDelta(t, want, std["text.transformer."+name], 0.2*want, name)
	}
}

// Checkpoints that older versions of transformers made hold the positions' numbers,
// which open_clip drops.
func TestHFTextDropsPositionIDs(t *testing.T) {
	m := hfBuild(t, `{}`, `{}`)
	dict := weights.Map{}
	for name, p := range m.Parameters() {
		x, err := weights.FromF32(name, p.Shape, make([]float32, p.Shape.Elems()))
		require.NoError(t, err)
		dict[name] = x
	}
	const ids = "text.transformer.embeddings.position_ids"
	for name, unexpected := range map[string]bool{ids: false, "text.transformer.pooler.dense.bias": true} {
		x, err := weights.FromF32(name, []int{1, 10}, make([]float32, 10))
		require.NoError(t, err)
		dict[name] = x
		_, err = m.Bind(dict, &m.Config, weights.OpenCLIP)
		if unexpected {
			require.ErrorContains(t, err, name)
		} else {
			require.NoError(t, err)
		}
		delete(dict, name)
	}
}

// Rows may be shorter than the context, or longer with padding; positions bound
// the tokens of a row.
func TestHFTextRows(t *testing.T) {
	tower := hfBuild(t, `{}`, `{}`).Text // ten positions, of which two are before the first token's
	row := func(tokens, padding int) (row []int32) {
		for range tokens {
			row = append(row, 7)
		}
		for range padding {
			row = append(row, 1)
		}
		return row
	}
	for _, c := range []struct {
		rows [][]int32
		says string
	}{
		{nil, ""},
		{[][]int32{row(1, 0)}, ""},
		{[][]int32{row(8, 100), row(1, 107)}, ""},
		{[][]int32{row(9, 0)}, "text 0: 9 tokens without padding, want at most 8"},
		{[][]int32{row(3, 0), row(0, 3)}, "text 1: nothing but padding (token id 1), of which mean_pooler makes nothing"},
		{[][]int32{{7, 40}}, "token id 40 is outside the vocabulary of 40"},
		{[][]int32{row(3, 0), row(3, 1)}, "text 1 has 4 tokens and text 0 has 3"},
		{[][]int32{{}}, "text 0 has 0 tokens"},
	} {
		b, err := tower.Texts(c.rows, true)
		if c.says != "" {
			require.ErrorContains(t, err, c.says)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, len(c.rows), b.Items)
	}
	_, err := hfBuild(t, `{"hf_pooler_type": "cls_pooler"}`, `{}`).Text.Texts([][]int32{row(0, 3)}, false)
	require.NoError(t, err, "which sees no key, as upstream")

	b, err := tower.Texts([][]int32{{1, 7, 1, 8}, {7, 7, 7, 7}}, false)
	require.NoError(t, err)
	hidden := float32(-math.MaxFloat32)
	assert.Equal(t, map[string]any{
		"text": []int32{1, 7, 1, 8}, "positions": []int32{1, 2, 1, 3},
		"mask": []float32{hidden, 0, hidden, 0}, "shares": []float32{0, 0.5, 0, 0.5},
	}, b.Feed(0, 1))
	_, err = tower.BlockOptions(BlockOptions{})
	require.ErrorContains(t, err, "no intermediates")
}

// output_tokens gives the hidden states, without the one that cls_pooler takes.
func TestHFTextTokens(t *testing.T) {
	for pooler, tokens := range map[string]int{"mean_pooler": 5, "cls_pooler": 4, "cls_last_hidden_state_pooler": 5} {
		m := hfBuild(t, fmt.Sprintf(`{"output_tokens": true, "hf_pooler_type": %q}`, pooler), `{}`)
		g := graph.New()
		outs := m.RecordTexts(g, 2, 5)
		assert.Equal(t, graph.Shape{2, tokens, 12}, outs["tokens"].Shape(), pooler)
		assert.Equal(t, graph.Shape{2, 8}, outs[Features].Shape(), pooler)
		require.NoError(t, g.Err())
	}
	g := graph.New()
	assert.NotContains(t, hfBuild(t, `{}`, `{}`).RecordTexts(g, 1, 1), "tokens")
}

package tokenizer_test

import (
	"encoding/json"
	"fmt"
	"io/fs"

	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/recorded"
)

func TestRowsEqualHFTokenizer(t *testing.T) {
	var file struct {
		Texts []string
		Cases []struct {
			Name, Tokenizer, Mode string
			Config                json.RawMessage
			ContextLength         int `json:"context_length"`
			Kwargs                struct {
				Clean         tokenizer.Clean
				StripSepToken bool `json:"strip_sep_token"`
			}
			IDs [][]int32
		}
	}
	require.NoError(t, json.Unmarshal(recorded.Read(t, "rows.json"), &file))
	require.Len(t, file.Cases, 8)
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			tok, err := tokenizer.LoadHuggingFace(folder(map[string][]byte{
				"tokenizer.json": recorded.Load(t, c.Tokenizer).Tokenizer, "tokenizer_config.json": c.Config,
			}), tokenizer.HuggingFace{Clean: c.Kwargs.Clean, StripSepToken: c.Kwargs.StripSepToken, Mode: c.Mode})
			require.NoError(t, err)
			for i, row := range tokenize(t, tok, c.ContextLength, file.Texts...) {
				assert.Equal(t, c.IDs[i], row, "%+q", file.Texts[i])
			}
		})
	}
}

// vocabOf returns the vocab of the model in a tokenizer.json.
func vocabOf(t *testing.T, tokenizerJSON []byte) (vocab map[string]int, merges [][2]string) {
	t.Helper()
	var f struct {
		Model struct {
			Vocab  map[string]int
			Merges [][2]string
		}
	}
	require.NoError(t, json.Unmarshal(tokenizerJSON, &f))
	return f.Model.Vocab, f.Model.Merges
}

// TestOldFilesEqualTokenizerJSON checks vocab.txt, and vocab.json with merges.txt.
func TestOldFilesEqualTokenizerJSON(t *testing.T) {
	bert, roberta := recorded.Load(t, "bert").Tokenizer, recorded.Load(t, "roberta").Tokenizer
	words, _ := vocabOf(t, bert)
	lines := make([]string, len(words))
	for word, id := range words {
		lines[id] = word
	}
	vocab, pairs := vocabOf(t, roberta)
	var merges strings.Builder
	merges.WriteString("#version: 0.2\n")
	for _, p := range pairs {
		fmt.Fprintf(&merges, "%s %s\n", p[0], p[1])
	}
	vocabJSON, err := json.Marshal(vocab)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		fast []byte
		slow map[string][]byte
	}{
		"bert-base-uncased": {bert, map[string][]byte{"vocab.txt": []byte(strings.Join(lines, "\n") + "\n")}},
		"roberta-base":      {roberta, map[string][]byte{"vocab.json": vocabJSON, "merges.txt": []byte(merges.String())}},
	} {
		t.Run(name, func(t *testing.T) {
			fast, err := tokenizer.LoadHuggingFace(folder(map[string][]byte{"tokenizer.json": c.fast}), tokenizer.HuggingFace{Name: name})
			require.NoError(t, err)
			slow, err := tokenizer.LoadHuggingFace(folder(c.slow), tokenizer.HuggingFace{Name: name})
			require.NoError(t, err)
			texts := recorded.Texts(t)
			assert.Equal(t, tokenize(t, fast, 40, texts...), tokenize(t, slow, 40, texts...))
		})
	}
}

// TestSentencepieceModels checks the ids that the slow tokenizers of each class
// make of a model's own.
func TestSentencepieceModels(t *testing.T) {
	texts := []string{"a photo of a cat", "猫の写真 ᚠᚢ"}
	for _, c := range []struct {
		model, file, config string
		want                func(ids []int32) []int32
	}{
		{"t5", "spiece.model", `{"tokenizer_class": "T5Tokenizer"}`, func(ids []int32) []int32 { return append(ids, 1) }},
		{"t5", "spiece.model", `{"tokenizer_class": "SiglipTokenizer"}`, func(ids []int32) []int32 { return append(ids, 1) }},
		{"gemma", "tokenizer.model", `{"tokenizer_class": "GemmaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": false, "add_eos_token": true}`,
			func(ids []int32) []int32 { return append(ids, 1) }},
		{"gemma", "tokenizer.model", `{"tokenizer_class": "GemmaTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}`,
			func(ids []int32) []int32 { return append([]int32{2}, ids...) }},
		{"xlmr", "sentencepiece.bpe.model", `{}`, func(ids []int32) []int32 {
			out := []int32{0}
			for _, id := range ids {
				if id == 0 {
					id = 2
				}
				out = append(out, id+1)
			}
			return append(out, 2)
		}},
	} {
		t.Run(c.config, func(t *testing.T) {
			tok, err := tokenizer.LoadHuggingFace(folder(map[string][]byte{
				c.file: recorded.LoadModel(t, c.model).Model, "tokenizer_config.json": []byte(c.config),
			}), tokenizer.HuggingFace{Name: "xlm-roberta-base"})
			require.NoError(t, err)
			plain := recorded.LoadModel(t, c.model)
			rows, err := tok.Unpadded(texts, 40)
			require.NoError(t, err)
			for i, row := range rows {
				assert.Equal(t, c.want(encodeModel(t, plain.Model, texts[i])), row)
				text, err := tok.Decode(row)
				require.NoError(t, err)
				assert.NotEmpty(t, text)
			}
		})
	}
}

// TestModelsAloneEqualFastTokenizers checks what transformers makes of a
// sentencepiece model where there is no tokenizer.json. mt5's was trained with
// byte fallback, which its class leaves off.
func TestModelsAloneEqualFastTokenizers(t *testing.T) {
	var recordings struct {
		Texts []string
		Cases []struct {
			Model, File   string
			Config        map[string]any
			ContextLength int   `json:"context_length"`
			PadID         int32 `json:"pad_id"`
			VocabSize     int   `json:"vocab_size"`
			IDs           [][]int32
		}
	}
	require.NoError(t, json.Unmarshal(recorded.Read(t, "only_models.json"), &recordings))
	require.Len(t, recordings.Texts, 200)
	require.Len(t, recordings.Cases, 2)
	for _, c := range recordings.Cases {
		// The class is in the config or, for models of the hub, in the name.
		for _, class := range []string{"config", "name"} {
			if class == "name" {
				delete(c.Config, "tokenizer_class")
			}
			config, err := json.Marshal(c.Config)
			require.NoError(t, err)
			name := map[string]string{"mt5": "google/mt5-base", "xlm_roberta": "xlm-roberta-base"}[c.Model]
			tok, err := tokenizer.LoadHuggingFace(folder(map[string][]byte{
				c.File: recorded.Read(t, c.Model+".only.model"), "tokenizer_config.json": config,
			}), tokenizer.HuggingFace{Name: name})
			require.NoError(t, err)
			assert.Equal(t, c.VocabSize, tok.VocabSize())
			rows, err := tok.Tokenize(recordings.Texts, c.ContextLength)
			require.NoError(t, err)
			for i, row := range rows {
				want := append([]int32{}, c.IDs[i]...)
				for len(want) < c.ContextLength {
					want = append(want, c.PadID)
				}
				assert.Equal(t, want, row, "%s: %+q", c.Model, recordings.Texts[i])
			}
		}
	}
}

// TestClassOfModelType checks that a config.json tells the class where
// tokenizer_config.json does not, as for AutoTokenizer, whatever the name says.
func TestClassOfModelType(t *testing.T) {
	files := map[string][]byte{"sentencepiece.bpe.model": recorded.Read(t, "xlm_roberta.only.model"), "config.json": []byte(`{"model_type": "xlm-roberta"}`)}
	want, err := tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "xlm-roberta"})
	require.NoError(t, err)
	for _, config := range []string{`{"model_type": "xlm-roberta"}`, `{"model_type": "other", "tokenizer_class": "XLMRobertaTokenizerFast"}`} {
		files["config.json"] = []byte(config)
		got, err := tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "roberta"})
		require.NoError(t, err)
		assert.Equal(t, tokenize(t, want, 9, "a photo <mask>"), tokenize(t, got, 9, "a photo <mask>"))
	}
	files["config.json"] = []byte(`{"model_type": `)
	_, err = tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "roberta"})
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "config.json")
}

// TestSpecialTokensBehindTheVocab checks that special tokens without an id get one, in
// transformers' order.
func TestSpecialTokensBehindTheVocab(t *testing.T) {
	files := map[string][]byte{
		"vocab.json": []byte(`{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "\u0120": 5, "a\u0120": 6}`), "merges.txt": []byte("a \u0120\n"),
		"special_tokens_map.json": []byte(`{"additional_special_tokens": ["<one>", {"content": "<two>"}, "</s>"]}`),
	}
	tok, err := tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "roberta"})
	require.NoError(t, err)
	assert.Equal(t, 10, tok.VocabSize())
	assert.Equal(t, []int32{4, 7, 8, 9, 2, 4, 5, 4}, tok.Encode("a <mask><one><two></s>a a"), "the mask takes the blank before it")
	// What a file describes is as it says; the ids are those of the list.
	files["tokenizer_config.json"] = []byte(`{"added_tokens_decoder": {
		"8": {"content": "b", "single_word": true, "normalized": true}, "7": {"content": "<mask>", "special": true},
		"3": {"content": "<unk>", "rstrip": true, "special": true}}}`)
	tok, err = tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "roberta"})
	require.NoError(t, err)
	assert.Equal(t, 11, tok.VocabSize())
	assert.Equal(t, []int32{4, 5, 7, 9, 10, 8, 3, 4}, tok.Encode("a <mask><one><two>b<unk> a"))
	assert.Equal(t, []int32{4}, tok.Encode("ab"), "b alone is a token")
	delete(files, "tokenizer_config.json")
	files["added_tokens.json"] = []byte(`{"<later>": 9, "<mask>": 7, "<sooner>": 8}`)
	tok, err = tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "roberta"})
	require.NoError(t, err)
	assert.Equal(t, []int32{4, 7, 8, 9, 10, 11}, tok.Encode("a <mask><sooner><later><one><two>"))
	files["added_tokens.json"] = []byte(`{"<later>": "x"}`)
	_, err = tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "roberta"})
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "added_tokens.json")
	delete(files, "added_tokens.json")
	files["tokenizer_config.json"] = []byte(`{"added_tokens_decoder": []}`)
	_, err = tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "roberta"})
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "tokenizer_config.json: added_tokens_decoder")
	delete(files, "tokenizer_config.json")
	files["special_tokens_map.json"] = []byte(`{"additional_special_tokens": 3}`)
	_, err = tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{Name: "roberta"})
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "special_tokens_map.json: additional_special_tokens")
}

// TestExtraIDs checks the tokens that T5's class adds to a model.
func TestExtraIDs(t *testing.T) {
	model := recorded.LoadModel(t, "t5").Model
	load := func(config string) *tokenizer.Tokenizer {
		tok, err := tokenizer.LoadHuggingFace(folder(map[string][]byte{"spiece.model": model, "tokenizer_config.json": []byte(config)}), tokenizer.HuggingFace{Name: "t5"})
		require.NoError(t, err)
		return tok
	}
	pieces := load(`{"extra_ids": 0}`).VocabSize()
	for config, n := range map[string]int{`{}`: 100, `{"extra_ids": 3}`: 3, `{"extra_ids": 1234}`: 1234, `{"extra_ids": -1}`: 0} {
		tok := load(config)
		require.Equal(t, pieces+n, tok.VocabSize(), config)
		if n > 0 {
			assert.Equal(t, []int32{int32(pieces + n - 1)}, tok.Encode("<extra_id_0>"))
		}
	}
	_, err := tokenizer.LoadHuggingFace(folder(map[string][]byte{"spiece.model": model, "tokenizer_config.json": []byte(`{"extra_ids": 1000000000}`)}), tokenizer.HuggingFace{Name: "t5"})
	assert.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "tokenizer_config.json: extra_ids is 1000000000")
}

// TestClassTemplates checks that a class's own special tokens replace those of
// the file, as transformers does.
func TestClassTemplates(t *testing.T) {
	for _, c := range []struct {
		tokenizer, config string
		prefix, suffix    []string
	}{
		{"nllb", `{"tokenizer_class": "NllbTokenizer"}`, []string{"eng_Latn"}, []string{"</s>"}},
		{"nllb", `{"tokenizer_class": "NllbTokenizerFast", "legacy_behaviour": true}`, nil, []string{"</s>", "eng_Latn"}},
		{"gemma", `{"tokenizer_class": "GemmaTokenizer", "bos_token": "<s>", "eos_token": "</s>"}`, []string{"<s>"}, nil},
		{"gemma", `{"tokenizer_class": "GemmaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "add_eos_token": true}`, []string{"<s>"}, []string{"</s>"}},
	} {
		files := map[string][]byte{"tokenizer.json": recorded.Load(t, c.tokenizer).Tokenizer, "tokenizer_config.json": []byte(c.config)}
		if c.tokenizer == "nllb" {
			files["special_tokens_map.json"] = []byte(`{"pad_token": {"content": "<unk>"}}`)
		}
		tok, err := tokenizer.LoadHuggingFace(folder(files), tokenizer.HuggingFace{})
		require.NoError(t, err)
		var names []string
		rows, err := tok.Unpadded([]string{""}, 9)
		require.NoError(t, err)
		for _, id := range rows[0] {
			for _, token := range append(c.prefix, c.suffix...) {
				if found := tok.Encode(token); len(found) == 1 && found[0] == id {
					names = append(names, token)
				}
			}
		}
		assert.Equal(t, append(append([]string{}, c.prefix...), c.suffix...), names, c.config)
	}
}

func TestFitsAllowsNamedTokensBeyond(t *testing.T) {
	c := recorded.Load(t, "t5") // 1700 pieces and <extra_id_0> to <extra_id_9>
	tok, err := tokenizer.LoadHuggingFace(folder(map[string][]byte{"tokenizer.json": c.Tokenizer}), tokenizer.HuggingFace{Name: "google/t5"})
	require.NoError(t, err)
	require.Equal(t, 1710, tok.VocabSize())
	assert.NoError(t, tok.Fits(1710))
	assert.NoError(t, tok.Fits(1700))
	err = tok.Fits(1699)
	require.ErrorIs(t, err, tokenizer.ErrVocabulary)
	assert.ErrorContains(t, err, "tokenizer.json has 1710 tokens, but the model's vocab_size is 1699")
}

// badFolder is a folder that gives no tokenizer, and what the error says.
type badFolder struct {
	files map[string][]byte
	o     tokenizer.HuggingFace
	want  []string
}

func requireBadFolders(t *testing.T, folders map[string]badFolder) {
	for name, c := range folders {
		t.Run(name, func(t *testing.T) {
			_, err := tokenizer.LoadHuggingFace(folder(c.files), c.o)
			require.ErrorIs(t, err, tokenizer.ErrVocabulary)
			for _, part := range c.want {
				assert.ErrorContains(t, err, part)
			}
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestLoadBadTokenizerJSON(t *testing.T) {
	bert := recorded.Load(t, "bert").Tokenizer
	edit := func(old, new string) []byte {
		require.Contains(t, string(bert), old)
		return []byte(strings.Replace(string(bert), old, new, 1))
	}
	only := func(data []byte) map[string][]byte { return map[string][]byte{"tokenizer.json": data} }
	requireBadFolders(t, map[string]badFolder{
		"empty":           {only(nil), tokenizer.HuggingFace{}, []string{"tokenizer.json", "EOF"}},
		"cut":             {only(bert[:len(bert)/2]), tokenizer.HuggingFace{}, []string{"tokenizer.json", "EOF"}},
		"HTML":            {only([]byte("<!DOCTYPE html>")), tokenizer.HuggingFace{}, []string{"tokenizer.json", "invalid character"}},
		"array":           {only([]byte("[]")), tokenizer.HuggingFace{}, []string{"tokenizer.json"}},
		"no model":        {only([]byte("{}")), tokenizer.HuggingFace{}, []string{"tokenizer.json", "no model"}},
		"more":            {only(append(bert[:len(bert):len(bert)], "{}"...)), tokenizer.HuggingFace{}, []string{"more than one"}},
		"too many values": {only(append(bert[:len(bert):len(bert)], strings.Repeat(",", 1_600_000)...)), tokenizer.HuggingFace{}, []string{"tokenizer.json", "values, at most 1600000"}},
		"too long":        {only(make([]byte, 64<<20+1)), tokenizer.HuggingFace{}, []string{"tokenizer.json", "67108865 bytes, at most 67108864"}},
		"unknown section": {only(edit(`"normalizer":`, `"surprise": 1, "normalizer":`)), tokenizer.HuggingFace{}, []string{`"surprise"`}},
		"unknown model":   {only(edit(`"WordPiece","unk`, `"WordLevel","unk`)), tokenizer.HuggingFace{}, []string{`model "WordLevel" is not supported`}},
		"unknown part":    {only(edit(`"BertPreTokenizer"`, `"UnicodeScripts"`)), tokenizer.HuggingFace{}, []string{`pre_tokenizer "UnicodeScripts" is not supported`}},
		"unknown normal":  {only(edit(`"BertNormalizer"`, `"Rinse"`)), tokenizer.HuggingFace{}, []string{`normalizer "Rinse" is not supported`}},
		"unknown option":  {only(edit(`"clean_text"`, `"clean_test"`)), tokenizer.HuggingFace{}, []string{"BertNormalizer", `"clean_test"`}},
		"id negative":     {only(edit(`"[UNK]":1`, `"[UNK]":-1`)), tokenizer.HuggingFace{}, []string{`id -1 of "[UNK]"`}},
		"id huge":         {only(edit(`"[UNK]":1`, `"[UNK]":2000000000`)), tokenizer.HuggingFace{}, []string{"id 2000000000"}},
		"id twice":        {only(edit(`"[UNK]":1`, `"[UNK]":2`)), tokenizer.HuggingFace{}, []string{"same id 2"}},
		"id no integer":   {only(edit(`"[UNK]":1`, `"[UNK]":"1"`)), tokenizer.HuggingFace{}, []string{"tokenizer.json"}},
		"no unk":          {only(edit(`"unk_token":"[UNK]"`, `"unk_token":"[OOV]"`)), tokenizer.HuggingFace{}, []string{`"[OOV]"`}},
	})
}

func TestLoadBadTokenizerConfig(t *testing.T) {
	bert := recorded.Load(t, "bert").Tokenizer
	config := func(text string) map[string][]byte {
		return map[string][]byte{"tokenizer.json": bert, "tokenizer_config.json": []byte(text)}
	}
	requireBadFolders(t, map[string]badFolder{
		"no pad":            {map[string][]byte{"tokenizer.json": bert}, tokenizer.HuggingFace{}, []string{"tokenizer.json", "no pad_token", "tokenizer_config.json"}},
		"pad unknown":       {config(`{"pad_token": "<void>"}`), tokenizer.HuggingFace{}, []string{`"<void>"`, "pad_token"}},
		"config no JSON":    {config(`pad`), tokenizer.HuggingFace{}, []string{"tokenizer_config.json", "not JSON"}},
		"token no string":   {config(`{"pad_token": 3}`), tokenizer.HuggingFace{}, []string{"tokenizer_config.json", "pad_token"}},
		"no sep":            {config(`{"pad_token": "[PAD]"}`), tokenizer.HuggingFace{StripSepToken: true}, []string{"sep_token"}},
		"clips without bos": {config(`{"pad_token": "[PAD]"}`), tokenizer.HuggingFace{Mode: "clips"}, []string{"bos_token"}},
	})
	_, err := tokenizer.LoadHuggingFace(folder(config(`{"pad_token": "[PAD]"}`)), tokenizer.HuggingFace{Mode: "other"})
	assert.ErrorContains(t, err, `"other"`)
}

func TestLoadBadHuggingFaceFolders(t *testing.T) {
	model := recorded.LoadModel(t, "t5").Model
	requireBadFolders(t, map[string]badFolder{
		"too many words":    {map[string][]byte{"vocab.txt": []byte(strings.Repeat("\n", 1<<20+1))}, tokenizer.HuggingFace{Name: "bert"}, []string{"vocab.txt", "1048577 lines"}},
		"model too long":    {map[string][]byte{"spiece.model": make([]byte, 8<<20+1)}, tokenizer.HuggingFace{Name: "t5"}, []string{"spiece.model", "8388609 bytes"}},
		"model cut":         {map[string][]byte{"spiece.model": model[:len(model)/2]}, tokenizer.HuggingFace{Name: "t5"}, []string{"spiece.model", "not a sentencepiece model"}},
		"model empty":       {map[string][]byte{"spiece.model": nil}, tokenizer.HuggingFace{Name: "t5"}, []string{"spiece.model", "no pieces"}},
		"model garbage":     {map[string][]byte{"spiece.model": []byte("version https://git-lfs")}, tokenizer.HuggingFace{Name: "t5"}, []string{"spiece.model"}},
		"class unknown":     {map[string][]byte{"spiece.model": model}, tokenizer.HuggingFace{Name: "x"}, []string{"spiece.model", "class"}},
		"class unsupported": {map[string][]byte{"spiece.model": model}, tokenizer.HuggingFace{Name: "nllb"}, []string{"spiece.model", "Nllb", "tokenizer.json"}},
		"words of none":     {map[string][]byte{"vocab.txt": []byte("a\nb\n")}, tokenizer.HuggingFace{Name: "bert"}, []string{"vocab.txt", `"[CLS]"`}},
		"words, class":      {map[string][]byte{"vocab.txt": []byte("a\nb\n")}, tokenizer.HuggingFace{}, []string{"vocab.txt", "BertTokenizer"}},
		"vocab, no merges":  {map[string][]byte{"vocab.json": []byte("{}")}, tokenizer.HuggingFace{Name: "roberta"}, []string{"vocab.json without merges.txt"}},
	})
	_, err := tokenizer.LoadHuggingFace(folder(nil), tokenizer.HuggingFace{Name: "bert-base-uncased"})
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = tokenizer.LoadHuggingFace(unreadable{}, tokenizer.HuggingFace{})
	assert.ErrorIs(t, err, fs.ErrPermission)
}

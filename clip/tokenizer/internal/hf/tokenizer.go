// Package hf reads the tokenizer.json files of Hugging Face's tokenizers library
// and computes the ids that the library does.
package hf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// Tokenizer is the pipeline of a tokenizer.json. It never changes after it was
// made.
type Tokenizer struct {
	added     *added
	normalize normalizer   // may be nil
	split     preTokenizer // may be nil
	model     model
	template  template
	decoder   decoder
	padToken  string // of the padding section, "" without
}

// file is a tokenizer.json.
type file struct {
	Version       string
	Truncation    json.RawMessage
	Padding       json.RawMessage
	AddedTokens   []AddedToken `json:"added_tokens"`
	Normalizer    json.RawMessage
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage
	Model         json.RawMessage
}

// maxValues bounds the commas of a tokenizer.json, and with them the tokens and
// merges, each of which becomes about 200 bytes. Gemma's has 1.4 million.
const maxValues = 1_600_000

// Parse reads a tokenizer.json. Parts that are not supported are an error that
// names them.
func Parse(data []byte) (*Tokenizer, error) {
	if n := bytes.Count(data, []byte{','}); n > maxValues {
		return nil, fmt.Errorf("%d values, at most %d expected", n, maxValues)
	}
	var f file
	if err := strictjson.Exact(data, &f); err != nil {
		return nil, err
	}
	if f.Model == nil {
		return nil, errors.New("no model")
	}
	t := &Tokenizer{}
	var err error
	if t.normalize, err = parseNormalizer(f.Normalizer); err != nil {
		return nil, err
	}
	if t.split, err = parsePreTokenizer(f.PreTokenizer); err != nil {
		return nil, err
	}
	if t.template, err = parseProcessor(f.PostProcessor); err != nil {
		return nil, err
	}
	if t.decoder, err = parseDecoder(f.Decoder); err != nil {
		return nil, err
	}
	if t.model, err = parseModel(f.Model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if t.padToken, err = parsePadding(f.Padding); err != nil {
		return nil, err
	}
	if t.added, err = newAdded(f.AddedTokens, t.model, t.normalize); err != nil {
		return nil, err
	}
	if bytes.Contains(f.Normalizer, []byte(`"Precompiled"`)) {
		t.added.leastLead = 1 // the library loses count of a character that it drops at the start
	}
	for _, id := range slices.Concat(t.Prefix(), t.Suffix()) {
		if _, ok := t.Token(id); !ok {
			return nil, fmt.Errorf("post_processor: id %d is no token", id)
		}
	}
	return t, nil
}

// Encode returns the ids of a text, without special tokens around them. text
// must be UTF-8.
func (t *Tokenizer) Encode(text string) []int32 {
	var ids []int32
	for _, p := range t.added.extract(text, t.normalize) {
		if p.id != subword.None {
			ids = append(ids, p.id)
			continue
		}
		pieces := []piece{p.piece}
		if t.split != nil {
			pieces = t.split(pieces)
		}
		for _, p := range pieces {
			if p.text != "" {
				ids = t.model.encode(ids, p.text)
			}
		}
	}
	return ids
}

// Decode returns the text of ids, special tokens spelled out; every id must be a
// token.
func (t *Tokenizer) Decode(ids []int32) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		token, ok := t.added.normalForms[id]
		if !ok {
			token, _ = t.Token(id)
		}
		tokens = append(tokens, token)
	}
	return strings.Join(t.decoder(tokens), "")
}

// Prefix returns the special tokens before a text.
func (t *Tokenizer) Prefix() []int32 { return t.template.prefix }

// Suffix returns the special tokens after a text.
func (t *Tokenizer) Suffix() []int32 { return t.template.suffix }

// PadToken is the token that the file itself pads with, or "".
func (t *Tokenizer) PadToken() string { return t.padToken }

// Find returns the id of a token.
func (t *Tokenizer) Find(token string) (int32, bool) {
	for id, a := range t.added.tokens {
		if a.Content == token {
			return id, true
		}
	}
	return t.model.find(token)
}

// Token returns a token by id.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if a, ok := t.added.tokens[id]; ok {
		return a.Content, true
	}
	return t.model.token(id)
}

// VocabSize returns the highest id and one.
func (t *Tokenizer) VocabSize() int {
	size := t.model.size()
	for id := range t.added.tokens {
		size = max(size, int(id)+1)
	}
	return size
}

// parsePadding returns the token of a padding section; how far to pad is for the
// caller to say.
func parsePadding(data json.RawMessage) (string, error) {
	var c *struct {
		PadToken string `json:"pad_token"`
	}
	if len(data) == 0 {
		return "", nil
	}
	if err := strictjson.Unmarshal(data, &c); err != nil || c == nil {
		return "", err
	}
	return c.PadToken, nil
}

// kindOf returns the type of a part, "" for null.
func kindOf(data json.RawMessage) (string, error) {
	if len(data) == 0 || string(data) == "null" {
		return "", nil
	}
	var c struct{ Type *string }
	if err := strictjson.Unmarshal(data, &c); err != nil {
		return "", err
	}
	if c.Type == nil {
		return "", errors.New("a part without a type")
	}
	return *c.Type, nil
}

// strict decodes a part, whose type is known, refusing options that dst does not have.
func strict(data json.RawMessage, dst any) error {
	var c map[string]json.RawMessage
	if err := strictjson.Unmarshal(data, &c); err != nil {
		return err
	}
	kind := string(c["type"])
	delete(c, "type")
	rest, err := json.Marshal(c)
	if err == nil {
		err = strictjson.Exact(rest, dst)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Trim(kind, `"`), err)
	}
	return nil
}

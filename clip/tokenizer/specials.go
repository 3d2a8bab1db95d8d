package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/hf"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// specials is what a folder's files and the tokenizer's class say about special
// tokens.
type specials struct {
	class  string            // without Tokenizer and Fast
	tokens map[string]string // bos_token, eos_token, sep_token, cls_token, pad_token, unk_token, mask_token
	config tokenizerConfig
	named  map[string]bool         // those that a file names
	given  map[string]specialToken // those that a file describes, by content

	additional []specialToken // additional_special_tokens
	added      []specialToken // of added_tokens_decoder or added_tokens.json, by id
}

// tokenizerConfig is what ids depend on of a tokenizer_config.json.
type tokenizerConfig struct {
	Class          string `json:"tokenizer_class"`
	AddBOS         *bool  `json:"add_bos_token"`
	AddEOS         *bool  `json:"add_eos_token"`
	SrcLang        string `json:"src_lang"`
	Legacy         bool   `json:"legacy_behaviour"`
	LowerCase      *bool  `json:"do_lower_case"`
	StripAccents   *bool  `json:"strip_accents"`
	CJK            *bool  `json:"tokenize_chinese_chars"`
	TruncationSide string `json:"truncation_side"`
	ExtraIDs       *int   `json:"extra_ids"` // of T5; 100 when nil
}

// specialToken is a token by itself or as the content of an AddedToken.
type specialToken struct {
	Content    string
	SingleWord bool `json:"single_word"`
	LStrip     bool `json:"lstrip"`
	RStrip     bool `json:"rstrip"`
	Normalized bool `json:"normalized"`
	Special    bool `json:"special"`

	described bool // as an AddedToken
}

func (t *specialToken) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &t.Content) == nil {
		return nil
	}
	type fields specialToken
	var added *fields
	if err := json.Unmarshal(data, &added); err != nil {
		return errors.New("a special token is neither a string nor has content")
	}
	if added != nil {
		*t = specialToken(*added)
		t.described = true
	}
	return nil
}

var specialKeys = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

func readSpecials(fsys fs.FS, name string) (*specials, error) {
	s := &specials{tokens: map[string]string{}, named: map[string]bool{}, given: map[string]specialToken{}}
	for _, file := range []string{addedFile, specialsFile, configFile} {
		data, found, err := readFile(fsys, file, maxModelSize)
		if err == nil && found {
			if err = s.read(file, data); err != nil {
				err = unusable(file, err)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return s, s.findClass(fsys, name)
}

// read adds what a file says.
func (s *specials) read(file string, data []byte) error {
	if file == addedFile {
		return s.readAdded(data)
	}
	var keys map[string]json.RawMessage
	if err := strictjson.Unmarshal(data, &keys); err != nil {
		return err
	}
	for _, key := range specialKeys {
		var token *specialToken
		if raw, ok := keys[key]; ok {
			if err := strictjson.Unmarshal(raw, &token); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		if token == nil {
			continue
		}
		s.tokens[key], s.named[key] = token.Content, true
		if token.described {
			token.Special = true
			s.given[token.Content] = *token
		}
	}
	if raw, ok := keys["additional_special_tokens"]; ok && string(raw) != "null" {
		s.additional = nil
		if err := strictjson.Unmarshal(raw, &s.additional); err != nil {
			return fmt.Errorf("additional_special_tokens: %w", err)
		}
	}
	if file != configFile {
		return nil
	}
	if raw, ok := keys["added_tokens_decoder"]; ok && string(raw) != "null" {
		if err := s.readDecoder(raw); err != nil {
			return fmt.Errorf("added_tokens_decoder: %w", err)
		}
	}
	return strictjson.Unmarshal(data, &s.config)
}

// readAdded reads an added_tokens.json, which maps tokens to ids.
func (s *specials) readAdded(data []byte) error {
	ids, err := strictjson.Numbers[int32](data)
	if err != nil {
		return strictjson.At(addedFile, data, err)
	}
	tokens := slices.SortedFunc(maps.Keys(ids), func(a, b string) int { return int(ids[a]) - int(ids[b]) })
	for _, token := range tokens {
		s.added = append(s.added, specialToken{Content: token, Normalized: true})
	}
	return nil
}

// readDecoder reads an added_tokens_decoder, which maps ids to tokens.
func (s *specials) readDecoder(data []byte) error {
	var decoder map[int32]specialToken
	if err := strictjson.Unmarshal(data, &decoder); err != nil {
		return err
	}
	s.added = nil
	for _, id := range slices.Sorted(maps.Keys(decoder)) {
		s.added = append(s.added, decoder[id])
		s.given[decoder[id].Content] = decoder[id]
	}
	return nil
}

// list returns the added tokens, without ids, in the order in which transformers adds
// them: those of the files that list them, then those that have a part to play. What a
// file describes is as it says, what it only names as the class has it.
func (s *specials) list() (tokens []hf.AddedToken) {
	all, byClass := slices.Clone(s.added), map[string]specialToken{}
	for _, t := range s.playing() {
		all, byClass[t.Content] = append(all, t), t
	}
	for _, t := range all {
		if given, ok := s.given[t.Content]; ok {
			t = given
		} else if class, ok := byClass[t.Content]; ok {
			t = class
		}
		tokens = append(tokens, hf.AddedToken{Content: t.Content, SingleWord: t.SingleWord, LStrip: t.LStrip, RStrip: t.RStrip, Normalized: t.Normalized, Special: t.Special})
	}
	return tokens
}

// playing are the tokens of specialKeys, the languages of the class and the additional
// special tokens.
func (s *specials) playing() (all []specialToken) {
	for _, key := range specialKeys {
		if token := s.tokens[key]; token != "" {
			mask := key == "mask_token"
			all = append(all, specialToken{Content: token, Special: true, LStrip: mask && (s.class == "Roberta" || s.class == "Nllb"), Normalized: mask && s.class == "Nllb"})
		}
	}
	if s.class == "Nllb" {
		for _, language := range strings.Fields(nllbLanguages) {
			all = append(all, specialToken{Content: language, Special: true})
		}
	}
	for _, t := range s.additional {
		t.Special = true
		all = append(all, t)
	}
	return all
}

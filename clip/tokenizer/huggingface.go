package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/hf"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// HuggingFace says which of Hugging Face's tokenizers a folder holds and how
// open_clip's HFTokenizer uses it.
type HuggingFace struct {
	Name          string // hf_tokenizer_name; tells the class where no file does
	Clean         Clean  // CleanWhitespace when empty
	StripSepToken bool   // the separator becomes padding (CLIPA)
	Mode          string // tokenizer_mode: "" or "clips"
}

// The names of files beside a model.
const (
	tokenizerFile = "tokenizer.json"
	configFile    = "tokenizer_config.json"
	modelFile     = "config.json"
	specialsFile  = "special_tokens_map.json"
	wordsFile     = "vocab.txt"
)

// modelFiles are the names that sentencepiece models have.
var modelFiles = []string{"spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "sentencepiece.model"}

// LoadHuggingFace returns the tokenizer whose files lie at the root of fsys: a
// tokenizer.json or, where there is none, BERT's vocab.txt, a vocab.json with
// merges.txt, or a sentencepiece model, with the special tokens of
// tokenizer_config.json and special_tokens_map.json. Rows are padded at their
// ends, as open_clip does.
//
// Errors are those of [Load].
func LoadHuggingFace(fsys fs.FS, o HuggingFace) (t *Tokenizer, err error) {
	defer guard.Catch(&err)
	s, err := readSpecials(fsys, o.Name)
	if err != nil {
		return nil, err
	}
	data, found, err := readFile(fsys, tokenizerFile, maxTokenizerSize)
	if err != nil {
		return nil, err
	}
	if found {
		t, err = parseTokenizerJSON(tokenizerFile, data, s)
	} else {
		t, err = loadSlow(fsys, s)
	}
	if err != nil {
		return nil, err
	}
	if err := t.setSpecials(s, o); err != nil {
		return nil, err
	}
	if o.Clean == "" {
		o.Clean = CleanWhitespace
	}
	if _, own := t.coder.(*vocabulary); own && o.Clean == CleanWhitespace {
		o.Clean = CleanLower // as CLIPTokenizer does by itself
	} else if s.class == "Siglip" {
		o.Clean = CleanCanonicalize // as SiglipTokenizer does by itself
	}
	return t.WithClean(o.Clean)
}

// parseTokenizerJSON reads a tokenizer.json, which may be made from another file.
func parseTokenizerJSON(file string, data []byte, s *specials) (*Tokenizer, error) {
	p, err := guarded(hf.Parse, data)
	if err != nil {
		return nil, unusable(file, err)
	}
	t := &Tokenizer{coder: p, file: file, row: layout{prefix: p.Prefix(), suffix: p.Suffix()}}
	if s.tokens["pad_token"] == "" {
		s.tokens["pad_token"] = p.PadToken()
	}
	return t, s.replaceTemplate(t)
}

// guarded parses a file. A panic of the parser becomes an error.
func guarded[T any](parse func([]byte) (T, error), data []byte) (t T, err error) {
	defer guard.Catch(&err)
	return parse(data)
}

// unusable is an error about a file that wraps ErrVocabulary.
func unusable(file string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrVocabulary, file, err)
}

// loadSlow looks for the files that Hugging Face's tokenizers had before
// tokenizer.json.
func loadSlow(fsys fs.FS, s *specials) (*Tokenizer, error) {
	words, found, err := readFile(fsys, wordsFile, maxVocabSize)
	if err != nil {
		return nil, err
	}
	if found {
		return loadWords(words, s)
	}
	for _, name := range modelFiles {
		data, found, err := readFile(fsys, name, maxModelSize)
		if err != nil {
			return nil, err
		}
		if found {
			return loadModel(name, data, s)
		}
	}
	if s.class == "Roberta" || s.class == "GPT2" {
		return loadByteLevel(fsys, s)
	}
	t, err := Load(fsys) // a vocab.json in CLIP's format
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("tokenizer: no %s, %s, %s or sentencepiece model: %w", tokenizerFile, wordsFile, vocabFile, fs.ErrNotExist)
	}
	return t, err
}

// specials is what a folder's files and the tokenizer's class say about special
// tokens.
type specials struct {
	class  string            // without Tokenizer and Fast
	tokens map[string]string // bos_token, eos_token, sep_token, cls_token, pad_token, unk_token, mask_token
	config tokenizerConfig
	named  map[string]bool // those that a file names

	additional json.RawMessage // additional_special_tokens, a list; nil without
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
type specialToken string

func (t *specialToken) UnmarshalJSON(data []byte) error {
	var added *struct{ Content string }
	if json.Unmarshal(data, (*string)(t)) == nil {
		return nil
	}
	if err := json.Unmarshal(data, &added); err != nil {
		return errors.New("a special token is neither a string nor has content")
	}
	*t = specialToken(added.Content)
	return nil
}

var specialKeys = []string{"bos_token", "eos_token", "sep_token", "cls_token", "pad_token", "unk_token", "mask_token"}

func readSpecials(fsys fs.FS, name string) (*specials, error) {
	s := &specials{tokens: map[string]string{}, named: map[string]bool{}}
	for _, file := range []string{specialsFile, configFile} {
		data, found, err := readFile(fsys, file, maxModelSize)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		var keys map[string]json.RawMessage
		if err := strictjson.Unmarshal(data, &keys); err != nil {
			return nil, unusable(file, err)
		}
		for _, key := range specialKeys {
			var token *specialToken
			if raw, ok := keys[key]; ok {
				if err := strictjson.Unmarshal(raw, &token); err != nil {
					return nil, unusable(file, fmt.Errorf("%s: %w", key, err))
				}
			}
			if token != nil {
				s.tokens[key], s.named[key] = string(*token), true
			}
		}
		if raw, ok := keys["additional_special_tokens"]; ok && string(raw) != "null" {
			s.additional = raw
		}
		if file != configFile {
			continue
		}
		if err := strictjson.Unmarshal(data, &s.config); err != nil {
			return nil, unusable(file, err)
		}
	}
	return s, s.findClass(fsys, name)
}

// setSpecials finds the special tokens' ids and lays out the rows.
func (t *Tokenizer) setSpecials(s *specials, o HuggingFace) error {
	ids, err := t.specialIDs(s)
	if err != nil {
		return err
	}
	first := func(keys ...string) int32 {
		for _, key := range keys {
			if id, ok := ids[key]; ok {
				return id
			}
		}
		return none
	}
	r := &t.row
	if _, own := t.coder.(*vocabulary); own { // CLIP's, whose layout is known
		r.pad = max(0, first("pad_token"))
	} else {
		r.pad, r.sep, r.last = first("pad_token"), none, none
		r.sot, r.eot = first("bos_token", "cls_token"), first("eos_token", "sep_token")
	}
	r.keepEnd = s.config.TruncationSide == "left"
	if r.pad == none {
		return unusable(t.file, fmt.Errorf("no pad_token is named in %s or %s", configFile, specialsFile))
	}
	if o.StripSepToken {
		if r.sep = first("sep_token"); r.sep == none {
			return unusable(t.file, fmt.Errorf("strip_sep_token, but no sep_token is named in %s or %s", configFile, specialsFile))
		}
	}
	switch o.Mode {
	case "":
		return nil
	case "clips":
		bos, eos, cls := first("bos_token"), first("eos_token"), first("cls_token")
		if slices.Contains([]int32{bos, eos, cls}, none) {
			return unusable(t.file, errors.New("tokenizer_mode clips wants a bos_token, an eos_token and a cls_token"))
		}
		r.prefix, r.suffix, r.last, r.sep, r.keepEnd = []int32{bos}, []int32{eos}, cls, none, false
		return nil
	}
	return fmt.Errorf("tokenizer: tokenizer_mode %q is not supported", o.Mode)
}

// specialIDs returns the ids of the special tokens by their keys. What a file
// names must be there, what a class names may be missing.
func (t *Tokenizer) specialIDs(s *specials) (map[string]int32, error) {
	ids := map[string]int32{}
	for _, key := range specialKeys {
		token := s.tokens[key]
		if token == "" {
			continue
		}
		id, ok := t.coder.Find(token)
		switch {
		case ok:
			ids[key] = id
		case s.named[key] && key != "unk_token" && key != "mask_token":
			return nil, unusable(t.file, fmt.Errorf("no token %q, the %s of %s", token, key, configFile))
		}
	}
	return ids, nil
}

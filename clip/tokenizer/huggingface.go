package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/hf"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
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
	addedFile     = "added_tokens.json"
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
	t := &Tokenizer{coder: p, file: file, frame: frame{prefix: p.Prefix(), suffix: p.Suffix()}}
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
	r := &t.frame
	if _, own := t.coder.(*vocabulary); own { // CLIP's, whose frame is known
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
		t.language = ""
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

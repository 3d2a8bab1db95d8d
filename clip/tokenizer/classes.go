package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/hf"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/sentencepiece"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// classTokens are the special tokens of the classes of Hugging Face's
// transformers where no file names others.
var classTokens = map[string]map[string]string{
	"Bert":       {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"},
	"Roberta":    robertaTokens,
	"XLMRoberta": robertaTokens,
	"Nllb":       robertaTokens,
	"T5":         t5Tokens,
	"MT5":        t5Tokens,
	"Siglip":     {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"},
	"Gemma":      {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
	"Llama":      {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
}

var (
	robertaTokens = map[string]string{"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>",
		"pad_token": "<pad>", "mask_token": "<mask>"}
	t5Tokens = map[string]string{"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
)

// classNames are the classes of tokenizers whose names have a part, the most
// special first.
var classNames = []struct{ part, class string }{
	{"xlm-roberta", "XLMRoberta"}, {"xlm-v", "XLMRoberta"}, {"roberta", "Roberta"}, {"nllb", "Nllb"}, {"mt5", "MT5"},
	{"t5", "T5"}, {"gemma", "Gemma"}, {"modernbert", ""}, {"bert", "Bert"},
}

// modelClasses are the classes of tokenizers by a config.json's model_type, as in
// transformers' AutoTokenizer.
var modelClasses = map[string]string{
	"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "xlm-roberta-xl": "XLMRoberta", "mt5": "MT5", "t5": "T5",
	"gemma": "Gemma", "gpt2": "GPT2", "modernbert": "",
}

// findClass takes the class from tokenizer_config.json or else from the model's
// config.json or from the name, and adds its tokens.
func (s *specials) findClass(fsys fs.FS, name string) error {
	var model struct {
		Class string `json:"tokenizer_class"`
		Type  string `json:"model_type"`
	}
	if s.config.Class == "" {
		data, found, err := readFile(fsys, modelFile, maxModelSize)
		if err == nil && found {
			if err = strictjson.Unmarshal(data, &model); err != nil {
				err = unusable(modelFile, err)
			}
		}
		if err != nil {
			return err
		}
		s.config.Class = model.Class
	}
	class, known := modelClasses[model.Type]
	switch {
	case s.config.Class != "":
		s.class = strings.TrimSuffix(strings.TrimSuffix(s.config.Class, "Fast"), "Tokenizer")
	case known:
		s.class = class
	default:
		for _, c := range classNames {
			if strings.Contains(strings.ToLower(name), c.part) {
				s.class = c.class
				break
			}
		}
	}
	for key, token := range classTokens[s.class] {
		if !s.named[key] {
			s.tokens[key] = token
		}
	}
	return nil
}

// template returns the special tokens that the class itself puts around a text,
// ok if it does.
func (s *specials) template() (prefix, suffix []string, ok bool) {
	switch s.class {
	case "Gemma", "Llama":
		if s.config.AddBOS == nil || *s.config.AddBOS {
			prefix = []string{s.tokens["bos_token"]}
		}
		if s.config.AddEOS != nil && *s.config.AddEOS {
			suffix = []string{s.tokens["eos_token"]}
		}
		return prefix, suffix, true
	case "Nllb":
		language, eos := s.language(), s.tokens["eos_token"]
		if s.config.Legacy {
			return nil, []string{eos, language}, true
		}
		return []string{language}, []string{eos}, true
	}
	return nil, nil, false
}

// language is what texts are in to the class, empty where it does not matter.
func (s *specials) language() string {
	switch {
	case s.class != "Nllb":
		return ""
	case s.config.SrcLang == "":
		return "eng_Latn"
	}
	return s.config.SrcLang
}

// replaceTemplate puts the class's special tokens in place of the file's.
func (s *specials) replaceTemplate(t *Tokenizer) error {
	prefix, suffix, ok := s.template()
	if !ok {
		return nil
	}
	t.language = s.language()
	return t.setTemplate(prefix, suffix)
}

func (t *Tokenizer) setTemplate(prefix, suffix []string) error {
	t.frame.prefix, t.frame.suffix = nil, nil
	for _, side := range []struct {
		tokens []string
		ids    *[]int32
	}{{prefix, &t.frame.prefix}, {suffix, &t.frame.suffix}} {
		for _, token := range side.tokens {
			id, ok := t.coder.Find(token)
			if !ok {
				return unusable(t.file, fmt.Errorf("no token %q, which starts or ends a text", token))
			}
			*side.ids = append(*side.ids, id)
		}
	}
	return nil
}

// loadWords reads BERT's vocab.txt, a token a line.
func loadWords(data []byte, s *specials) (*Tokenizer, error) {
	if s.class != "Bert" {
		return nil, unusable(wordsFile, fmt.Errorf("the class of the tokenizer is %q, want BertTokenizer", s.class))
	}
	if n := bytes.Count(data, []byte{'\n'}); n > maxLines {
		return nil, unusable(wordsFile, fmt.Errorf("%d lines, at most %d expected", n, maxLines))
	}
	vocab := map[string]int{}
	for id, line := range strings.Split(strings.TrimRight(string(data), "\r\n"), "\n") {
		vocab[strings.TrimRight(line, " \t\r")] = id
	}
	lower := s.config.LowerCase == nil || *s.config.LowerCase
	for _, key := range []string{"cls_token", "sep_token", "unk_token"} {
		if _, ok := vocab[s.tokens[key]]; !ok {
			return nil, unusable(wordsFile, fmt.Errorf("no token %q", s.tokens[key]))
		}
	}
	cls, sep := s.tokens["cls_token"], s.tokens["sep_token"]
	return s.fromParts(wordsFile, vocab, map[string]any{
		"normalizer": map[string]any{"type": "BertNormalizer", "clean_text": true, "lowercase": lower,
			"handle_chinese_chars": s.config.CJK == nil || *s.config.CJK, "strip_accents": s.config.StripAccents},
		"pre_tokenizer":  map[string]any{"type": "BertPreTokenizer"},
		"post_processor": map[string]any{"type": "BertProcessing", "cls": []any{cls, vocab[cls]}, "sep": []any{sep, vocab[sep]}},
		"decoder":        map[string]any{"type": "WordPiece", "prefix": "##", "cleanup": true},
		"model":          map[string]any{"type": "WordPiece", "vocab": vocab, "unk_token": s.tokens["unk_token"]},
	})
}

// loadByteLevel reads the vocab.json and merges.txt of GPT-2 and RoBERTa.
func loadByteLevel(fsys fs.FS, s *specials) (*Tokenizer, error) {
	data, found, err := readFile(fsys, vocabFile, maxVocabSize)
	if err == nil && !found {
		err = fmt.Errorf("tokenizer: %s: %w", vocabFile, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	vocab, err := strictjson.Numbers[int](data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, strictjson.At(vocabFile, data, err))
	}
	text, found, err := readFile(fsys, mergesFile, maxVocabSize)
	if err == nil && !found {
		err = fmt.Errorf("%w: %s without %s", ErrVocabulary, vocabFile, mergesFile)
	}
	if err != nil {
		return nil, err
	}
	merges, err := parseMergesFile(text)
	if err != nil {
		return nil, err
	}
	pairs := make([][2]string, len(merges))
	for i, m := range merges {
		pairs[i] = [2]string{m.left, m.right}
	}
	parts := map[string]any{
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false},
		"decoder":       map[string]any{"type": "ByteLevel"},
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": pairs},
	}
	if s.class == "Roberta" {
		cls, sep := s.tokens["cls_token"], s.tokens["sep_token"]
		parts["post_processor"] = map[string]any{"type": "RobertaProcessing", "cls": []any{cls, vocab[cls]}, "sep": []any{sep, vocab[sep]}}
	}
	return s.fromParts(vocabFile+" with "+mergesFile, vocab, parts)
}

// fromParts makes a tokenizer of the parts of a tokenizer.json, to which the
// special tokens are added. Those that are not in the vocab get ids behind it, as
// in transformers.
func (s *specials) fromParts(file string, vocab map[string]int, parts map[string]any) (*Tokenizer, error) {
	list, _ := parts["added_tokens"].([]hf.AddedToken)
	index, next := map[string]int{}, 0
	for i, t := range list {
		index[t.Content] = i
	}
	for _, id := range vocab {
		next = max(next, id+1)
	}
	for _, t := range s.list() {
		if at, ok := index[t.Content]; ok {
			if _, given := s.given[t.Content]; given {
				t.ID = list[at].ID
				list[at] = t
			}
			continue
		}
		id, ok := vocab[t.Content]
		if !ok {
			id = next
			next++
		}
		t.ID = int32(id)
		index[t.Content] = len(list)
		list = append(list, t)
	}
	parts["added_tokens"] = list
	data, err := json.Marshal(parts)
	if err != nil {
		return nil, unusable(file, err)
	}
	return parseTokenizerJSON(file, data, s)
}

// loadModel reads a sentencepiece model, with the special tokens that the
// tokenizer of the class adds.
func loadModel(file string, data []byte, s *specials) (*Tokenizer, error) {
	m, err := guarded(sentencepiece.Parse, data)
	if err != nil {
		return nil, unusable(file, err)
	}
	t := &Tokenizer{coder: m, file: file}
	switch s.class {
	case "T5", "MT5":
		if n := s.config.ExtraIDs; n != nil && *n > maxExtraIDs {
			return nil, unusable(configFile, fmt.Errorf("extra_ids is %d, at most %d are supported", *n, maxExtraIDs))
		}
		if t, err = s.loadUnigram(file, m, s.t5Pieces); err != nil {
			return nil, err
		}
		return t, t.setTemplate(nil, []string{s.tokens["eos_token"]})
	case "XLMRoberta":
		if t, err = s.loadUnigram(file, m, s.xlmRobertaPieces); err != nil {
			return nil, err
		}
		return t, t.setTemplate([]string{s.tokens["cls_token"]}, []string{s.tokens["sep_token"]})
	case "Nllb":
		return s.loadNllb(file, m)
	case "Siglip":
		return t, t.setTemplate(nil, []string{s.tokens["eos_token"]})
	case "Gemma", "Llama":
		return t, s.replaceTemplate(t)
	case "":
		err = fmt.Errorf("the class of the tokenizer is unknown: no tokenizer_class in %s", configFile)
	default:
		err = errors.New("a " + s.class + "Tokenizer from a sentencepiece model is not supported; it wants a " + tokenizerFile)
	}
	return nil, unusable(file, err)
}

// loadUnigram makes a tokenizer of a sentencepiece model as transformers does for
// the classes whose tokenizers are fast ones (models/t5/tokenization_t5.py and
// others). layOut returns the class's own pieces and the id of the unknown one.
// The ids differ from those of sentencepiece: a character without a piece is
// unknown even where the model has byte fallback, and the name of a special token
// within a text becomes that token.
func (s *specials) loadUnigram(file string, m *sentencepiece.Model, layOut func(pieces []sentencepiece.Piece, unk int32) ([]sentencepiece.Piece, int32)) (*Tokenizer, error) {
	pieces, unk, charsMap, ok := m.Unigram()
	if !ok || len(pieces) < 3 {
		return nil, unusable(file, fmt.Errorf("a %sTokenizer wants a unigram model of at least 3 pieces", s.class))
	}
	pieces, unk = layOut(pieces, unk)
	ids := map[string]int{}
	var vocab []any
	var added []hf.AddedToken
	for id, p := range pieces {
		if _, ok := ids[p.Text]; ok {
			return nil, unusable(file, fmt.Errorf("two pieces are %q", p.Text))
		}
		ids[p.Text] = id
		vocab = append(vocab, []any{p.Text, p.Score})
		if p.Control || p.User {
			added = append(added, hf.AddedToken{ID: int32(id), Content: p.Text, Special: p.Control})
		}
	}
	metaspace := map[string]any{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true}
	parts := map[string]any{
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{map[string]any{"type": "WhitespaceSplit"}, metaspace}},
		"decoder":       metaspace,
		"model":         map[string]any{"type": "Unigram", "vocab": vocab, "unk_id": unk, "byte_fallback": false},
		"added_tokens":  added,
	}
	if len(charsMap) > 0 {
		parts["normalizer"] = map[string]any{"type": "Precompiled", "precompiled_charsmap": charsMap} // in base64
	}
	return s.fromParts(file, ids, parts)
}

// maxExtraIDs bounds the tokens for masked spans. T5 has 100.
const maxExtraIDs = 10_000

// t5Pieces appends the tokens that stand for masked spans, the last one first.
func (s *specials) t5Pieces(pieces []sentencepiece.Piece, unk int32) ([]sentencepiece.Piece, int32) {
	n := 100
	if s.config.ExtraIDs != nil {
		n = *s.config.ExtraIDs
	}
	has := map[string]bool{}
	for _, p := range pieces {
		has[p.Text] = true
	}
	for i := n - 1; i >= 0; i-- {
		if span := fmt.Sprintf("<extra_id_%d>", i); !has[span] {
			pieces = append(pieces, sentencepiece.Piece{Text: span, Control: true})
		}
	}
	return pieces, unk
}

// xlmRobertaPieces are fairseq's, with the mask at the end.
func (s *specials) xlmRobertaPieces(pieces []sentencepiece.Piece, _ int32) ([]sentencepiece.Piece, int32) {
	return append(s.fairseqPieces(pieces), sentencepiece.Piece{Text: s.tokens["mask_token"], Control: true}), 3
}

// fairseqPieces puts fairseq's special tokens in place of the first three pieces.
func (s *specials) fairseqPieces(pieces []sentencepiece.Piece) (all []sentencepiece.Piece) {
	for _, key := range []string{"bos_token", "pad_token", "eos_token", "unk_token"} {
		all = append(all, sentencepiece.Piece{Text: s.tokens[key], Control: true})
	}
	return append(all, pieces[3:]...)
}

package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// Tokenizer returns the model's tokenizer: the one beside the weights or, with
// base nil, CLIP's own; nil where the config names another.
func (t *TextConfig) Tokenizer(base *tokenizer.Tokenizer) (*tokenizer.Tokenizer, error) {
	if t.TokenizerName() != "" {
		return base, nil
	}
	if base == nil {
		base = tokenizer.Default()
	}
	clean, _, err := t.clean()
	if err != nil {
		return nil, err
	}
	return base.WithClean(clean)
}

// TokenizerName is that of a tokenizer other than CLIP's, or empty.
func (t *TextConfig) TokenizerName() string {
	if t.TokenizerType != "" {
		return t.TokenizerType
	}
	if t.HFTokenizerName != nil {
		return *t.HFTokenizerName
	}
	return ""
}

// reductionMasks are open_clip's ways to leave tokens out of texts that are too long.
var reductionMasks = []string{"", "simple", "random", "shuffle", "syntax"}

// clean reads the options of CLIP's tokenizer, and refuses those that open_clip's
// SimpleTokenizer does not take. ignored are warnings of those without effect here.
func (t *TextConfig) clean() (clean tokenizer.Clean, ignored []string, err error) {
	kwargs := struct {
		Clean         string `json:"clean" null:"no"`
		ReductionMask string `json:"reduction_mask"`

		AdditionalSpecialTokens []string        `json:"additional_special_tokens"`
		BPEPath                 json.RawMessage `json:"bpe_path"`
	}{Clean: string(tokenizer.CleanLower)}
	if t.TokenizerKwargs != nil {
		err = strictjson.Struct(t.TokenizerKwargs, &kwargs)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrConfig, strictjson.At(kwargsKey, t.TokenizerKwargs, err))
	}
	switch {
	case len(kwargs.AdditionalSpecialTokens) > 0:
		return "", nil, fmt.Errorf("%s.additional_special_tokens is %w", kwargsKey, ErrUnsupported)
	case kwargs.BPEPath != nil:
		return "", nil, fmt.Errorf("%s.bpe_path is %w: put the file beside the weights", kwargsKey, ErrUnsupported)
	}
	if kwargs.ReductionMask != "" {
		ignored = []string{kwargsKey + ".reduction_mask is ignored: texts that are too long are cut at their ends"}
	}
	return tokenizer.Clean(kwargs.Clean), ignored, check.First(checkClean(kwargs.Clean), check.OneOf(kwargsKey+".reduction_mask", kwargs.ReductionMask, reductionMasks...))
}

func checkClean(clean string) error {
	return check.OneOf(kwargsKey+".clean", clean, string(tokenizer.CleanLower), string(tokenizer.CleanCanonicalize),
		string(tokenizer.CleanWhitespace), string(tokenizer.CleanWhitespaceUnderscore))
}

// HuggingFaceTokenizer reads what the config says about a tokenizer of Hugging Face's.
// open_clip's HFTokenizer hands options that it does not know to transformers,
// which drops those that it does not know either. ignored warns of these.
func (t *TextConfig) HuggingFaceTokenizer() (o tokenizer.HuggingFace, ignored []string, err error) {
	kwargs := struct {
		Clean         string `json:"clean" null:"no"`
		StripSepToken bool   `json:"strip_sep_token"`
	}{Clean: string(tokenizer.CleanWhitespace)}
	var unknown []string
	if t.TokenizerKwargs != nil {
		unknown, err = strictjson.Known(t.TokenizerKwargs, &kwargs)
	}
	if err != nil {
		return o, nil, fmt.Errorf("%w: %w", ErrConfig, strictjson.At(kwargsKey, t.TokenizerKwargs, err))
	}
	for _, key := range unknown {
		if slices.Contains(transformersOptions, key) {
			return o, nil, fmt.Errorf("%s.%s is %w; supported are clean and strip_sep_token", kwargsKey, key, ErrUnsupported)
		}
	}
	o = tokenizer.HuggingFace{Name: t.TokenizerName(), Clean: tokenizer.Clean(kwargs.Clean), StripSepToken: kwargs.StripSepToken}
	if t.TokenizerMode != nil {
		o.Mode = *t.TokenizerMode
	}
	return o, check.Ignored(kwargsKey, unknown), check.First(checkClean(kwargs.Clean), check.OneOf("text_cfg.tokenizer_mode", o.Mode, "", "clips"))
}

// TiktokenType is the tokenizer_type of OpenAI's encodings.
const TiktokenType = "tiktoken"

// Tiktoken reads what the config says about an encoding. open_clip's get_tokenizer
// drops the options that it does not know. ignored warns of these.
func (t *TextConfig) Tiktoken() (o tokenizer.Tiktoken, ignored []string, err error) {
	kwargs := struct {
		Clean  string `json:"clean"`
		AddBOS bool   `json:"add_bos"`
		AddEOS bool   `json:"add_eos"`
	}{AddBOS: true, AddEOS: true}
	var unknown []string
	if t.TokenizerKwargs != nil {
		unknown, err = strictjson.Known(t.TokenizerKwargs, &kwargs)
	}
	if err != nil {
		return o, nil, fmt.Errorf("%w: %w", ErrConfig, strictjson.At(kwargsKey, t.TokenizerKwargs, err))
	}
	o = tokenizer.Tiktoken{Name: t.TiktokenName, Clean: tokenizer.Clean(kwargs.Clean), NoBOS: !kwargs.AddBOS, NoEOS: !kwargs.AddEOS}
	if kwargs.Clean != "" {
		err = checkClean(kwargs.Clean)
	}
	return o, check.Ignored(kwargsKey, unknown), err
}

const kwargsKey = "text_cfg.tokenizer_kwargs"

// transformersOptions are refused: they would change the ids of transformers'
// tokenizers, or which tokenizer is taken.
var transformersOptions = []string{
	"add_bos_token", "add_eos_token", "add_prefix_space", "additional_special_tokens", "bos_token", "cls_token", "do_lower_case", "eos_token",
	"extra_ids", "from_slow", "legacy", "legacy_behaviour", "mask_token", "merges_file", "pad_token", "padding_side", "revision", "sep_token", "src_lang",
	"strip_accents", "subfolder", "tokenize_chinese_chars", "tokenizer_file", "tokenizer_type", "truncation_side", "unk_token", "use_fast", "vocab_file",
}

// CheckTokenizer validates the options of the tokenizer that the config names.
// ignored are warnings of options without effect.
func (t *TextConfig) CheckTokenizer() (ignored []string, err error) {
	switch {
	case t.TokenizerType == TiktokenType:
		_, ignored, err = t.Tiktoken()
	case t.TokenizerType != "": // not supported; its options do not matter
	case t.TokenizerName() != "":
		_, ignored, err = t.HuggingFaceTokenizer()
	default:
		_, ignored, err = t.clean()
	}
	return ignored, err
}

// CheckEOS refuses a tokenizer of a modern text tower that ends texts by another id than
// the one that the tower pools at (_validate_special_tokens of open_clip's factory.py).
func (t *TextConfig) CheckEOS(tokens *tokenizer.Tokenizer) error {
	pools := t.TextArch == "modern" && t.EosID != nil && slices.Contains([]string{"argmax", "eos"}, t.PoolType)
	if end := tokens.EOT(); pools && end >= 0 && int(end) != *t.EosID {
		return fmt.Errorf("%w: text_cfg.eos_id is %d, but the tokenizer ends texts with %d", ErrConfig, *t.EosID, end)
	}
	return nil
}

// HubTokenizer is the name of a tokenizer of Hugging Face's, which is that of its
// repository on the hub; empty where the config asks for none.
func (t *TextConfig) HubTokenizer() string {
	if t.TokenizerType != "" {
		return ""
	}
	return t.TokenizerName()
}

// NoTokenizer says why a model has no tokenizer here.
func (t *TextConfig) NoTokenizer() error {
	missing := ""
	switch t.TokenizerType {
	case "":
		missing = " without its files (tokenizer.json or the like) beside the weights"
	case TiktokenType:
		missing = " without its file (" + cmp.Or(t.TiktokenName, "cl100k_base") + ".tiktoken) beside the weights"
	}
	return fmt.Errorf("the model's tokenizer %q is %w%s", t.TokenizerName(), ErrUnsupported, missing)
}

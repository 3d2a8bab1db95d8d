package clip

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
)

// tokenizer returns the model's tokenizer: the one beside the weights or, with
// base nil, CLIP's own; nil where the config names another.
func (t *TextConfig) tokenizer(base *tokenizer.Tokenizer) (*tokenizer.Tokenizer, error) {
	if t.tokenizerName() != "" {
		return base, nil
	}
	if base == nil {
		base = tokenizer.Default()
	}
	clean, err := t.clean()
	if err != nil {
		return nil, err
	}
	return base.WithClean(clean)
}

// tokenizerName is that of a tokenizer other than CLIP's, or empty.
func (t *TextConfig) tokenizerName() string {
	if t.TokenizerType != "" {
		return t.TokenizerType
	}
	if t.HFTokenizerName != nil {
		return *t.HFTokenizerName
	}
	return ""
}

// clean reads tokenizer_kwargs, of which CLIP's tokenizer takes the cleaning of
// the text.
func (t *TextConfig) clean() (tokenizer.Clean, error) {
	kwargs := struct {
		Clean string `json:"clean"`
	}{string(tokenizer.CleanLower)}
	if t.TokenizerKwargs == nil {
		return tokenizer.CleanLower, nil
	}
	if err := decodeStrict(t.TokenizerKwargs, &kwargs); err != nil {
		return "", fmt.Errorf("%w: text_cfg.tokenizer_kwargs: %w", ErrConfig, err)
	}
	return tokenizer.Clean(kwargs.Clean), checkClean(kwargs.Clean)
}

func checkClean(clean string) error {
	return oneOf("text_cfg.tokenizer_kwargs.clean", clean, string(tokenizer.CleanLower), string(tokenizer.CleanCanonicalize),
		string(tokenizer.CleanWhitespace), string(tokenizer.CleanWhitespaceUnderscore))
}

// huggingFace reads what the config says about a tokenizer of Hugging Face's.
func (t *TextConfig) huggingFace() (o tokenizer.HuggingFace, err error) {
	kwargs := struct {
		Clean         string `json:"clean"`
		StripSepToken bool   `json:"strip_sep_token"`
	}{Clean: string(tokenizer.CleanWhitespace)}
	if t.TokenizerKwargs != nil {
		if err := decodeStrict(t.TokenizerKwargs, &kwargs); err != nil {
			return o, fmt.Errorf("%w: text_cfg.tokenizer_kwargs: %w", ErrConfig, err)
		}
	}
	o = tokenizer.HuggingFace{Name: t.tokenizerName(), Clean: tokenizer.Clean(kwargs.Clean), StripSepToken: kwargs.StripSepToken}
	if t.TokenizerMode != nil {
		o.Mode = *t.TokenizerMode
	}
	return o, firstError(checkClean(kwargs.Clean), oneOf("text_cfg.tokenizer_mode", o.Mode, "", "clips"))
}

// checkTokenizer validates the options of the tokenizer that the config names.
func (t *TextConfig) checkTokenizer() (err error) {
	switch {
	case t.TokenizerType != "": // not supported; its options do not matter
	case t.tokenizerName() != "":
		_, err = t.huggingFace()
	default:
		_, err = t.clean()
	}
	return err
}

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
	if t.HFTokenizerName != nil && *t.HFTokenizerName != "" {
		return *t.HFTokenizerName
	}
	return t.TokenizerType
}

// clean reads tokenizer_kwargs, of which CLIP's tokenizer takes the cleaning of
// the text. Those of other tokenizers are not looked at.
func (t *TextConfig) clean() (tokenizer.Clean, error) {
	kwargs := struct {
		Clean string `json:"clean"`
	}{string(tokenizer.CleanLower)}
	if t.TokenizerKwargs == nil || t.tokenizerName() != "" {
		return tokenizer.CleanLower, nil
	}
	if err := decodeStrict(t.TokenizerKwargs, &kwargs); err != nil {
		return "", fmt.Errorf("%w: text_cfg.tokenizer_kwargs: %w", ErrConfig, err)
	}
	return tokenizer.Clean(kwargs.Clean), oneOf("text_cfg.tokenizer_kwargs.clean", kwargs.Clean, string(tokenizer.CleanLower),
		string(tokenizer.CleanCanonicalize), string(tokenizer.CleanWhitespace), string(tokenizer.CleanWhitespaceUnderscore))
}

package main

import (
	"context"
	"iter"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// prepared is an input made ready for the model, or why it cannot be.
type prepared struct {
	input
	tokens tokenizer.Row // of a text
}

// prepare lets work make an input ready. A panic of work is the input's error.
func prepare(in input, work func(p *prepared) error) (p prepared) {
	p.input = in
	if p.err == nil {
		defer guard.Catch(&p.err)
		p.err = work(&p)
	}
	return p
}

// tokenizeEach yields the token ids of inputs, rows of contextLength, in order.
// It ends early when ctx is done.
func tokenizeEach(ctx context.Context, t *tokenizer.Tokenizer, contextLength int, inputs []input) iter.Seq[prepared] {
	return func(yield func(prepared) bool) {
		for _, in := range inputs {
			if ctx.Err() != nil || !yield(prepare(in, func(p *prepared) error { return tokenizeText(p, t, contextLength) })) {
				return
			}
		}
	}
}

// tokenizeText is a variable for a test that plants a tokenizer which panics.
var tokenizeText = func(p *prepared, t *tokenizer.Tokenizer, contextLength int) (err error) {
	p.tokens, err = t.Row(p.id, contextLength)
	return err
}

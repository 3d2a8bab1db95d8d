package main

import (
	"context"
	"iter"
	"runtime"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// prepared is an input made ready for the model, or why it cannot be.
type prepared struct {
	input
	pixels []float32     // of an image [3, height, width], normalised
	turned bool          // the image is stored turned and was not made upright
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

// decodeAhead yields the images of inputs in order, while others, up to ahead
// of them, are being decoded on all cores. It ends early when ctx is done.
func decodeAhead(ctx context.Context, t *preprocess.Transform, inputs []input, ahead int, opts ...preprocess.Option) iter.Seq[prepared] {
	return func(yield func(prepared) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		queue := make(chan chan prepared, ahead)
		go func() {
			defer close(queue)
			cores := make(chan struct{}, runtime.GOMAXPROCS(0))
			for _, in := range inputs {
				turn := make(chan prepared, 1)
				select {
				case queue <- turn:
				case <-ctx.Done():
					return
				}
				cores <- struct{}{}
				go func() {
					turn <- prepare(in, func(p *prepared) error { return decodeImage(p, t, opts) })
					<-cores
				}()
			}
		}()
		for turn := range queue {
			select {
			case p := <-turn:
				if !yield(p) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// decodeFile is a variable for a test that plants a decoder which panics.
var decodeFile = preprocess.DecodeFile

func decodeImage(p *prepared, t *preprocess.Transform, opts []preprocess.Option) error {
	img, err := decodeFile(p.id, opts...)
	if err != nil {
		return err
	}
	p.turned = img.Turned()
	p.pixels, err = t.Apply(img)
	return err
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

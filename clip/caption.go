package clip

import (
	"context"
	"fmt"
	"image"
	"iter"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/generation"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// CaptionOptions say how captions are written: generation.Default is open_clip's way.
type CaptionOptions struct {
	generation.Options
	Prompt string // what every caption begins with
}

// CaptionedPicture is what became of a picture.
type CaptionedPicture struct {
	Captions []string // NumReturnSequences, the best first in beam search
	Turned   bool     // the image is stored turned and was taken so, see preprocess.WithOrientation
	Err      error    // says why there are none, or is a *NotFiniteError
}

// Caption preprocesses images and writes captions of them, NumReturnSequences of each: what
// Generate gives, as text. A model without a decoder, and a prompt that leaves no room for
// a token, give ErrInput, and so does an image that cannot be preprocessed.
func (m *Model) Caption(ctx context.Context, images []image.Image, o CaptionOptions) (captions []string, err error) {
	pictures := func(yield func(preprocess.Picture) bool) {
		for _, img := range images {
			if !yield(preprocess.GoImage(img)) {
				return
			}
		}
	}
	done := 0
	for p, err := range m.CaptionPictures(ctx, pictures, maxPictures, o) {
		if err != nil {
			return nil, err
		}
		if p.Err != nil {
			return nil, fmt.Errorf("%w: image %d: %w", ErrInput, done, p.Err)
		}
		captions = append(captions, p.Captions...)
		done++
	}
	return captions, nil
}

// CaptionPictures reads, decodes and resizes pictures as EncodePictures does, writes
// captions of them in batches and yields what became of each, in order.
func (m *Model) CaptionPictures(ctx context.Context, pictures iter.Seq[preprocess.Picture], batch int, o CaptionOptions) iter.Seq2[CaptionedPicture, error] {
	return func(yield func(CaptionedPicture, error) bool) {
		prompt, err := m.promptOf(&o)
		if err == nil && batch < 1 {
			err = fmt.Errorf("%w: batches of %d pictures", ErrInput, batch)
		}
		if err != nil {
			yield(CaptionedPicture{}, err)
			return
		}
		e := &pictureEncoder{Model: m, batch: batch}
		e.work = func(ctx context.Context, b *pictureBatch) error { return e.captionBatch(ctx, b, prompt, &o) }
		e.run(ctx, pictures, func(p *picture, err error) bool {
			return yield(CaptionedPicture{p.captions, p.Turned, p.Err}, err)
		})
	}
}

// promptOf checks o and returns the token ids that captions begin with.
func (m *Model) promptOf(o *CaptionOptions) ([]int32, error) {
	if err := m.noDecoder(); err != nil {
		return nil, err
	}
	t := m.Tokenizer()
	if t == nil {
		text := m.Config().TextCfg
		return nil, fmt.Errorf("%w; Generate gives the token ids of captions", text.NoTokenizer())
	}
	m.fillIDs(&o.Options)
	prompt := append([]int32{*o.SotID}, t.Encode(o.Prompt)...)
	if most := o.SeqLen - 1; o.Prompt != "" && len(prompt) > most {
		return nil, fmt.Errorf("%w: the prompt has %d tokens with the start of text, and captions of seq_len %d have room for %d of them", ErrInput, len(prompt), o.SeqLen, most)
	}
	_, _, err := m.prepare(&o.Options, 1, [][]int32{prompt})
	return prompt, err
}

// captionBatch writes captions of b's pictures.
func (e *pictureEncoder) captionBatch(ctx context.Context, b *pictureBatch, prompt []int32, o *CaptionOptions) error {
	tokens, odd, err := e.outputOf(ctx, b, imageTokens)
	if err != nil {
		return err
	}
	good, item := b.good, len(tokens.Data)/len(b.good)
	if odd != nil {
		for _, i := range slices.Backward(odd.Items) {
			good[i].Err = &NotFiniteError{odd.Of, []int{0}, odd.Cause}
			good = slices.Delete(slices.Clone(good), i, i+1)
			tokens.Data = slices.Delete(tokens.Data, i*item, (i+1)*item)
		}
		if tokens.Shape[0] = len(good); len(good) == 0 {
			return nil
		}
	}
	rows, err := e.generateOf(ctx, b.first, tokens, slices.Repeat([][]int32{prompt}, len(good)), &o.Options)
	if err != nil {
		return err
	}
	for i, row := range rows {
		text, err := e.textOf(row, &o.Options)
		if err != nil {
			return err
		}
		p := good[i/o.NumReturnSequences]
		p.captions, p.pixels = append(p.captions, text), nil
	}
	return nil
}

// textOf is what a row says between the start and the end of its text.
func (m *Model) textOf(row []int32, o *generation.Options) (string, error) {
	if i := slices.Index(row, *o.EosID); i >= 0 {
		row = row[:i]
	}
	row = slices.DeleteFunc(slices.Clone(row), func(id int32) bool { return id == *o.SotID })
	text, err := m.Tokenizer().Decode(row)
	return strings.TrimSpace(text), err
}

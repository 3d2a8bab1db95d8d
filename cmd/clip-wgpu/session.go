package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/spf13/cobra"
)

// session is one command at work: its model, and how it meets its inputs.
type session struct {
	*console
	model      *clip.Model
	batch      int
	skipErrors bool
	skipped    int
	turned     int // images stored turned
	zeros      int // inputs whose features are all zero
	truncated  truncatedTexts
}

// withModel loads the model that the flags name and hands it to work.
func withModel(cmd *cobra.Command, g *globals, work func(ctx context.Context, s *session) error) error {
	load := func(ctx context.Context, o []clip.Option) (*clip.Model, error) { return clip.Load(ctx, g.model, o...) }
	return withModelFrom(cmd, g, load, work)
}

// withModelFrom is withModel of what load gives.
func withModelFrom(cmd *cobra.Command, g *globals, load func(context.Context, []clip.Option) (*clip.Model, error), work func(ctx context.Context, s *session) error) error {
	ctx := cmd.Context()
	s := &session{
		console:    newConsole(cmd.ErrOrStderr(), g.quiet),
		batch:      g.batch.or(defaultBatch),
		skipErrors: g.skipErrors,
	}
	s.expectResult()
	defer s.clear()
	defer s.cancelStartNote()
	var err error
	s.model, err = interruptible(ctx, func() (*clip.Model, error) { return load(ctx, g.options(s.batch)) })
	if err != nil {
		return loadHint(g.model, err)
	}
	known := s.model.LoadWarnings()
	s.warn(known)
	err = work(ctx, s)
	all, left := interruptible(ctx, func() ([]string, error) { return s.model.Warnings(), ctx.Err() })
	if left == nil { // else the GPU may be busy for longer than an interrupt should take
		s.warn(all[len(known):])
		s.model.Close()
	}
	return err
}

// warn notes what is odd about the model.
func (s *session) warn(warnings []string) {
	for _, w := range warnings {
		s.note("warning: %s: %s", s.model.Name(), w)
	}
}

// loadHint says in plain words that the model's folder or file is not there.
func loadHint(source string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) && path.Path == source && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("model %s: no such folder or file", source)
	}
	return err
}

// interruptible returns what f returns, or ctx's error as soon as ctx ends. A
// driver that compiles a kernel hears no context; the program leaves it behind.
func interruptible[T any](ctx context.Context, f func() (T, error)) (T, error) {
	return await.Do(ctx, func() (value T, err error) {
		defer guard.Catch(&err) // nobody else could catch a panic of this goroutine
		return f()
	}, nil)
}

// skip lists an input that cannot be read; without --skip-errors it ends the work.
func (s *session) skip(p prepared) error {
	err := &inputError{p.id, p.err}
	if !s.skipErrors {
		return fmt.Errorf("%w%s", err, skipHint)
	}
	s.skipped++
	s.problem("skipped: %v", err)
	return nil
}

const skipHint = " (--skip-errors lists such inputs and does the others)"

// result is the error to end with when of total inputs some were skipped.
func (s *session) result(total int) error {
	switch s.skipped {
	case 0:
		return nil
	case total:
		return fmt.Errorf("none of the %d inputs could be read", total)
	}
	return &exitError{exitSkipped, fmt.Sprintf("%d of %d inputs skipped", s.skipped, total)}
}

// noteOddities notes, at the end, what a user may not expect: files left out, images
// stored turned, features of zeros, texts cut.
func (s *session) noteOddities(leftOut map[string]int) {
	s.noteLeftOut(leftOut)
	if s.turned > 0 {
		s.note("%s stored turned (EXIF orientation) and taken as stored, as open_clip does; --orient turns them upright", plural(s.turned, "image"))
	}
	if s.zeros > 0 {
		s.note("%s whose features are all zeros: float32 cannot hold their norm, as in open_clip", plural(s.zeros, "input"))
	}
	s.noteTruncated(s.truncated)
}

// emitter takes unit features [n, embed_dim] of inputs, in order.
type emitter func(ids []string, features clip.Array) error

// encodeImages passes the unit features of images to emit, a batch at a time. The caller has
// asked mustEncode.
func (s *session) encodeImages(ctx context.Context, images []input, opts []preprocess.Option, emit emitter) error {
	return s.encodePictures(ctx, images, filesOf(images, opts), emit)
}

// encodePictures does so with pictures that open gives by their place among images.
func (s *session) encodePictures(ctx context.Context, images []input, open func(i int) preprocess.Picture, emit emitter) error {
	rows, done := &rowBatch{session: s, emit: emit}, 0
	for e, err := range s.model.EncodePictures(ctx, picturesOf(images, open), s.batch, nil) {
		if err != nil {
			return err
		}
		p := prepared{input: input{images[done].id, e.Err}}
		if done++; e.Turned {
			s.turned++
		}
		if err := rows.add(p, e.Features.Data); err != nil {
			return err
		}
		if len(rows.ids) == s.batch || done == len(images) {
			if err := rows.flush(); err != nil {
				return err
			}
			s.update("%d of %d images", done, len(images))
		}
	}
	return nil
}

// filesOf opens the files that images are.
func filesOf(images []input, opts []preprocess.Option) func(i int) preprocess.Picture {
	return func(i int) preprocess.Picture { return openPicture(images[i].id, opts...) }
}

// picturesOf are images, opened by their places; one with an error gives it.
func picturesOf(images []input, open func(i int) preprocess.Picture) iter.Seq[preprocess.Picture] {
	return func(yield func(preprocess.Picture) bool) {
		for i, in := range images {
			picture := open(i)
			if in.err != nil {
				picture = func(*preprocess.Decoder) (*preprocess.Image, error) { return nil, in.err }
			}
			if !yield(picture) {
				return
			}
		}
	}
}

// openPicture is a variable for a test that plants a decoder which panics.
var openPicture = preprocess.File

// encodeTexts does the same with texts.
func (s *session) encodeTexts(ctx context.Context, texts []input, emit emitter) error {
	t := s.model.Tokenizer()
	rows, done := &rowBatch{session: s, emit: emit}, 0
	var batch []prepared
	for p := range tokenizeEach(ctx, t, s.model.Config().TextCfg.ContextLength, texts) {
		s.truncated.count(p)
		if done++; p.err == nil {
			batch = append(batch, p)
		} else if err := s.skip(p); err != nil {
			return err
		}
		if len(batch) == s.batch || done == len(texts) {
			if err := s.encodeRows(ctx, batch, rows); err != nil {
				return err
			}
			batch = nil // an abandoned run may still read it
			s.update("%d of %d texts", done, len(texts))
		}
	}
	return ctx.Err()
}

// encodeRows encodes a batch of texts to rows.
func (s *session) encodeRows(ctx context.Context, batch []prepared, rows *rowBatch) error {
	if len(batch) == 0 {
		return nil
	}
	ids := make([][]int32, len(batch))
	for i := range batch {
		ids[i] = batch[i].tokens.IDs
	}
	features, err := interruptible(ctx, func() (clip.Array, error) { return s.model.EncodeText(ctx, ids, true) })
	var odd *clip.NotFiniteError
	if err != nil && !errors.As(err, &odd) {
		return err
	}
	width := len(features.Data) / len(batch)
	for i, p := range batch {
		if odd != nil && slices.Contains(odd.Items, i) {
			p.err = odd
		}
		if err := rows.add(p, features.Data[i*width:(i+1)*width]); err != nil {
			return err
		}
	}
	return rows.flush()
}

// rowBatch collects the features of inputs that have some.
type rowBatch struct {
	*session
	emit emitter
	ids  []string
	data []float32
}

// add takes an input's features. It skips an input that has none, or NaN or infinities in
// them, and counts those that are all zeros.
func (r *rowBatch) add(p prepared, row []float32) error {
	if odd := (*clip.NotFiniteError)(nil); errors.As(p.err, &odd) {
		p.err = fmt.Errorf("NaN or Inf in its features: %s", odd.Cause)
	}
	if p.err != nil {
		return r.skip(p)
	}
	if !slices.ContainsFunc(row, func(v float32) bool { return v != 0 }) {
		r.zeros++
	}
	r.ids, r.data = append(r.ids, p.id), append(r.data, row...)
	return nil
}

// flush emits what has been collected.
func (r *rowBatch) flush() error {
	if len(r.ids) == 0 {
		return nil
	}
	r.cancelStartNote()
	ids, features := r.ids, clip.Array{Shape: []int{len(r.ids), len(r.data) / len(r.ids)}, Data: r.data}
	r.ids, r.data = nil, nil
	return r.emit(ids, features)
}

// truncatedTexts counts the texts that are too long for a model.
type truncatedTexts struct {
	n, total      int
	first         string
	contextLength int
}

func (c *truncatedTexts) count(p prepared) {
	if p.tokens.IDs == nil {
		return
	}
	c.total, c.contextLength = c.total+1, len(p.tokens.IDs)
	if p.tokens.Truncated > 0 {
		if c.n == 0 {
			c.first = p.id
		}
		c.n++
	}
}

// noteTruncated tells of texts whose ends the model does not see.
func (c *console) noteTruncated(texts truncatedTexts) {
	if texts.n > 0 {
		c.note("cut at the model's %d tokens: %d of %s, the first is %.60q", texts.contextLength, texts.n, plural(texts.total, "text"), texts.first)
	}
}

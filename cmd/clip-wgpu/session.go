package main

import (
	"cmp"
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
	s.model, err = interruptible(ctx, func() (*clip.Model, error) { return clip.Load(ctx, g.model, g.options(s.batch)...) })
	if err != nil {
		return loadHint(g.model, err)
	}
	for _, w := range s.model.Warnings() {
		s.note("warning: %s: %s", s.model.Name(), w)
	}
	err = work(ctx, s)
	if ctx.Err() == nil { // else the GPU may be busy for longer than an interrupt should take
		s.model.Close()
	}
	return err
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

// encodeImages passes the unit features [n, embed_dim] of images to emit, a
// batch at a time and in order.
func (s *session) encodeImages(ctx context.Context, images []input, opts []preprocess.Option, emit func(paths []string, features clip.Array) error) error {
	t := s.model.Preprocess()
	size := t.Config().Size
	ready := decodeAhead(ctx, t, images, min(s.batch, len(images)), opts...)
	return s.encode(ctx, "image", len(images), ready, emit, func(batch []prepared) (clip.Array, error) {
		x := clip.Array{Shape: []int{len(batch), 3, size[0], size[1]}, Data: make([]float32, 0, len(batch)*3*size[0]*size[1])}
		for i := range batch {
			x.Data = append(x.Data, batch[i].pixels...)
		}
		return s.model.EncodeImage(ctx, x, true)
	})
}

// encodeTexts does the same for texts.
func (s *session) encodeTexts(ctx context.Context, texts []input, emit func(texts []string, features clip.Array) error) error {
	t := s.model.Tokenizer()
	if t == nil && len(texts) > 0 {
		_, err := s.model.EncodeTexts(ctx, []string{texts[0].id})
		return err // which says why there is no tokenizer
	}
	ready := tokenizeEach(ctx, t, s.model.Config().TextCfg.ContextLength, texts)
	return s.encode(ctx, "text", len(texts), ready, emit, func(batch []prepared) (clip.Array, error) {
		rows := make([][]int32, len(batch))
		for i := range batch {
			rows[i] = batch[i].tokens.IDs
		}
		return s.model.EncodeText(ctx, rows, true)
	})
}

// encode is what encodeImages and encodeTexts have in common: run computes the
// features of a batch of inputs.
func (s *session) encode(ctx context.Context, kind string, total int, inputs iter.Seq[prepared],
	emit func(ids []string, features clip.Array) error, run func(batch []prepared) (clip.Array, error)) error {
	var batch []prepared
	done := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		part := batch
		batch = nil // an abandoned run may still read it
		features, err := interruptible(ctx, func() (clip.Array, error) { return run(part) })
		if err == nil || len(features.Shape) > 0 { // NaN in some features leaves the others
			err = cmp.Or(s.checkPooled(kind, features), err)
		}
		done += len(part)
		kept, features, err := s.skipNotFinite(part, features, err)
		if err != nil || len(kept) == 0 {
			return err
		}
		s.cancelStartNote()
		ids := make([]string, len(kept))
		for i, p := range kept {
			ids[i] = p.id
		}
		if err := emit(ids, features); err != nil {
			return err
		}
		s.update("%d of %d %ss", done, total, kind)
		return nil
	}
	for p := range inputs {
		if p.err != nil {
			if err := s.skip(p); err != nil {
				return err
			}
			continue
		}
		if p.turned {
			s.turned++
		}
		s.truncated.count(p)
		if batch = append(batch, p); len(batch) == s.batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return flush()
}

// skipNotFinite skips the inputs of a batch whose features [n, embed_dim] hold NaN
// or infinities, as err says. It returns the other inputs with their features, and
// counts those that are all zeros.
func (s *session) skipNotFinite(batch []prepared, features clip.Array, err error) ([]prepared, clip.Array, error) {
	var odd *clip.NotFiniteError
	if err != nil && !errors.As(err, &odd) {
		return nil, features, err
	}
	var kept []prepared
	var rows []float32
	for i, p := range batch {
		width := features.Shape[1]
		row := features.Data[i*width : (i+1)*width]
		if odd != nil && slices.Contains(odd.Items, i) {
			p.err = fmt.Errorf("NaN or Inf in its features: %s", odd.Cause)
			if err := s.skip(p); err != nil {
				return nil, features, err
			}
			continue
		}
		if !slices.ContainsFunc(row, func(v float32) bool { return v != 0 }) {
			s.zeros++
		}
		kept, rows = append(kept, p), append(rows, row...)
	}
	return kept, clip.Array{Shape: []int{len(kept), len(rows) / max(1, len(kept))}, Data: rows}, nil
}

func (s *session) checkPooled(tower string, features clip.Array) error {
	if len(features.Shape) != 2 {
		return fmt.Errorf("model %s: its %s tower does not pool (features of shape %v), so it has no vector for an input",
			s.model.Name(), tower, features.Shape)
	}
	return nil
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

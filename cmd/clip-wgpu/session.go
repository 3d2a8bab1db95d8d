package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/spf13/cobra"
)

// session is one command at work: its model, and how it meets its inputs.
type session struct {
	*console
	model      clip.Model
	batch      int
	skipErrors bool
	skipped    int
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
	defer s.settled()
	var err error
	s.model, err = await(ctx, func() (clip.Model, error) { return clip.Load(ctx, g.model, g.options(s.batch)...) })
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

// loadHint explains --model to who names something that is not there.
func loadHint(source string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) && path.Path == source && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("model %s: no such folder or file", source)
	}
	return err
}

// await returns what f returns, or at once ctx's error: a driver that compiles
// a kernel does not stop for a context, but the program can leave it behind.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// skip lists an input that cannot be read; without --skip-errors it ends the work.
func (s *session) skip(err error) error {
	if !s.skipErrors {
		return err
	}
	s.skipped++
	s.problem("skipped: %v", err)
	return nil
}

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

// encodeImages passes the unit features [n, embed_dim] of images to emit, a
// batch at a time and in order.
func (s *session) encodeImages(ctx context.Context, paths []string, emit func(paths []string, features clip.Tensor) error) error {
	t := s.model.Preprocess()
	size := t.Config().Size
	var names []string
	var pixels []float32
	done := 0
	flush := func() error {
		if len(names) == 0 {
			return nil
		}
		x := clip.Tensor{Shape: []int{len(names), 3, size[0], size[1]}, Data: pixels}
		features, err := await(ctx, func() (clip.Tensor, error) { return s.model.EncodeImage(ctx, x, true) })
		if err == nil {
			err = s.checkPooled("image", features)
		}
		if err != nil {
			return err
		}
		s.settled()
		if err := emit(names, features); err != nil {
			return err
		}
		done += len(names)
		s.update("%d of %d images", done, len(paths))
		names, pixels = nil, nil // an abandoned encode may still read them
		return nil
	}
	for p := range decodeAhead(ctx, t, paths, min(s.batch, len(paths))) {
		if err := p.err; err != nil {
			if err := s.skip(err); err != nil {
				return err
			}
			continue
		}
		names, pixels = append(names, p.path), append(pixels, p.pixels...)
		if len(names) == s.batch {
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

// encodeTexts does the same for texts.
func (s *session) encodeTexts(ctx context.Context, texts []string, emit func(texts []string, features clip.Tensor) error) error {
	for lo := 0; lo < len(texts); lo += s.batch {
		part := texts[lo:min(lo+s.batch, len(texts))]
		features, err := await(ctx, func() (clip.Tensor, error) { return s.model.EncodeTexts(ctx, part) })
		if err == nil {
			err = s.checkPooled("text", features)
		}
		if err != nil {
			return err
		}
		s.settled()
		if err := emit(part, features); err != nil {
			return err
		}
		s.update("%d of %d texts", lo+len(part), len(texts))
	}
	return nil
}

func (s *session) checkPooled(tower string, features clip.Tensor) error {
	if len(features.Shape) != 2 {
		return fmt.Errorf("model %s: its %s tower does not pool (features of shape %v), so it has no vector for an input",
			s.model.Name(), tower, features.Shape)
	}
	return nil
}

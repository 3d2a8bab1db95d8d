package main

import (
	"context"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/generation"
	"github.com/spf13/cobra"
)

// checkCaptions refuses what bench cannot measure of captions.
func (b *bench) checkCaptions(cmd *cobra.Command) error {
	if b.writes && (b.folder != "" || b.step.train || b.compare != "" || cmd.Flags().Changed("tower")) {
		return usageErrorf(cmd, "--captions goes with neither --tower, --pictures, --train nor --compare")
	}
	return nil
}

// captionSubject prepares the measurement of captions of a batch of images. All are of the
// full length, since random weights may end a text anywhere.
func (b *bench) captionSubject(ctx context.Context, m *clip.Model, batch int) (*subject, error) {
	o := generation.Default()
	o.NumBeamGroups, o.MinSeqLen = 1, o.SeqLen-1
	images := clip.ImageInputs(noise(m, batch))
	s := &subject{items: batch, run: func() error {
		_, err := interruptible(ctx, func() ([][]int32, error) {
			texts, _, err := m.Generate(ctx, images, nil, o)
			return texts, err
		})
		return err
	}}
	start := time.Now()
	if err := s.run(); err != nil {
		return nil, err
	}
	s.line = measurement{Tower: "captions", Batch: batch, FirstRunMs: milliseconds(time.Since(start)), Device: m.Device().Info().Name}
	p, err := m.CaptionProgram(1, o.NumBeams)
	if p != nil && err == nil {
		s.line.Dispatches, s.line.ArenaBytes = len(p.Steps), p.ArenaBytes()
	}
	return s, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/spf13/cobra"
)

// picturesTower is what a measurement of files to vectors is called.
const picturesTower = "pictures"

// pictureShares are parts of the time that pictures take, which add up to 1.
type pictureShares struct {
	Read     float64 `json:"read"`
	Decode   float64 `json:"decode"`
	Resize   float64 `json:"resize"`
	Upload   float64 `json:"upload"`
	GPU      float64 `json:"gpu"`
	Readback float64 `json:"readback"`
}

// all are the shares' places, in the order of the way.
func (s *pictureShares) all() []*float64 {
	return []*float64{&s.Read, &s.Decode, &s.Resize, &s.Upload, &s.GPU, &s.Readback}
}

func sharesOf(t *clip.PictureTimes) (s pictureShares) {
	times := []time.Duration{t.File, t.Decode, t.Resize, t.Upload, t.Compute, t.Readback}
	var sum time.Duration
	for _, d := range times {
		sum += d
	}
	for i, share := range s.all() {
		*share = float64(times[i]) / float64(max(1, sum))
	}
	return s
}

func medianShares(all []pictureShares) *pictureShares {
	var m pictureShares
	for i, share := range m.all() {
		var values []float64
		for _, s := range all {
			values = append(values, *s.all()[i])
		}
		*share = significant(median(values))
	}
	return &m
}

// checkPictures refuses flags that do not go with --pictures, or without it.
func (b *bench) checkPictures(cmd *cobra.Command) error {
	if b.folder == "" && cmd.Flags().Changed("pictures") {
		return usageErrorf(cmd, "--pictures: want a folder")
	}
	if b.folder == "" {
		for _, name := range []string{"include-hidden", "exclude-dir", "orient", "draft"} {
			if cmd.Flags().Changed(name) {
				return usageErrorf(cmd, "--%s goes with --pictures", name)
			}
		}
		return nil
	}
	if cmd.Flags().Changed("tower") {
		return usageErrorf(cmd, "--tower does not go with --pictures")
	}
	b.tower = picturesTower
	return b.search.check(cmd)
}

// listPictures finds the pictures of --pictures.
func (b *bench) listPictures(ctx context.Context) error {
	if b.folder == "" {
		return nil
	}
	info, err := os.Stat(b.folder)
	if err == nil && !info.IsDir() {
		err = errors.New("is no folder")
	}
	if err != nil {
		return fmt.Errorf("pictures: %w", &inputError{b.folder, err})
	}
	b.search.mustExist = true
	inputs, err := b.search.list(ctx, []string{b.folder}, nil)
	for _, in := range inputs {
		b.paths = append(b.paths, in.id)
	}
	return err
}

// encoder is the tower that computes what is measured.
func (b *bench) encoder() string {
	if b.tower == picturesTower {
		return imageTower
	}
	return b.tower
}

// readPictures makes s measure the way of all pictures, in batches.
func (b *bench) readPictures(ctx context.Context, m *clip.Model, batch int, s *subject) {
	s.items, s.times = len(b.paths), new(clip.PictureTimes)
	pictures := preprocess.Files(b.paths, b.search.options(m.Preprocess())...)
	s.run = func() error {
		for e, err := range m.EncodePictures(ctx, pictures, batch, s.times) {
			if err != nil {
				return err
			}
			if e.Err != nil {
				return e.Err
			}
		}
		return nil
	}
}

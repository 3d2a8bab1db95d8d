package search

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// Encoder makes the vectors of an index that has m's Options, batch pictures at a time.
func Encoder(m *clip.Model, batch int) index.Encoder {
	return func(ctx context.Context, pictures iter.Seq[index.Decoding]) iter.Seq2[index.Encoded, error] {
		return func(yield func(index.Encoded, error) bool) {
			decoded := func(yield func(preprocess.Picture) bool) {
				opts := Decoding(m)
				for p := range pictures {
					if !yield(func(d *preprocess.Decoder) (*preprocess.Image, error) { return p(d, opts...) }) {
						return
					}
				}
			}
			for e, err := range m.EncodePictures(ctx, decoded, batch, nil) {
				var odd *clip.NotFiniteError
				switch {
				case err != nil:
				case errors.As(e.Err, &odd):
					e.Err = fmt.Errorf("NaN or Inf in its features: %s", odd.Cause)
				case e.Err == nil && len(e.Features.Shape) > 1:
					err = fmt.Errorf("%w: model %s has no vector for a picture: its tower does not pool", clip.ErrInput, m.Name())
				}
				if !yield(index.Encoded{Vector: e.Features.Data, Err: e.Err}, err) || err != nil {
					return
				}
			}
		}
	}
}

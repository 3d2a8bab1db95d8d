package data

import (
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/usage"
)

// photos writes n JPEGs of 640 × 480 in two classes, and returns their folder.
func photos(b *testing.B, n int) string {
	folder := b.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 640, 480))
		for y := range 480 {
			for x := range 640 {
				img.Set(x, y, color.RGBA{uint8(x/3 + i), uint8(y / 2), uint8(x*y/999 + rng.IntN(16)), 255})
			}
		}
		path := filepath.Join(folder, "class"+fmt.Sprint(i%2), fmt.Sprintf("%d.jpg", i))
		require.NoError(b, os.MkdirAll(filepath.Dir(path), 0o777))
		file, err := os.Create(path)
		require.NoError(b, err)
		require.NoError(b, jpeg.Encode(file, img, &jpeg.Options{Quality: 90}))
		require.NoError(b, file.Close())
	}
	return folder
}

// BenchmarkLoader measures the CPU time of a picture, stage by stage on the same files: its
// decoding, the transform of bench --pictures, the transform of training with each
// augmentation, and the whole Loader, which decodes and transforms for training.
func BenchmarkLoader(b *testing.B) {
	const n = 32
	d, err := Open([]string{photos(b, n)}, Options{})
	require.NoError(b, err)
	cfg := preprocess.DefaultConfig()
	cfg.Size = [2]int{224, 224}
	plain, err := preprocess.New(cfg)
	require.NoError(b, err)
	jitter := preprocess.DefaultAugmentation()
	jitter.ColorJitter, jitter.ColorJitterProb = [4]float64{0.4, 0.4, 0.4, 0.1}, 1
	for name, a := range map[string]preprocess.Augmentation{
		"default": preprocess.DefaultAugmentation(), "squash": {}, "jitter": jitter, "affine": {Affine: 0.5},
	} {
		b.Run(name, func(b *testing.B) {
			train, err := preprocess.NewTrain(cfg, a)
			require.NoError(b, err)
			l, err := NewLoader(d, LoaderOptions{Batch: n, Transform: train, Workers: 1})
			require.NoError(b, err)
			measureLoader(b, l, plain)
		})
	}
}

func measureLoader(b *testing.B, l *Loader, plain *preprocess.Transform) {
	var decoder preprocess.Decoder
	var decoded, encoded, trained, loaded time.Duration
	pixels, rng, last := make([]float32, l.item), rand.New(rand.NewPCG(1, 2)), usage.CPU()
	lap := func(to *time.Duration) {
		now := usage.CPU()
		*to += now - last
		last = now
	}
	for b.Loop() {
		lap(new(time.Duration))
		for i := range l.o.Batch {
			img, err := l.data.Picture(i)(&decoder)
			require.NoError(b, err)
			lap(&decoded)
			require.NoError(b, plain.ApplyInto(pixels, img))
			lap(&encoded)
			require.NoError(b, l.o.Transform.ApplyInto(pixels, img, rng))
			lap(&trained)
		}
		made, err := l.epoch(b.Context(), Position{}, &badSamples{}, func(Batch) bool { return true })
		require.NoError(b, err)
		require.Equal(b, 1, made)
		lap(&loaded)
	}
	for name, all := range map[string]time.Duration{"decode": decoded, "encode": encoded, "train": trained, "loader": loaded} {
		b.ReportMetric(all.Seconds()*1000/float64(b.N*l.o.Batch), name+"-ms")
	}
}

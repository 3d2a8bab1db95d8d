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

// BenchmarkLoader measures what a picture of a training takes of the CPU beside one that is
// encoded (bench --pictures): in turns, of the same files.
func BenchmarkLoader(b *testing.B) {
	const n = 32
	d, err := Open([]string{photos(b, n)}, Options{})
	require.NoError(b, err)
	cfg := preprocess.DefaultConfig()
	cfg.Size = [2]int{224, 224}
	plain, err := preprocess.New(cfg)
	require.NoError(b, err)
	train, err := preprocess.NewTrain(cfg, preprocess.DefaultAugmentation())
	require.NoError(b, err)
	l, err := NewLoader(d, LoaderOptions{Batch: n, Transform: train, Workers: 1})
	require.NoError(b, err)
	var decoder preprocess.Decoder
	pixels := make([]float32, 3*224*224)
	var encoded, trained time.Duration
	for b.Loop() {
		start := usage.CPU()
		for i := range n {
			img, err := d.Picture(i)(&decoder)
			require.NoError(b, err)
			require.NoError(b, plain.ApplyInto(pixels, img))
		}
		middle := usage.CPU()
		made, err := l.epoch(b.Context(), Position{}, &badSamples{}, func(Batch) bool { return true })
		require.NoError(b, err)
		require.Equal(b, 1, made)
		encoded, trained = encoded+middle-start, trained+usage.CPU()-middle
	}
	for name, all := range map[string]time.Duration{"encoded-ms/picture": encoded, "trained-ms/picture": trained} {
		b.ReportMetric(all.Seconds()*1000/float64(b.N*n), name)
	}
}

package preprocess

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/usage"
)

// BenchmarkPictures makes each file in the folder PICTURES ready for a model of 224 pixels,
// from its bytes to RGB, as pillow_bench.py does by Pillow; with DRAFT=1 by Draft. cpu-ms is
// the CPU time of a picture.
func BenchmarkPictures(b *testing.B) {
	folder := os.Getenv("PICTURES")
	if folder == "" {
		b.Skip("PICTURES names no folder")
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(b, err)
	t, err := New(DefaultConfig())
	require.NoError(b, err)
	var opts []Option
	if os.Getenv("DRAFT") != "" {
		opts = append(opts, t.Draft())
	}
	for _, path := range paths {
		b.Run(filepath.Base(path), func(b *testing.B) {
			var d Decoder
			start := usage.CPU()
			for b.Loop() {
				img, err := d.DecodeFile(path, opts...)
				require.NoError(b, err)
				_, err = t.Pixels(img)
				require.NoError(b, err)
			}
			b.ReportMetric(float64((usage.CPU()-start).Microseconds())/1000/float64(b.N), "cpu-ms")
		})
	}
}

package index

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/usage"
)

// BenchmarkUpdate makes indexes of pictures so small that most of it is what an index costs
// beside decoding and encoding. cpu-ms is the CPU time of a picture.
func BenchmarkUpdate(b *testing.B) {
	const pictures = 2000
	folder, data := b.TempDir(), picture(b, 100)
	for i := range pictures {
		put(b, fmt.Append(data[:len(data):len(data)], i), folder, fmt.Sprint(i%10), fmt.Sprintf("IMG_%d.jpg", i))
	}
	for name, most := range map[string]int64{"thumbnails": 1 << 30, "bare": 0} {
		b.Run(name, func(b *testing.B) {
			files := b.TempDir()
			before := usage.CPU()
			for i := 0; b.Loop(); i++ {
				x, err := Create(filepath.Join(files, fmt.Sprint(i)), options)
				require.NoError(b, err)
				report, err := x.Update(b.Context(), []string{folder}, encoder(new(int)), UpdateOptions{MaxThumbnails: most})
				require.NoError(b, err)
				require.Equal(b, pictures, report.Encoded)
				require.NoError(b, x.Close())
			}
			b.ReportMetric((usage.CPU()-before).Seconds()*1000/float64(b.N*pictures), "cpu-ms/picture")
		})
	}
}

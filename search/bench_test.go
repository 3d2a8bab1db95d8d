package search

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// BenchmarkSearch compares a scan of the index with the first search of a Searcher, which
// waits for that, and with later ones. The query's vector is known.
func BenchmarkSearch(b *testing.B) {
	m := newModel(b)
	x := newIndex(b, m, 100000)
	q := Query{Terms: []Term{{Text: "cat"}}}
	scan := func() error { return x.Scan(b.Context(), func([]int64, []byte) error { return nil }) }
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, scan())
		}
	})
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			s := open(b, m, x)
			_, err := s.Search(b.Context(), q)
			require.NoError(b, err)
			require.NoError(b, s.Close())
		}
	})
	s := open(b, m, x)
	for name, filter := range map[string]index.Filter{"later": {}, "filtered": {Names: []string{"7.jpg"}}} {
		b.Run(name, func(b *testing.B) {
			q.Filter = filter
			for b.Loop() {
				_, err := s.Search(b.Context(), q)
				require.NoError(b, err)
			}
		})
	}
}

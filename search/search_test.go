package search

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/internal/half"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

const apple = "clip/emoji-clip/examples/red-apple.png"

// onCPU scores pictures by plain loops in float64, the best first.
func onCPU(query []float32, n int) []match {
	found := make([]match, n)
	for i := range found {
		score, vector := 0.0, randomVector(i, len(query))
		for k, v := range query {
			score += float64(v) * float64(half.F16ToF32(binary.LittleEndian.Uint16(vector[2*k:])))
		}
		found[i] = match{int64(i + 1), float32(score)}
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(b.score, a.score) })
	return found
}

// inPieces has indexes lie in pieces of so many rows.
func inPieces(t *testing.T, rows, dim int) {
	before := pieceBytes
	pieceBytes = rows * 2 * dim
	t.Cleanup(func() { pieceBytes = before })
}

// TestSearchIsExact compares the device with the CPU, in one piece and in several.
func TestSearchIsExact(t *testing.T) {
	m, ctx := newModel(t), t.Context()
	const n = 3000
	for _, rows := range []int{n, 1024} {
		inPieces(t, rows, m.Config().EmbedDim)
		s := open(t, m, newIndex(t, m, n))
		q, err := Parse("red apple +tree:0.25 -face")
		require.NoError(t, err)
		vector, err := s.vector(ctx, q.Terms)
		require.NoError(t, err)
		want := onCPU(vector, n)
		for _, top := range []int{1, 20, 33, 1500, 2 * n} {
			q.Top = top
			r, err := s.Search(ctx, q)
			require.NoError(t, err)
			require.Len(t, r.Hits, min(top, n))
			assert.Equal(t, n, r.Searched)
			for i, hit := range r.Hits {
				require.InDelta(t, want[i].score, hit.Score, 1e-6, "hit %d of %d", i, top)
				if i > 0 && i+1 < n && want[i-1].score-want[i].score > 1e-6 && want[i].score-want[i+1].score > 1e-6 {
					require.Equal(t, want[i].id, hit.ID, "hit %d of %d", i, top)
				}
			}
		}
	}
}

func TestFilters(t *testing.T) {
	m, ctx := newModel(t), t.Context()
	inPieces(t, 64, m.Config().EmbedDim)
	s := open(t, m, newIndex(t, m, 200))
	vector, err := s.vector(ctx, []Term{{Text: "cat"}})
	require.NoError(t, err)
	all := onCPU(vector, 200)
	ids := func(keep func(m match) bool) (ids []int64) {
		for _, m := range all {
			if keep(m) {
				ids = append(ids, m.id)
			}
		}
		return ids
	}
	for name, c := range map[string]struct {
		filter index.Filter
		keep   func(id int64) bool
	}{
		"names":   {index.Filter{Names: []string{"img_", "7.JPG"}}, func(id int64) bool { return (id-1)%10 == 7 }},
		"since":   {index.Filter{Since: time.Unix(150*3600, 0)}, func(id int64) bool { return id-1 >= 150 }},
		"until":   {index.Filter{Until: time.Unix(10*3600, 0)}, func(id int64) bool { return id-1 <= 10 }},
		"under":   {index.Filter{Under: []string{"/pictures/3", "/pictures/15"}}, func(id int64) bool { return (id-1)/10 == 3 || (id-1)/10 == 15 }},
		"exclude": {index.Filter{Exclude: []string{"/pictures/3"}}, func(id int64) bool { return (id-1)/10 != 3 }},
		"nothing": {index.Filter{Names: []string{"no such name"}}, func(int64) bool { return false }},
	} {
		r, err := s.Search(ctx, Query{Terms: []Term{{Text: "cat"}}, Filter: c.filter, Top: 1000})
		require.NoError(t, err, name)
		want := ids(func(m match) bool { return c.keep(m.id) })
		assert.Equal(t, len(want), r.Searched, name)
		assert.ElementsMatch(t, want, hitIDs(r), name)

		r, err = s.Search(ctx, Query{Filter: c.filter, Top: 5}) // no terms: the last ones
		require.NoError(t, err, name)
		slices.Sort(want)
		slices.Reverse(want)
		assert.Equal(t, want[:min(5, len(want))], hitIDs(r), name)
	}
	threshold := (all[9].score + all[10].score) / 2
	r, err := s.Search(ctx, Query{Terms: []Term{{Text: "cat"}}, Threshold: threshold, Top: 1000})
	require.NoError(t, err)
	assert.Len(t, r.Hits, 10)
}

func hitIDs(r Result) []int64 {
	var ids []int64
	for _, h := range r.Hits {
		ids = append(ids, h.ID)
	}
	return ids
}

// A vector that is not finite is no hit, and does no harm to others.
func TestNotFinite(t *testing.T) {
	m := newModel(t)
	x := newIndex(t, m, 0)
	fill(t, x.Path(), 0, 70, func(i int) []byte {
		v := randomVector(i, m.Config().EmbedDim)
		if i%3 == 0 {
			binary.LittleEndian.PutUint16(v, []uint16{0x7e00, 0x7c00, 0xfc00}[i/3%3])
		}
		return v
	})
	r, err := open(t, m, x).Search(t.Context(), Query{Terms: []Term{{Text: "cat"}}, Top: 100})
	require.NoError(t, err)
	assert.Equal(t, 70, r.Searched)
	assert.Len(t, r.Hits, 46)
}

func TestSearchSeesChanges(t *testing.T) {
	m, ctx := newModel(t), t.Context()
	x := newIndex(t, m, 0)
	s := open(t, m, x)
	q := Query{Terms: []Term{{Text: "cat"}}}
	r, err := s.Search(ctx, q)
	require.NoError(t, err)
	assert.Empty(t, r.Hits)
	vector, err := s.vector(ctx, q.Terms)
	require.NoError(t, err)
	cat := make([]byte, 0, 2*len(vector))
	for _, v := range vector {
		cat = binary.LittleEndian.AppendUint16(cat, half.F32ToF16(v))
	}
	fill(t, x.Path(), 0, 10, func(i int) []byte { return randomVector(i, len(vector)) })
	fill(t, x.Path(), 10, 1, func(int) []byte { return cat })
	r, err = s.Search(ctx, q)
	require.NoError(t, err)
	require.Len(t, r.Hits, 11)
	assert.Equal(t, []string{"/pictures/1/IMG_10.jpg"}, r.Hits[0].Paths)
	assert.InDelta(t, 1, r.Hits[0].Score, 1e-3)
}

func TestPicturesAsQueries(t *testing.T) {
	m, ctx := newModel(t), t.Context()
	s := open(t, m, newIndex(t, m, 5))
	picture := filepath.Join("..", filepath.FromSlash(apple))
	u, err := s.vector(ctx, []Term{{Picture: picture, Weight: 3}})
	require.NoError(t, err)
	want, err := m.EncodeImageFiles(ctx, []string{picture}, Decoding(m)...)
	require.NoError(t, err)
	assert.InDeltaSlice(t, want.Data, u, 1e-6)
	text, err := m.EncodeTexts(ctx, []string{"apple"})
	require.NoError(t, err)

	u, err = s.vector(ctx, []Term{{Picture: picture}, {Text: "apple", Weight: -0.5}})
	require.NoError(t, err)
	sum, squares := make([]float64, len(u)), 0.0
	for i := range sum {
		sum[i] = float64(want.Data[i]) - 0.5*float64(text.Data[i])
		squares += sum[i] * sum[i]
	}
	for i := range sum {
		require.InDelta(t, sum[i]/math.Sqrt(squares), u[i], 1e-6)
	}
}

func TestSearchRefuses(t *testing.T) {
	m, ctx := newModel(t), t.Context()
	s := open(t, m, newIndex(t, m, 5))
	nan := float32(math.NaN())
	for want, q := range map[string]Query{
		"cancel":               {Terms: []Term{{Text: "a cat"}, {Text: "a cat", Weight: -1}}},
		`"dog" has the weight`: {Terms: []Term{{Text: "dog", Weight: nan}}},
		"neither words":        {Terms: []Term{{}}},
		"also has the words":   {Terms: []Term{{Text: "x", Picture: "y"}}},
		"-1 best":              {Top: -1},
		"threshold":            {Threshold: nan},
	} {
		_, err := s.Search(ctx, q)
		require.ErrorIs(t, err, clip.ErrInput, want)
		assert.ErrorContains(t, err, want)
	}
	_, err := s.Search(ctx, Query{Terms: []Term{{Picture: "no such.png"}}})
	assert.ErrorContains(t, err, "no such.png")
	_, err = s.Search(ctx, Query{Terms: []Term{{Picture: "search_test.go"}}})
	assert.ErrorContains(t, err, "search_test.go")

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.Search(cancelled, Query{Terms: []Term{{Text: "cat"}}})
	assert.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = s.Search(ctx, Query{Terms: []Term{{Text: "cat"}}})
	assert.ErrorIs(t, err, gpu.ErrClosed)
}

func TestOpenRefusesOtherVectors(t *testing.T) {
	m := newModel(t)
	o, err := Options(t.Context(), m, "emoji-clip")
	require.NoError(t, err)
	other, wide := o, o
	other.Identity, wide.Dim = `{"fingerprint":"another"}`, 512
	for _, o := range []index.Options{other, wide} {
		x, err := index.Create(filepath.Join(t.TempDir(), "index.db"), o)
		require.NoError(t, err)
		defer x.Close()
		_, err = Open(t.Context(), m, x)
		assert.ErrorIs(t, err, clip.ErrInput)
		assert.ErrorContains(t, err, x.Path())
	}
}

// TestSearchConcurrently searches while the index grows, and closes in between.
func TestSearchConcurrently(t *testing.T) {
	m := newModel(t)
	inPieces(t, 64, m.Config().EmbedDim)
	x := newIndex(t, m, 100)
	s := open(t, m, x)
	var searches sync.WaitGroup
	for i := range 4 {
		searches.Go(func() {
			for j := range 5 {
				ctx, cancel := context.WithCancel(t.Context())
				if j == 3 {
					cancel()
				}
				r, err := s.Search(ctx, Query{Terms: []Term{{Text: fmt.Sprint("cat ", i, j)}}, Top: 10 + 50*j})
				if j == 3 {
					assert.ErrorIs(t, err, context.Canceled)
				} else if assert.NoError(t, err) {
					assert.Len(t, r.Hits, min(10+50*j, r.Searched))
				}
				cancel()
			}
		})
	}
	for i := 100; i < 150; i += 10 {
		fill(t, x.Path(), i, 10, func(i int) []byte { return randomVector(i, m.Config().EmbedDim) })
	}
	searches.Wait()
	r, err := s.Search(t.Context(), Query{Terms: []Term{{Text: "cat"}}})
	require.NoError(t, err)
	assert.Equal(t, 150, r.Searched)
	before := m.Device().MemoryInUse()
	require.NoError(t, s.Close())
	assert.Less(t, m.Device().MemoryInUse(), before)
}

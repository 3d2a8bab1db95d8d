package eval

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// dots is a Scorer that fails at a call, from 1.
type dots struct{ calls, fails int }

func (d *dots) Similarity(_ context.Context, images, texts clip.Array) (clip.Array, error) {
	if d.calls++; d.calls == d.fails {
		return clip.Array{}, errors.New("no device")
	}
	n, m, w := images.Shape[0], texts.Shape[0], images.Shape[1]
	out := clip.Array{Shape: []int{n, m}, Data: make([]float32, n*m)}
	for i := range n {
		for j := range m {
			for e := range w {
				out.Data[i*m+j] += images.Data[i*w+e] * texts.Data[j*w+e]
			}
		}
	}
	return out, nil
}

func array(rows ...[]float32) clip.Array {
	return clip.Array{Shape: []int{len(rows), len(rows[0])}, Data: slices.Concat(rows...)}
}

// identity has row i of n at place i.
func identity(n int) clip.Array {
	x := clip.Array{Shape: []int{n, n}, Data: make([]float32, n*n)}
	for i := range n {
		x.Data[i*n+i] = 1
	}
	return x
}

func TestClassify(t *testing.T) {
	classes := identity(7)
	images := array(
		[]float32{9, 1, 1, 1, 1, 1, 1},
		[]float32{6, 5, 4, 3, 2, 1, 0}, // class 4 is the fifth
		[]float32{6, 5, 4, 3, 2, 1, 0}, // class 5 the sixth
		[]float32{1, 1, 1, 1, 1, 1, 1}, // class 0 before its equals
	)
	got, err := Classify(t.Context(), &dots{}, images, classes, []int{0, 4, 5, 0})
	require.NoError(t, err)
	assert.Equal(t, ZeroShot{0.5, 0.75}, got)
	got, err = Classify(t.Context(), &dots{}, images, classes, []int{1, 4, 5, 6})
	require.NoError(t, err)
	assert.Equal(t, ZeroShot{0, 0.5}, got)
	nan := float32(math.NaN())
	got, err = Classify(t.Context(), &dots{}, array([]float32{nan, nan, nan, nan, nan, nan, nan}), classes, []int{0})
	require.NoError(t, err)
	assert.Equal(t, ZeroShot{}, got, "of no numbers none is right")
	_, err = Classify(t.Context(), &dots{fails: 1}, images, classes, []int{0, 4, 5, 0})
	require.EqualError(t, err, "no device")
	for _, labels := range [][]int{{0, 1, 2}, {0, 1, 2, 7}, {0, 1, 2, -1}} {
		_, err = Classify(t.Context(), &dots{}, images, classes, labels)
		require.ErrorIs(t, err, clip.ErrInput)
	}
	_, err = Classify(t.Context(), &dots{}, images, identity(6), []int{0, 1, 2, 3})
	require.ErrorIs(t, err, clip.ErrInput)
}

// Ranks are those of a plain sort, both ways, also where an image has several texts.
func TestRetrieve(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, captions := range []int{1, 3} {
		const n, width = 60, 8
		features := func(rows int) clip.Array {
			x := clip.Array{Shape: []int{rows, width}, Data: make([]float32, rows*width)}
			for i := range x.Data {
				x.Data[i] = float32(rng.IntN(5) - 2) // many equal scores
			}
			return x
		}
		images, texts := features(n), features(n*captions)
		owners := make([]int, n*captions)
		for i := range owners {
			owners[i] = i % n
		}
		got, err := Retrieve(t.Context(), &dots{}, images, texts, owners)
		require.NoError(t, err)
		logits, err := (&dots{}).Similarity(t.Context(), images, texts)
		require.NoError(t, err)
		at := func(i, j int) float32 { return logits.Data[i*len(owners)+j] }
		var ofImages, ofTexts []int
		for i := range n {
			order := sorted(len(owners), func(j int) float32 { return at(i, j) })
			ofImages = append(ofImages, slices.IndexFunc(order, func(j int) bool { return owners[j] == i }))
		}
		for j, owner := range owners {
			ofTexts = append(ofTexts, slices.Index(sorted(n, func(i int) float32 { return at(i, j) }), owner))
		}
		assert.Equal(t, Retrieval{recall(ofImages), recall(ofTexts)}, got)
		_, err = Retrieve(t.Context(), &dots{fails: 2}, images, texts, owners)
		require.EqualError(t, err, "no device")
		owners[0] = 1
		if captions == 1 {
			_, err = Retrieve(t.Context(), &dots{}, images, texts, owners)
			require.ErrorIs(t, err, clip.ErrInput)
			assert.ErrorContains(t, err, "image 0 has no text")
		}
	}
}

// sorted are the indices below n by falling score, equal ones in their order.
func sorted(n int, score func(int) float32) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case score(a) > score(b):
			return -1
		case score(a) < score(b):
			return 1
		}
		return 0
	})
	return order
}

// The numbers are those that NumPy gives for these places, as in get_clip_metrics.
func TestRecall(t *testing.T) {
	assert.Equal(t, Recall{0.25, 0.375, 0.75, 8.25, 8}, recall([]int{0, 20, 9, 4, 11, 0, 7, 7}))
	assert.Equal(t, Recall{1, 1, 1, 1, 1}, recall([]int{0, 0, 0}))
	assert.Equal(t, Recall{0, 1, 1, 2.5, 2}, recall([]int{1, 2}))
}

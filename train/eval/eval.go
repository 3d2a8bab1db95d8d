// Package eval measures how well a model's images and texts fit together: zero-shot
// classification and retrieval, as open_clip_train reports them.
package eval

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// Scorer compares features; *clip.Model is one.
type Scorer interface {
	Similarity(ctx context.Context, images, texts clip.Array) (clip.Array, error)
}

// ZeroShot says which share of images is classified right (open_clip_train/zero_shot.py).
type ZeroShot struct {
	Top1 float64 `json:"top1"` // whose class has the highest score
	Top5 float64 `json:"top5"` // whose class is among the five highest
}

// Recall says where, in the order of scores, what belongs to an item comes
// (get_clip_metrics of open_clip_train/train.py). Of several that belong to it, the first
// counts.
type Recall struct {
	R1, R5, R10          float64 // share of items where it is among the first 1, 5 and 10
	MeanRank, MedianRank float64 // from 1; the median is rounded down
}

// Retrieval has both ways.
type Retrieval struct{ ImageToText, TextToImage Recall }

// maxLogits is how many scores are held at once.
const maxLogits = 1 << 24

// Classify compares images [n, embed_dim] with classes [m, embed_dim], unit features both.
// labels are the n right classes. Of equal scores the lower class comes first.
func Classify(ctx context.Context, s Scorer, images, classes clip.Array, labels []int) (ZeroShot, error) {
	if err := check(images, classes, labels, classes.Shape); err != nil {
		return ZeroShot{}, err
	}
	if len(labels) != images.Shape[0] {
		return ZeroShot{}, fmt.Errorf("%w: %d labels of %d images", clip.ErrInput, len(labels), images.Shape[0])
	}
	var top1, top5 int
	err := blocks(ctx, s, images, classes, func(i int, scores []float32) {
		switch place := place(scores, labels[i]); {
		case place == 0:
			top1++
			top5++
		case place < 5:
			top5++
		}
	})
	n := float64(len(labels))
	return ZeroShot{float64(top1) / n, float64(top5) / n}, err
}

// Retrieve compares images [n, embed_dim] with texts [m, embed_dim], unit features both.
// owners are the m images that the texts belong to; each image has one text at least. Of
// equal scores the lower index comes first.
func Retrieve(ctx context.Context, s Scorer, images, texts clip.Array, owners []int) (Retrieval, error) {
	if err := check(images, texts, owners, images.Shape); err != nil {
		return Retrieval{}, err
	}
	if len(owners) != texts.Shape[0] {
		return Retrieval{}, fmt.Errorf("%w: %d owners of %d texts", clip.ErrInput, len(owners), texts.Shape[0])
	}
	belong := make([][]int, images.Shape[0])
	for text, image := range owners {
		belong[image] = append(belong[image], text)
	}
	if i := slices.IndexFunc(belong, func(texts []int) bool { return texts == nil }); i >= 0 {
		return Retrieval{}, fmt.Errorf("%w: image %d has no text", clip.ErrInput, i)
	}
	own, ofImages, ofTexts := make([]float32, len(owners)), make([]int, len(belong)), make([]int, len(owners))
	err := blocks(ctx, s, images, texts, func(i int, scores []float32) {
		ofImages[i] = math.MaxInt
		for _, text := range belong[i] {
			own[text] = scores[text]
			ofImages[i] = min(ofImages[i], place(scores, text))
		}
	})
	if err == nil { // again, since now the scores of all pairs are known
		err = blocks(ctx, s, images, texts, func(i int, scores []float32) {
			for text, score := range scores {
				if i != owners[text] && !(score < own[text] || score == own[text] && i > owners[text]) {
					ofTexts[text]++
				}
			}
		})
	}
	if err != nil {
		return Retrieval{}, err
	}
	return Retrieval{recall(ofImages), recall(ofTexts)}, nil
}

// check refuses features that do not fit together, and indices beyond shape[0].
func check(images, texts clip.Array, indices, shape []int) error {
	if len(images.Shape) != 2 || len(texts.Shape) != 2 || images.Shape[0] == 0 || texts.Shape[0] == 0 || images.Shape[1] != texts.Shape[1] {
		return fmt.Errorf("%w: features %v and %v, want [n, embed_dim] and [m, embed_dim]", clip.ErrInput, images.Shape, texts.Shape)
	}
	for at, i := range indices {
		if i < 0 || i >= shape[0] {
			return fmt.Errorf("%w: item %d belongs to %d of %d", clip.ErrInput, at, i, shape[0])
		}
	}
	return nil
}

// blocks passes on the scores of each image with all texts.
func blocks(ctx context.Context, s Scorer, images, texts clip.Array, use func(i int, scores []float32)) error {
	n, m, width := images.Shape[0], texts.Shape[0], images.Shape[1]
	rows := max(1, maxLogits/m)
	for lo := 0; lo < n; lo += rows {
		hi := min(lo+rows, n)
		logits, err := s.Similarity(ctx, clip.Array{Shape: []int{hi - lo, width}, Data: images.Data[lo*width : hi*width]}, texts)
		if err != nil {
			return err
		}
		for i := lo; i < hi; i++ {
			use(i, logits.Data[(i-lo)*m:(i-lo+1)*m])
		}
	}
	return nil
}

// place is how many come before item i in the order of scores. What has no number has not
// been found: all others come before it.
func place(scores []float32, i int) (before int) {
	for j, s := range scores {
		if j != i && !(s < scores[i] || s == scores[i] && j > i) {
			before++
		}
	}
	return before
}

// recall sums up places, which it sorts.
func recall(places []int) (r Recall) {
	slices.Sort(places)
	n := float64(len(places))
	within := func(k int) float64 {
		found, _ := slices.BinarySearch(places, k)
		return float64(found) / n
	}
	sum := 0.0
	for _, p := range places {
		sum += float64(p)
	}
	half := len(places) / 2
	median := float64(places[half])
	if len(places)%2 == 0 {
		median = math.Floor((median + float64(places[half-1])) / 2)
	}
	return Recall{within(1), within(5), within(10), sum/n + 1, median + 1}
}

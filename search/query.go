package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// Term is one thing that pictures should look like, or should not.
type Term struct {
	Text    string  // words, or
	Picture string  // a picture's file
	Weight  float32 // how much it counts, against it where negative; 0 is 1
}

// Query says which pictures to find.
type Query struct {
	Terms        []Term  // all together; without any, pictures come as they were added, the last first
	index.Filter         // of these pictures alone
	Top          int     // how many at most; 0 is DefaultTop
	Threshold    float32 // the least score; 0 is none
}

// DefaultTop is how many pictures a search finds where the Query does not say.
const DefaultTop = 20

// name is what errors call the term.
func (t Term) name() string {
	if t.Picture != "" {
		return "picture " + t.Picture
	}
	return fmt.Sprintf("term %q", t.Text)
}

// check refuses what is no term.
func (t Term) check() error {
	switch {
	case t.Text == "" && t.Picture == "":
		return errors.New("a term has neither words nor a picture")
	case t.Text != "" && t.Picture != "":
		return fmt.Errorf("%s also has the words %q", t.name(), t.Text)
	case math.IsNaN(float64(t.Weight)) || math.Abs(float64(t.Weight)) > maxWeight:
		return fmt.Errorf("%s has the weight %v, want one from %v to %v", t.name(), t.Weight, -maxWeight, maxWeight)
	}
	return nil
}

// maxWeight keeps sums of terms finite.
const maxWeight = 1e6

// check refuses what is no query.
func (q *Query) check() error {
	for _, t := range q.Terms {
		if err := t.check(); err != nil {
			return fmt.Errorf("%w: %w", clip.ErrInput, err)
		}
	}
	if q.Top < 0 {
		return fmt.Errorf("%w: the %d best pictures, want at least 1", clip.ErrInput, q.Top)
	}
	if math.IsNaN(float64(q.Threshold)) {
		return fmt.Errorf("%w: the threshold is no number", clip.ErrInput)
	}
	return nil
}

// cancelled is how little is left of terms, for a weight of 1 in all, where they cancel
// each other out: what rounding leaves.
const cancelled = 1e-5

// vector is the query as a unit vector: Σ weight · u / ‖Σ weight · u‖ over the terms, whose
// unit vectors are u.
func (s *Searcher) vector(ctx context.Context, terms []Term) ([]float32, error) {
	sum, weights := make([]float64, s.dim), 0.0
	for _, t := range terms {
		u, err := s.unit(ctx, t)
		if err != nil {
			return nil, err
		}
		w := float64(t.Weight)
		if w == 0 {
			w = 1
		}
		weights += math.Abs(w)
		for i, v := range u {
			sum[i] += w * float64(v)
		}
	}
	squares := 0.0
	for _, v := range sum {
		squares += v * v
	}
	norm := math.Sqrt(squares)
	if !(norm > cancelled*weights) { // also where it is NaN
		return nil, fmt.Errorf("%w: nothing is left to search for: the terms cancel each other out, the last is %s", clip.ErrInput, terms[len(terms)-1].name())
	}
	unit := make([]float32, len(sum))
	for i, v := range sum {
		unit[i] = float32(v / norm)
	}
	return unit, nil
}

// unit is a term's unit vector. The last ones are remembered, so that who types waits for
// what is new alone.
func (s *Searcher) unit(ctx context.Context, t Term) ([]float32, error) {
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	if u := s.known.get(key); u != nil {
		return u, nil
	}
	var features clip.Array
	if t.Picture != "" {
		features, err = s.model.EncodeImageFiles(ctx, []string{t.Picture}, Decoding(s.model)...)
	} else {
		features, err = s.model.EncodeTexts(ctx, []string{t.Text})
	}
	var one *tokenizer.TextError
	switch {
	case errors.As(err, &one):
		return nil, fmt.Errorf("%w: %s: %w", clip.ErrInput, t.name(), one.Err)
	case err != nil && t.Picture == "" && ctx.Err() == nil:
		return nil, fmt.Errorf("%s: %w", t.name(), err)
	case err != nil:
		return nil, err // which names the file
	case len(features.Data) != s.dim:
		return nil, fmt.Errorf("%w: %s has features of shape %v, the index vectors of %d values", clip.ErrInput, t.name(), features.Shape, s.dim)
	}
	s.known.put(key, features.Data)
	return features.Data, nil
}

// key identifies what a term's vector is made of.
func (t Term) key() (string, error) {
	if t.Picture == "" {
		return "text " + t.Text, nil
	}
	info, err := os.Stat(t.Picture)
	if err != nil {
		return "", err
	}
	return fmt.Sprint("picture ", info.Size(), info.ModTime().UnixNano(), t.Picture), nil
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/clip-wgpu/clip-wgpu/train/data"
)

// estimate says what the training takes. Two steps tell the time; nothing is kept of them.
func (r *trainingRun) estimate(ctx context.Context) error {
	trained, all := 0, 0
	for _, p := range r.model.NamedParameters() {
		if all += p.Shape.Elems(); p.RequiresGrad() {
			trained += p.Shape.Elems()
		}
	}
	fmt.Fprintf(r.stdout, "%s, %d of them unusable; %s of %d pairs, %d an epoch\n", plural(r.set.Len()+len(r.set.Bad), "sample"), len(r.set.Bad),
		plural(r.saved.Steps, "step"), r.batchSize.or(64), r.loader.Steps())
	fmt.Fprintf(r.stdout, "%d of %d parameters are trained\n", trained, all)
	var took time.Duration
	n := 0
	for b, err := range r.loader.Batches(ctx, data.Position{}) {
		if err != nil {
			return err
		}
		pairs, err := r.pairs(b)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := r.plan(pairs); err != nil {
				return err
			}
		}
		start := time.Now()
		if _, err := r.trainer.Step(ctx, pairs); err != nil {
			return err
		}
		if n++; n == 2 {
			took = time.Since(start)
			break
		}
	}
	_, err := fmt.Fprintf(r.stdout, "a step takes %v here, all %v, without evaluations\n", took.Round(time.Millisecond), (took * time.Duration(r.saved.Steps)).Round(time.Second))
	return err
}

// plan says what memory a step of a batch takes.
func (r *trainingRun) plan(b train.Batch) error {
	_, lengths, err := r.model.Feed(b.Inputs, b.Texts)
	if err != nil {
		return err
	}
	p, err := train.NewPlan(r.model, r.model.Device().Target(), r.config(r.model, r.schedule), len(b.Texts), lengths, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(r.stdout, p)
	return err
}

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// save writes the model and the picture of the loss, and then a checkpoint: what is trained
// to its end is there.
func (r *trainingRun) save(ctx context.Context) (err error) {
	r.tried = r.saved.Step
	next := r.saved
	next.State = fmt.Sprintf("state-%08d.safetensors", next.Step)
	if err := r.trainer.Save(ctx, r.folder.at(next.State)); err != nil {
		return err
	}
	defer func() {
		if err != nil && next.State != r.saved.State {
			os.Remove(r.folder.at(next.State))
		}
	}()
	if err := r.saveModel(ctx); err != nil {
		return err
	}
	if err := r.folder.plot(r.lines); err != nil {
		return err
	}
	if err := r.folder.commit(next); err != nil {
		return err
	}
	r.saved = next
	return nil
}

// saveModel writes what other commands take: the model, or its adapters.
func (r *trainingRun) saveModel(ctx context.Context) error {
	if r.adapter == nil {
		_, err := r.model.Save(ctx, r.result(), clip.SaveOptions{DType: weights.F32, Replace: true})
		return err
	}
	if err := os.MkdirAll(r.result(), 0o777); err != nil {
		return outputError(r.result(), err)
	}
	return r.adapter.Save(r.result(), r.model.Name(), func(p *graph.Param) graph.Source { return trained{ctx, r.model, p} })
}

// result is the folder that other commands take.
func (r *trainingRun) result() string {
	if r.adapter != nil {
		return r.folder.at(adapterName)
	}
	return r.folder.at(modelFolder)
}

// trained is a parameter on the device.
type trained struct {
	ctx   context.Context
	model *clip.Model
	param *graph.Param
}

// ReadF32 implements graph.Source.
func (t trained) ReadF32(dst []float32, offset int) error {
	all := make([]float32, t.param.Shape.Elems()) // a few thousand
	err := t.model.Store().ReadParam(t.ctx, t.param, all)
	copy(dst, all[offset:])
	return err
}

// finish saves what the last step left, an interrupt or not.
func (r *trainingRun) finish(ctx context.Context) error {
	if err := r.save(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if r.json {
		return nil
	}
	r.clear()
	_, err := fmt.Fprintf(r.stdout, "%s made; the result is in %s\n", plural(r.saved.Step, "step"), r.result())
	return err
}

// leave ends a piece of a training.
func (r *trainingRun) leave(ctx context.Context) error {
	if err := r.save(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if r.json {
		r.note("--minutes %g are over: %s", r.minutes, r.savedSteps())
		return nil
	}
	r.clear()
	_, err := fmt.Fprintf(r.stdout, "--minutes %g are over: %s\n", r.minutes, r.savedSteps())
	return err
}

// savedSteps says how far a training is that has not ended.
func (r *trainingRun) savedSteps() string {
	return fmt.Sprintf("%d of %s are saved; --resume %s goes on", r.saved.Step, plural(r.saved.Steps, "step"), r.output)
}

// interrupted saves the last whole step.
func (r *trainingRun) interrupted(ctx context.Context) error {
	if r.saved.Step == 0 {
		return ctx.Err()
	}
	if err := r.save(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return &exitError{exitInterrupted, "interrupted: " + r.savedSteps()}
}

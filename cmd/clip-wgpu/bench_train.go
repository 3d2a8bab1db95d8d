package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/spf13/cobra"
)

// stepMeasurement is one line of bench --train.
type stepMeasurement struct {
	Model               string         `json:"model"`
	Batch               int            `json:"batch"`       // pairs of a step
	MicroBatch          int            `json:"micro_batch"` // pairs that the towers see at once
	Weights             clip.CastDType `json:"weights"`
	ForwardMs           float64        `json:"forward_ms"`
	StepMs              float64        `json:"step_ms"`
	Ratio               float64        `json:"ratio"` // of a step to the forward pass
	PairsPerS           float64        `json:"pairs_per_s"`
	ForwardCPUMsPerPair float64        `json:"forward_cpu_ms_per_pair"` // of the whole process
	CPUMsPerPair        float64        `json:"cpu_ms_per_pair"`         // of a step
	CPURatio            float64        `json:"cpu_ratio"`
	Dispatches          int            `json:"dispatches"`    // of a step
	ArenaBytes          int64          `json:"arena_bytes"`   // activations of a step's largest program
	StateBytes          int64          `json:"state_bytes"`   // parameters, gradients, moments
	FirstStepMs         float64        `json:"first_step_ms"` // with building, loading and the driver's compiling
	Device              string         `json:"device"`
}

// trainedBatch is a step to measure, and the forward pass of the same pairs.
type trainedBatch struct {
	line          stepMeasurement
	forward, step *subject
}

// checkTraining refuses flags that do not go with --train.
func (b *bench) checkTraining(cmd *cobra.Command) error {
	if !b.step.train {
		return nil
	}
	for _, name := range []string{"pictures", "compare"} {
		if cmd.Flags().Changed(name) {
			return usageErrorf(cmd, "--%s does not go with --train", name)
		}
	}
	if b.step.loraRank == 0 && !slices.Equal(b.weights, weightsList{clip.F32}) || len(b.weights) > 1 {
		return usageErrorf(cmd, "--weights %s does not go with --train, which wants f32, or one of them with --lora-rank", b.weights.String())
	}
	return nil
}

// openTraining loads a model and makes a step of every batch.
func (b *bench) openTraining(ctx context.Context, g *globals, model string, keep func(io.Closer)) ([]*subject, error) {
	m, err := openAny(ctx, model, append(g.options(b.batches.largest()), clip.WithCastDType(b.weights[0])))
	if err != nil {
		return nil, err
	}
	keep(m)
	m.SetGradCheckpointing(b.step.checkpointing)
	if err := b.step.adapt(m); err != nil {
		return nil, err
	}
	c := train.DefaultConfig()
	c.MicroBatch = int(b.step.microBatch)
	adamW := c.Optimizer.(train.AdamW)
	adamW.LR = 0
	c.Optimizer = adamW
	trainer, err := train.New(m, c)
	if err != nil {
		return nil, err
	}
	keep(trainer)
	var subjects []*subject
	for _, batch := range b.batches {
		t, err := newTrainedBatch(ctx, m, trainer, batch)
		if err != nil {
			return nil, fmt.Errorf("a step of %d pairs: %w", batch, err)
		}
		t.line.Model, t.line.Weights = modelName(model), b.weights[0]
		b.trained = append(b.trained, t)
		subjects = append(subjects, t.forward, t.step)
	}
	return subjects, nil
}

// newTrainedBatch prepares the measurement of steps of a batch: it runs the forward pass
// and a step once.
func newTrainedBatch(ctx context.Context, m *clip.Model, trainer *train.Trainer, batch int) (*trainedBatch, error) {
	pairs := train.Batch{Images: noise(m, batch), Texts: captions(m, batch)}
	t := &trainedBatch{forward: &subject{items: batch}, step: &subject{items: batch}}
	t.forward.run = func() error {
		_, err := interruptible(ctx, func() (image clip.Array, err error) {
			if image, err = m.EncodeImage(ctx, pairs.Images, true); err == nil {
				_, err = m.EncodeText(ctx, pairs.Texts, true)
			}
			return image, err
		})
		return err
	}
	t.step.run = func() error {
		_, err := trainer.Step(ctx, pairs)
		return err
	}
	if err := t.forward.run(); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := t.step.run(); err != nil {
		return nil, err
	}
	first := time.Since(start)
	_, lengths, err := m.Feed(map[string]clip.Array{towers.Image: pairs.Images}, pairs.Texts)
	if err != nil {
		return nil, err
	}
	plan := trainer.Plan(batch, lengths)
	t.line = stepMeasurement{
		Batch: batch, MicroBatch: plan.MicroBatch, StateBytes: plan.StateBytes,
		FirstStepMs: milliseconds(first), Device: m.Device().Info().Name,
	}
	for _, part := range plan.Parts() {
		t.line.Dispatches += part.Runs * part.Program.Dispatches()
		t.line.ArenaBytes = max(t.line.ArenaBytes, part.Program.ArenaBytes())
	}
	return t, nil
}

func (t *trainedBatch) result() stepMeasurement {
	line, forward, step := t.line, t.forward.result(), t.step.result()
	line.ForwardMs = significant(1e3 * float64(line.Batch) / forward.ItemsPerS)
	line.StepMs = significant(1e3 * float64(line.Batch) / step.ItemsPerS)
	line.Ratio, line.PairsPerS = significant(line.StepMs/line.ForwardMs), step.ItemsPerS
	line.ForwardCPUMsPerPair, line.CPUMsPerPair = forward.CPUMsPerItem, step.CPUMsPerItem
	if forward.CPUMsPerItem > 0 {
		line.CPURatio = significant(step.CPUMsPerItem / forward.CPUMsPerItem)
	}
	return line
}

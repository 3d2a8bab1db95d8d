package main

import (
	"fmt"
	"io"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/spf13/cobra"
)

// stepOptions are the flags of a training step.
type stepOptions struct {
	train         bool
	checkpointing bool
	microBatch    count
}

func (o *stepOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.train, "train", false, "plan a training step")
	f.BoolVar(&o.checkpointing, "grad-checkpointing", false, "with --train: compute blocks twice rather than keep what they compute")
	f.Var(&o.microBatch, "micro-batch", "with --train: most pairs that the towers see at once")
}

// check refuses the flags of a step where none is planned, and those of a tower where one
// is.
func (o *stepOptions) check(cmd *cobra.Command) error {
	if o.train && cmd.Flags().Changed("tower") {
		return usageErrorf(cmd, "--tower does not go with --train")
	}
	for _, name := range []string{"grad-checkpointing", "micro-batch"} {
		if !o.train && cmd.Flags().Changed(name) {
			return usageErrorf(cmd, "--%s goes with --train", name)
		}
	}
	return nil
}

// plannable is a model whose towers and training steps can be planned.
type plannable interface {
	lowered
	plan(c train.Config, checkpointing bool, pairs int, budget int64) (*train.Plan, error)
	Close() error
}

// onDevice is a model on its device.
type onDevice struct{ *clip.Model }

func (m onDevice) plan(c train.Config, checkpointing bool, pairs int, budget int64) (*train.Plan, error) {
	m.SetGradCheckpointing(checkpointing)
	return train.NewPlan(m, m.Device().Target(), c, pairs, m.Config().TextCfg.ContextLength, budget)
}

func (a atRest) plan(c train.Config, checkpointing bool, pairs int, budget int64) (*train.Plan, error) {
	a.Model.GradCheckpointing = checkpointing
	return train.NewPlan(a.Model, a.target(), c, pairs, a.Model.Config.TextCfg.ContextLength, budget)
}

// writePlan writes the plan of a training step.
func (g *globals) writePlan(w io.Writer, m plannable, o stepOptions) error {
	c := train.DefaultConfig()
	c.MicroBatch = int(o.microBatch)
	p, err := m.plan(c, o.checkpointing, g.batch.or(1), int64(g.maxMemory))
	if err != nil {
		return err
	}
	if !g.json {
		_, err := fmt.Fprint(w, p)
		return err
	}
	type program struct {
		Name       string `json:"name"`
		Runs       int    `json:"runs"`
		Dispatches int    `json:"dispatches"`
		ArenaBytes int64  `json:"arena_bytes"`
	}
	line := struct {
		Pairs      int       `json:"pairs"`
		MicroBatch int       `json:"micro_batch"`
		StateBytes int64     `json:"state_bytes"`
		WorkBytes  int64     `json:"work_bytes"`
		Programs   []program `json:"programs"`
	}{Pairs: p.Pairs, MicroBatch: p.MicroBatch, StateBytes: p.StateBytes, WorkBytes: p.WorkBytes}
	for _, part := range p.Parts() {
		line.Programs = append(line.Programs, program{part.Name, part.Runs, len(part.Program.Steps), part.Program.ArenaBytes()})
	}
	return newJSONLines(w).Encode(line)
}

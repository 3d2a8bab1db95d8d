package main

import (
	"fmt"
	"io"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/lora"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/spf13/cobra"
)

// stepOptions are the flags of a training step.
type stepOptions struct {
	train         bool
	checkpointing bool
	microBatch    count
	loraRank      count
}

// addFlags adds the flags to a command, which does what train says with a step.
func (o *stepOptions) addFlags(cmd *cobra.Command, train string) {
	f := cmd.Flags()
	f.BoolVar(&o.train, "train", false, train)
	f.BoolVar(&o.checkpointing, "grad-checkpointing", false, "with --train: compute blocks twice rather than keep what they compute")
	f.Var(&o.microBatch, "micro-batch", "with --train: most pairs that the towers see at once")
	f.Var(&o.loraRank, "lora-rank", "with --train: train adapters of this rank alone (LoRA)")
}

// check refuses the flags of a step where there is none, and those of a tower where one
// is.
func (o *stepOptions) check(cmd *cobra.Command) error {
	if o.train && cmd.Flags().Changed("tower") {
		return usageErrorf(cmd, "--tower does not go with --train")
	}
	for _, name := range []string{"grad-checkpointing", "micro-batch", "lora-rank"} {
		if !o.train && cmd.Flags().Changed(name) {
			return usageErrorf(cmd, "--%s goes with --train", name)
		}
	}
	return nil
}

// plannable is a model whose towers and training steps can be planned.
type plannable interface {
	lowered
	// trainee is the model in training, its device and the lengths of its inputs.
	trainee(checkpointing bool) (train.Structure, graph.Target, towers.Lengths)
	Tree() any
	Close() error
}

// adapt gives m the adapters that --lora-rank asks for.
func (o stepOptions) adapt(m interface{ Tree() any }) error {
	if o.loraRank == 0 {
		return nil
	}
	_, err := lora.New(m.Tree(), lora.Config{Rank: int(o.loraRank), Alpha: float64(o.loraRank), Targets: []string{lora.AllLinear}}, 0)
	return err
}

// onDevice is a model on its device.
type onDevice struct{ *clip.Model }

func (m onDevice) trainee(checkpointing bool) (train.Structure, graph.Target, towers.Lengths) {
	m.SetGradCheckpointing(checkpointing)
	return m, m.Device().Target(), m.Lengths()
}

func (a atRest) trainee(checkpointing bool) (train.Structure, graph.Target, towers.Lengths) {
	a.Model.GradCheckpointing = checkpointing
	return a.Model, a.info.Target(), a.Model.Lengths()
}

// planLine is the plan of a training step in JSON.
type planLine struct {
	Pairs      int           `json:"pairs"`
	MicroBatch int           `json:"micro_batch"`
	StateBytes int64         `json:"state_bytes"`
	WorkBytes  int64         `json:"work_bytes"`
	Programs   []planProgram `json:"programs"`
}

type planProgram struct {
	Name       string `json:"name"`
	Runs       int    `json:"runs"`
	Dispatches int    `json:"dispatches"`
	ArenaBytes int64  `json:"arena_bytes"`
}

// writePlan writes the plan of a training step.
func (g *globals) writePlan(w io.Writer, m plannable, o stepOptions) error {
	c := train.DefaultConfig()
	c.MicroBatch = int(o.microBatch)
	if err := o.adapt(m); err != nil {
		return err
	}
	structure, target, lengths := m.trainee(o.checkpointing)
	p, err := train.NewPlan(structure, target, c, g.batch.or(1), lengths, int64(g.maxMemory))
	if err != nil {
		return err
	}
	if !g.json {
		_, err := fmt.Fprint(w, p)
		return err
	}
	line := planLine{Pairs: p.Pairs, MicroBatch: p.MicroBatch, StateBytes: p.StateBytes, WorkBytes: p.WorkBytes}
	for _, part := range p.Parts() {
		line.Programs = append(line.Programs, planProgram{part.Name, part.Runs, part.Program.Dispatches(), part.Program.ArenaBytes()})
	}
	return newJSONLines(w).Encode(line)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/spf13/cobra"
)

func newProgramCommand(g *globals) *cobra.Command {
	var tower, limits string
	var step stepOptions
	cmd := &cobra.Command{
		Use:   "program [MODEL]",
		Short: "List the GPU dispatches that a tower consists of",
		Long: `program lists what the GPU replays for a batch (--batch, default 1): one line a
dispatch with its buffers, kernel, workgroups and layer. What depends on weights alone
is listed first: it runs once, and again after the weights have changed. --json writes
{"step":..., "scope":..., "op":..., "kernel":..., "buffers":[...], "groups":[x, y]}
for each dispatch, with "once":true for those.

--train lists the programs of a training step of --batch pairs with ClipLoss and AdamW,
and what memory it takes. The towers see as many pairs at once as --max-gpu-mem allows.
--json writes {"pairs":..., "micro_batch":..., "state_bytes":..., "work_bytes":...,
"programs":[{"name":..., "runs":..., "dispatches":..., "arena_bytes":...}]}.

--limits needs no GPU and no driver: "default" lists what a device with WebGPU's
default limits would replay, FILE what a device would that "devices --json" wrote
there, on this machine or another. --device chooses among several. What tune has
saved counts for the device alone.

MODEL is ` + modelHelp + `.`,
		Args: func(cmd *cobra.Command, args []string) error {
			return cmp.Or(oneModelArg(cmd, args), checkTower(cmd, tower), step.check(cmd))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := g.openFor(cmd.Context(), g.oneModel(args), limits)
			if err != nil {
				return err
			}
			defer m.Close()
			if step.train {
				return g.writePlan(cmd.OutOrStdout(), m, step)
			}
			p, err := towerProgram(m, tower, g.batch.or(1))
			if err != nil {
				return err
			}
			if g.json {
				return writeDispatches(cmd.OutOrStdout(), p)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), p)
			return err
		},
	}
	addTowerFlag(cmd, &tower)
	cmd.Flags().StringVar(&limits, "limits", "", `"default", or a `+"`file`"+` that devices --json wrote (default: those of the device)`)
	step.addFlags(cmd, "plan a training step")
	return cmd
}

// openFor opens a model on the device or, where limits are given, for one that has them.
func (g *globals) openFor(ctx context.Context, source, limits string) (plannable, error) {
	if limits == "" {
		m, err := openAny(ctx, source, g.options(g.batch.or(1)))
		if err != nil {
			return nil, err
		}
		return onDevice{m}, nil
	}
	info, err := readLimits(limits, string(g.device))
	if err != nil {
		return nil, err
	}
	c, err := openAnyAtRest(ctx, source, g.checkpoint())
	if err != nil {
		return nil, err
	}
	err = c.Model.Cast(string(g.weights))
	if err == nil {
		err = c.Inspect(ctx) // a weight that does not fit changes how it is stored
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return atRest{c, info}, nil
}

// atRest lowers a checkpoint for a device that need not be there.
type atRest struct {
	*checkpoint.Checkpoint
	info gpu.Info
}

// Tree is the model's.
func (a atRest) Tree() any { return a.Model.Tree() }

func (a atRest) Programs(batch int) (image, text *graph.Program, err error) {
	return a.Model.Programs(batch, func(g *graph.Graph) { g.Target = a.info.Target() })
}

func writeDispatches(w io.Writer, p *graph.Program) error {
	jsonLines := newJSONLines(w)
	for i, s := range p.Steps {
		buffers := make([]string, len(s.Slots))
		for j, slot := range s.Slots {
			buffers[j] = slot.String()
		}
		err := jsonLines.Encode(struct {
			Step    int       `json:"step"`
			Scope   string    `json:"scope"`
			Op      string    `json:"op"`
			Kernel  string    `json:"kernel"`
			Buffers []string  `json:"buffers"`
			Groups  [2]uint32 `json:"groups"`
			Once    bool      `json:"once,omitempty"`
		}{i, s.Scope, s.Op, s.Kernel.Name, buffers, s.Groups, i < p.Once})
		if err != nil {
			return err
		}
	}
	return nil
}

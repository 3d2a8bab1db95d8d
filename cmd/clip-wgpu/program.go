package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/spf13/cobra"
)

func newProgramCommand(g *globals) *cobra.Command {
	var tower, limits string
	cmd := &cobra.Command{
		Use:   "program [MODEL]",
		Short: "List the GPU dispatches that a tower consists of",
		Long: `program lists what the GPU replays for a batch (--batch, default 1): one line a
dispatch with its buffers, kernel, workgroups and layer. --json writes
{"step":..., "scope":..., "op":..., "kernel":..., "buffers":[...], "groups":[x, y]}
for each dispatch.

--limits needs no GPU and no driver: "default" lists what a device with WebGPU's
default limits would replay, FILE what a device would that "devices --json" wrote
there, on this machine or another. --device chooses among several. What tune has
saved counts for the device alone.

MODEL is ` + modelHelp + `.`,
		Args: func(cmd *cobra.Command, args []string) error {
			return cmp.Or(oneModelArg(cmd, args), checkTower(cmd, tower))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := g.program(cmd.Context(), g.oneModel(args), tower, limits)
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
	return cmd
}

// program lowers a tower for the device or, where limits are given, for one that has them.
func (g *globals) program(ctx context.Context, source, tower, limits string) (*graph.Program, error) {
	batch := g.batch.or(1)
	if limits == "" {
		m, err := openAny(ctx, source, g.options(batch))
		if err != nil {
			return nil, err
		}
		defer m.Close()
		return towerProgram(m, tower, batch)
	}
	info, err := readLimits(limits, string(g.device))
	if err != nil {
		return nil, err
	}
	c, err := openAnyAtRest(ctx, source, g.checkpoint())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Model.Cast(string(g.weights)); err != nil {
		return nil, err
	}
	if err := c.Inspect(ctx); err != nil { // a weight that does not fit changes how it is stored
		return nil, err
	}
	return towerProgram(atRest{c, info}, tower, batch)
}

// atRest lowers a checkpoint for a device that need not be there.
type atRest struct {
	*checkpoint.Checkpoint
	info gpu.Info
}

func (a atRest) Programs(batch int) (image, text *graph.Program, err error) {
	return a.Model.Programs(batch, func(g *graph.Graph) {
		g.Target = graph.Target{Software: a.info.Software(), MaxBinding: a.info.MaxBindingBytes}
	})
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
		}{i, s.Scope, s.Op, s.Kernel.Name, buffers, s.Groups})
		if err != nil {
			return err
		}
	}
	return nil
}

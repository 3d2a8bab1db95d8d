package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/spf13/cobra"
)

func newProgramCommand(g *globals) *cobra.Command {
	var tower string
	cmd := &cobra.Command{
		Use:   "program [MODEL]",
		Short: "List the GPU dispatches that a tower consists of",
		Long: `program lists what the GPU replays for a batch (--batch, default 1): one line a
dispatch with its buffers, kernel, workgroups and layer. --json writes
{"step":..., "scope":..., "op":..., "kernel":..., "buffers":[...], "groups":[x, y]}
for each dispatch.

MODEL is ` + modelHelp + `.`,
		Args: func(cmd *cobra.Command, args []string) error {
			return cmp.Or(oneModelArg(cmd, args), checkTower(cmd, tower))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			batch := g.batch.or(1)
			m, err := openAny(cmd.Context(), g.oneModel(args), g.options(batch))
			if err != nil {
				return err
			}
			defer m.Close()
			p, err := towerProgram(m, tower, batch)
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
	return cmd
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

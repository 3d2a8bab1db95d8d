package main

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/spf13/cobra"
)

func newProgramCommand(g *globals) *cobra.Command {
	var tower string
	cmd := &cobra.Command{
		Use:   "program [MODEL]",
		Short: "List the GPU dispatches that a tower consists of",
		Long: `program lists what the GPU replays for a batch (--batch, default 1): one line a
dispatch with its buffers, kernel, workgroups and layer.

MODEL is a folder, a safetensors file, ` + clip.Embedded + ` (default), or an
architecture by its name: ` + architectureNames() + `.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageErrorf(cmd, "one model expected, %d given", len(args))
			}
			return checkTower(cmd, tower)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			source := g.model
			if len(args) == 1 {
				source = args[0]
			}
			batch := g.batch.or(1)
			m, err := openAny(cmd.Context(), source, g.options(batch))
			if err != nil {
				return err
			}
			defer m.Close()
			p, err := towerProgram(m, tower, batch)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), p)
			return err
		},
	}
	addTowerFlag(cmd, &tower)
	return cmd
}

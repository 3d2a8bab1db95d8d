package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"
)

func newProgramCommand(g *globals) *cobra.Command {
	var tower string
	cmd := &cobra.Command{
		Use:   "program [MODEL]",
		Short: "List the GPU dispatches that a tower consists of",
		Long: `program lists what the GPU replays for a batch (--batch, default 1): one line a
dispatch with its buffers, kernel, workgroups and layer.

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
			_, err = fmt.Fprint(cmd.OutOrStdout(), p)
			return err
		},
	}
	addTowerFlag(cmd, &tower)
	return cmd
}

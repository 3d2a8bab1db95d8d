package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/spf13/cobra"
)

func newTuneCommand(g *globals) *cobra.Command {
	batches := batchList{1, 8}
	dryRun := false
	cmd := &cobra.Command{
		Use:   "tune [MODEL]",
		Short: "Measure which kernels are fastest on this device",
		Long: `tune times every kernel that could do each part of a model's towers, for each
--batch, prints the times and keeps them in the user's cache folder, for this
adapter, driver and version of the kernels. Later runs take the fastest, also for
batches of up to four times or down to a quarter of one that was measured; without
tune they take what is usually good. A run never times anything by itself.

Equal layers take equally long, so one of each kind is measured, in two passes. The
second leaves out kernels that took three times as long as the best. Times are of
one layer.
--json writes {"class":..., "kernel":..., "ms":...} for each kernel, the fastest
of a class first.

MODEL is a folder, a file of weights, the embedded model (default), or an
architecture by its name.`,
		Args: oneModelArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !dryRun {
				if err := gpu.CanSaveTuning(); err != nil {
					return fmt.Errorf("no place to keep the times: %w (--dry-run keeps none)", err)
				}
			}
			m, err := openAny(cmd.Context(), g.oneModel(args), g.options(batches.largest()))
			if err != nil {
				return err
			}
			defer m.Close()
			console := newConsole(cmd.ErrOrStderr(), g.quiet)
			tuning, err := m.Tune(cmd.Context(), batches, func(done, total int, left time.Duration) {
				console.update("run %d of at most %d%s", done, total, timeLeft(left))
			})
			console.clear()
			if err != nil {
				return err
			}
			written := writeTuning(cmd.OutOrStdout(), tuning, g.json)
			if dryRun {
				return written
			}
			path, err := tuning.Save()
			if err == nil {
				console.note("kept in %s", path)
			}
			return errors.Join(err, written)
		},
	}
	cmd.Flags().Var(&batches, "batch", "batch sizes, powers of two, with commas between")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the times and keep nothing")
	return cmd
}

// timeLeft says how long something will take, where that is known.
func timeLeft(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf(", %v left", d.Round(time.Second))
}

// writeTuning lists each class with its candidates, the fastest first and how
// much slower the others are: why each won.
func writeTuning(w io.Writer, t *gpu.Tuning, asJSON bool) error {
	var b strings.Builder
	jsonLines := newJSONLines(&b)
	for _, class := range t.Classes() {
		times := t.Seconds[class]
		names := slices.SortedFunc(maps.Keys(times), func(x, y string) int {
			return cmp.Or(cmp.Compare(times[x], times[y]), cmp.Compare(x, y))
		})
		if asJSON {
			for _, name := range names {
				err := jsonLines.Encode(struct {
					Class  string  `json:"class"`
					Kernel string  `json:"kernel"`
					Ms     float64 `json:"ms"`
				}{class, name, 1e3 * times[name]})
				if err != nil {
					return err
				}
			}
			continue
		}
		fmt.Fprintln(&b, class)
		for i, name := range names {
			note := fmt.Sprintf("%5.2f×", times[name]/times[names[0]])
			if i == 0 {
				note = "fastest"
			}
			fmt.Fprintf(&b, "  %10.3f ms  %-8s %s\n", 1e3*times[name], note, name)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

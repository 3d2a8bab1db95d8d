package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/spf13/cobra"
)

const profileHelp = `profile tells where the GPU's time goes when a tower encodes a batch (--batch,
default 1): a table by kernel and one by layer, the same layers of all blocks
together; with --json a line for every dispatch, and with --pprof a file for
viewers of Google's pprof. Of --runs runs each dispatch's median counts. A batch that
encoding splits, because it is no power of two or more than the device takes at once,
is profiled so, and its parts' dispatches follow each other.

The times are the GPU's own where it has timestamps. Every dispatch is measured
by itself, many times over where it is short, so that all together take somewhat
longer than in a normal run. What runs once, not for every batch, is left out.

go tool pprof -http=: FILE shows the file as a flame graph, with equal blocks
together; -tagroot=block takes them apart.

MODEL is ` + modelHelp + `.`

type profile struct {
	tower     string
	pprof     string
	top, runs count
}

func newProfileCommand(g *globals) *cobra.Command {
	p := &profile{top: 12, runs: 5}
	cmd := &cobra.Command{
		Use:     "profile [MODEL]",
		Short:   "Show where the GPU's time goes",
		Long:    profileHelp,
		Example: "  clip-wgpu profile ViT-B-32 --tower text --pprof text.pb.gz",
		Args: func(cmd *cobra.Command, args []string) error {
			return cmp.Or(oneModelArg(cmd, args), checkTower(cmd, p.tower))
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.command(cmd, g, g.oneModel(args)) },
	}
	addTowerFlag(cmd, &p.tower)
	cmd.Flags().StringVar(&p.pprof, "pprof", "", "write a profile for pprof into this `file`")
	cmd.Flags().Var(&p.top, "top", "rows of each table")
	cmd.Flags().Var(&p.runs, "runs", "runs to measure")
	return cmd
}

func (p *profile) command(cmd *cobra.Command, g *globals, source string) error {
	var file *pendingFile
	if p.pprof != "" {
		var err error
		if file, err = createPending(p.pprof, g.force); err != nil {
			return err
		}
		defer file.discard()
	}
	console := newConsole(cmd.ErrOrStderr(), g.quiet)
	console.expectResult()
	defer console.cancelStartNote()
	batch := g.batch.or(1)
	m, err := openAny(cmd.Context(), source, g.options(batch))
	if err != nil {
		return err
	}
	defer func() {
		if cmd.Context().Err() == nil { // else a run may still be going on
			m.Close()
		}
	}()
	steps, run, err := p.measure(cmd.Context(), m, batch)
	if err != nil {
		return err
	}
	console.cancelStartNote()
	info := m.Device().Info()
	if !info.Timestamps {
		console.note("%s has no timestamps: each time is that of a submission, which is 0.1 ms or more for the shortest", info.Name)
	}
	split := ""
	if len(run) > 1 || run[0].times > 1 {
		split = fmt.Sprintf(" (%s)", run)
	}
	title := fmt.Sprintf("%s, %s tower, batch %d%s, %s weights on %s", modelName(source), p.tower, batch, split, g.weights.String(), info.Name)
	if file != nil {
		if err := writePprof(file, title, steps); err != nil {
			return err
		}
		if err := file.commit(); err != nil {
			return err
		}
	}
	if g.json {
		return steps.writeJSON(cmd.OutOrStdout())
	}
	return steps.write(cmd.OutOrStdout(), title, int(p.top))
}

// measure runs the tower on n items, split as encoding splits them, and returns the median
// of each step of all parts.
func (p *profile) measure(ctx context.Context, m *clip.Model, n int) (all steps, run parts, err error) {
	measured := map[int]steps{} // by batch
	run, err = partsOf(m, p.tower, n, func(program *graph.Program, batch int) (err error) {
		measured[batch], err = interruptible(ctx, func() (steps, error) { return p.measurePart(ctx, m, program, batch) })
		return err
	})
	for _, part := range run {
		for range part.times {
			all = append(all, measured[part.batch]...)
		}
	}
	return all, run, err
}

// measurePart runs the program of a batch.
func (p *profile) measurePart(ctx context.Context, m *clip.Model, program *graph.Program, batch int) (steps, error) {
	all, _, err := m.Feed(map[string]clip.Array{towers.Image: noise(m, batch)}, captions(m, batch))
	if err != nil {
		return nil, err
	}
	inputs := map[string]any{}
	for _, in := range program.Inputs {
		inputs[in.Name] = all[in.Name]
	}
	session, err := m.Device().Load(program, m.Store())
	if err != nil {
		return nil, err
	}
	defer session.Close()
	for range 2 { // in the first the driver compiles, from the second the session learns what a step costs
		if err := session.Run(ctx, gpu.IO{Inputs: inputs}); err != nil {
			return nil, err
		}
	}
	durations := make([][]time.Duration, len(program.Steps))
	for range int(p.runs) {
		timings, err := session.Profile(ctx, inputs)
		if err != nil {
			return nil, err
		}
		for i, t := range timings {
			durations[i] = append(durations[i], t.Duration)
		}
	}
	return newSteps(program, batch, durations), nil
}

// timedStep is a dispatch and the GPU's time for it.
type timedStep struct {
	scope, op, kernel string
	batch             int // of the part of the run
	flops             int64
	duration          time.Duration
}

type steps []timedStep

// newSteps are the steps of every run of p.
func newSteps(p *graph.Program, batch int, durations [][]time.Duration) steps {
	var all steps
	for i := p.Once; i < len(p.Steps); i++ {
		s := p.Steps[i]
		all = append(all, timedStep{s.Scope, s.Op, s.Kernel.Name, batch, s.FLOPs, median(durations[i])})
	}
	return all
}

// layer names the step's layer without its block's number.
func (s timedStep) layer() string {
	return blockNumber.ReplaceAllString(strings.TrimPrefix(s.scope+"."+s.op, "."), ".*.")
}

var blockNumber = regexp.MustCompile(`\.\d+\.`)

// share is what some steps took together.
type share struct {
	name     string
	calls    int
	flops    int64
	duration time.Duration
}

// by adds up the steps of the same name, the longest first.
func (s steps) by(name func(timedStep) string) []share {
	index := map[string]int{}
	var shares []share
	for _, step := range s {
		n := name(step)
		i, ok := index[n]
		if !ok {
			i = len(shares)
			index[n] = i
			shares = append(shares, share{name: n})
		}
		shares[i].calls++
		shares[i].flops += step.flops
		shares[i].duration += step.duration
	}
	slices.SortStableFunc(shares, func(a, b share) int { return cmp.Compare(b.duration, a.duration) })
	return shares
}

func (s steps) total() share {
	var sum share
	for _, step := range s {
		sum.calls++
		sum.flops += step.flops
		sum.duration += step.duration
	}
	return sum
}

// gflops is a rate in GFLOP/s.
func (s share) gflops() float64 { return float64(s.flops) / max(1, float64(s.duration)) }

func (s share) rate() string {
	if s.flops == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", s.gflops())
}

func (s steps) write(w io.Writer, title string, top int) error {
	total := s.total()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%.1f ms in %d dispatches, %.1f GFLOP/s\n", title, milliseconds(total.duration), total.calls, total.gflops())
	for _, table := range []struct {
		heading string
		name    func(timedStep) string
	}{{"kernel", func(s timedStep) string { return s.kernel }}, {"layer", timedStep.layer}} {
		shares := s.by(table.name)
		rest := share{}
		for _, r := range shares[min(top, len(shares)):] {
			rest.calls, rest.flops, rest.duration = rest.calls+r.calls, rest.flops+r.flops, rest.duration+r.duration
		}
		if shares = shares[:min(top, len(shares))]; rest.calls > 0 {
			rest.name = "all others"
			shares = append(shares, rest)
		}
		width := len(table.heading)
		for _, r := range shares {
			width = max(width, utf8.RuneCountInString(r.name))
		}
		fmt.Fprintf(&b, "\n%-*s %10s %6s %6s %8s\n", width, table.heading, "ms", "%", "calls", "GFLOP/s")
		for _, r := range shares {
			percent := 100 * float64(r.duration) / max(1, float64(total.duration))
			line := fmt.Sprintf("%-*s %10.3f %6.1f %6d %8s", width, r.name, milliseconds(r.duration), percent, r.calls, r.rate())
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s steps) writeJSON(w io.Writer) error {
	out := newJSONLines(w)
	for i, step := range s {
		if err := out.Encode(struct {
			Step   int     `json:"step"`
			Scope  string  `json:"scope"`
			Op     string  `json:"op"`
			Kernel string  `json:"kernel"`
			Batch  int     `json:"batch"`
			FLOPs  int64   `json:"flops"`
			Ms     float64 `json:"ms"`
		}{i, step.scope, step.op, step.kernel, step.batch, step.flops, milliseconds(step.duration)}); err != nil {
			return err
		}
	}
	return nil
}

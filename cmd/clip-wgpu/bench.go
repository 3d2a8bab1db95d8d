package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/usage"
)

// measurement is one line of bench.
type measurement struct {
	Model        string         `json:"model"`
	Tower        string         `json:"tower"`
	Batch        int            `json:"batch"`
	Weights      clip.CastDType `json:"weights"`
	ItemsPerS    float64        `json:"items_per_s"`
	GFLOPS       float64        `json:"gflops"`          // a second, of matrix products
	CPUMsPerItem float64        `json:"cpu_ms_per_item"` // of the whole process
	Dispatches   int            `json:"dispatches"`      // a batch
	ArenaBytes   int64          `json:"arena_bytes"`     // activations of a batch, or of a part where it is split
	LoadMs       float64        `json:"load_ms"`         // to open the device and bring model and weights to it
	FirstRunMs   float64        `json:"first_run_ms"`    // with the driver's compiling
	AnonPeakMB   float64        `json:"anon_peak_mb"`    // most anonymous memory of the process while loading and at the first run, less what it had before; 0 where the system does not tell
	Device       string         `json:"device"`
	Shares       *pictureShares `json:"shares,omitempty"` // of --pictures
}

const benchHelp = `bench measures how many inputs a second a tower encodes, for each of --weights
and --batch, and writes JSON lines. All are measured in turns, --rounds times,
and the medians count. cpu_ms_per_item is process CPU time, which on a software
driver, or where others use the machine, says more than wall time. load_ms
includes making the weights where they are random.

--pictures DIR measures the way from the pictures in a folder to vectors, as embed goes
it, all of them in each turn: items are pictures, the tower is called pictures, and
"shares" are those of the time that went into reading files, decoding, resizing, upload,
computation and readback. Pictures are made ready on all cores while batches are computed.

--captions measures captions a second instead, by beam search as open_clip's defaults have
it, of 30 tokens each, of a model with a decoder: items are captions, the tower is called
captions, and "dispatches" are those of a token of one image.

--train measures, for each --batch, a training step of so many pairs (ClipLoss, AdamW
with a learning rate of 0, so that all steps are of one model) beside the forward pass of
the same pairs: EncodeImage and EncodeText, both towers without gradients, in turns.
"ratio" is step_ms ÷ forward_ms, "cpu_ratio" that of the process's CPU times.
"dispatches" are a step's, "arena_bytes" the activations of its largest program, and
"state_bytes" the parameters, gradients and moments.

--compare prints, instead, a table beside other programs' measurements: JSON
lines with system, model (b32, b16, l14, rn50 or our names), tower, batch, items_per_s
and, where known, ep (execution provider) and cpu_ms_per_run of a whole batch.
Of several for the same thing the median counts, and the file is read at the end,
so that a program may run at the same time and share the machine's ups and downs.

--model takes ` + modelHelp + `. All of
several, with commas between or a --model each, are measured in turns.`

type bench struct {
	models  []string
	step    stepOptions
	trained []*trainedBatch
	tower   string
	folder  string // of pictures
	writes  bool   // captions
	search  imageSearch
	paths   []string
	batches batchList
	weights weightsList
	seconds float64
	rounds  count
	compare string
}

func newBenchCommand(g *globals) *cobra.Command {
	b := &bench{batches: batchList{1, 8}, weights: weightsList{clip.F32}, rounds: 3}
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Measure how many inputs a second a tower encodes",
		Long:    benchHelp,
		Example: "  clip-wgpu bench --model ViT-B-32 --tower text --batch 1,8 --weights f32,f16",
		Args: func(cmd *cobra.Command, args []string) error {
			if b.seconds <= 0 || b.seconds > 3600 {
				return usageErrorf(cmd, "--seconds %v: want more than 0 and at most 3600", b.seconds)
			}
			return cmp.Or(noArgs(cmd, args), b.checkModels(cmd), checkTower(cmd, b.tower), b.step.check(cmd), b.checkCaptions(cmd), b.checkTraining(cmd), b.checkPictures(cmd))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return b.command(cmd, g) },
	}
	addTowerFlag(cmd, &b.tower)
	f := cmd.Flags()
	f.StringSliceVar(&b.models, "model", nil, "`models` to measure, with commas between (default: the embedded "+checkpoint.Embedded+")")
	b.step.addFlags(cmd, "measure a training step")
	f.Var(&b.batches, "batch", "batch sizes, powers of two, with commas between")
	f.Var(&b.weights, "weights", "how the device stores weights: f32, f16, bf16, q8, with commas between")
	f.Float64Var(&b.seconds, "seconds", 3, "least `time` to measure each batch size for, in all rounds together")
	f.Var(&b.rounds, "rounds", "turns of measuring")
	f.StringVar(&b.folder, "pictures", "", "measure the way from the pictures in this `folder` to vectors")
	f.BoolVar(&b.writes, "captions", false, "measure captions of a model with a decoder")
	b.search.addFlags(cmd)
	f.StringVar(&b.compare, "compare", "", "print a table beside the measurements in this `file`")
	return cmd
}

func (b *bench) command(cmd *cobra.Command, g *globals) (err error) {
	if b.compare != "" { // a mistake is told at once, and what a peer writes meanwhile counts
		if _, err := readPeers(b.compare); err != nil {
			return err
		}
	}
	ctx := cmd.Context()
	if err := b.listPictures(ctx); err != nil {
		return err
	}
	console := newConsole(cmd.ErrOrStderr(), g.quiet)
	console.expectResult()
	defer console.cancelStartNote()
	defer console.clear()
	subjects, closeAll, err := b.open(ctx, g)
	defer func() {
		if ctx.Err() == nil { // else a run may still be going on
			err = errors.Join(err, closeAll())
		}
	}()
	if err != nil {
		return err
	}
	console.cancelStartNote()
	for round := range int(b.rounds) {
		for i, s := range subjects {
			console.update("round %d of %d, %d of %d", round+1, b.rounds, i+1, len(subjects))
			if err := s.round(b.seconds / float64(b.rounds)); err != nil {
				return err
			}
		}
	}
	console.clear()
	return b.write(cmd.OutOrStdout(), subjects)
}

// checkModels refuses a list with a model that has no name.
func (b *bench) checkModels(cmd *cobra.Command) error {
	if len(b.models) > 1 && slices.Contains(b.models, "") {
		return usageErrorf(cmd, "--model %q: want a model at each place", b.models)
	}
	if len(b.models) == 0 {
		b.models = []string{checkpoint.Embedded}
	}
	return nil
}

// write writes what was measured.
func (b *bench) write(w io.Writer, subjects []*subject) error {
	out := newJSONLines(w)
	if b.step.train {
		for _, t := range b.trained {
			if err := out.Encode(t.result()); err != nil {
				return err
			}
		}
		return nil
	}
	var lines []measurement
	for _, s := range subjects {
		lines = append(lines, s.result())
	}
	if b.compare != "" {
		peers, err := readPeers(b.compare)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(w, compareTable(lines, peers))
		return err
	}
	for _, line := range lines {
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// subject is one thing to measure: a model in one storage of weights, and a batch size.
type subject struct {
	line       measurement
	flops      float64 // an item
	items      int     // of one call of run
	run        func() error
	times      *clip.PictureTimes // of the last call; nil of made-up inputs
	shares     []pictureShares    // by round
	speed, cpu []float64          // items a second and CPU milliseconds an item, by round
}

// open loads every model for each storage of weights, and runs every batch once.
func (b *bench) open(ctx context.Context, g *globals) (subjects []*subject, closeAll func() error, err error) {
	var opened []io.Closer
	closeAll = func() error {
		var errs []error
		for _, c := range slices.Backward(opened) {
			errs = append(errs, c.Close())
		}
		return errors.Join(errs...)
	}
	keep := func(c io.Closer) { opened = append(opened, c) }
	for _, model := range b.models {
		for _, weights := range b.weights {
			var more []*subject
			if b.step.train {
				more, err = b.openTraining(ctx, g, model, keep)
			} else {
				more, err = b.openModel(ctx, g, model, weights, keep)
			}
			if err != nil {
				return nil, closeAll, err
			}
			subjects = append(subjects, more...)
		}
	}
	return subjects, closeAll, nil
}

// openModel loads a model and encodes every batch once.
func (b *bench) openModel(ctx context.Context, g *globals, model string, weights clip.CastDType, keep func(io.Closer)) ([]*subject, error) {
	var subjects []*subject
	var m *clip.Model
	var load time.Duration
	before := usage.Anonymous()
	for _, batch := range b.batches {
		var s *subject
		peak, err := usage.PeakAnonymous(func() (err error) {
			if m == nil {
				start := time.Now()
				m, err = openAny(ctx, model, append(g.options(b.batches.largest()), clip.WithCastDType(weights)))
				if err != nil {
					return err
				}
				keep(m)
				if err := b.upload(ctx, m); err != nil {
					return err
				}
				load = time.Since(start)
			}
			s, err = b.subject(ctx, m, batch)
			return err
		})
		if err != nil {
			return nil, err
		}
		s.line.Model, s.line.Weights = modelName(model), weights
		s.line.LoadMs, s.line.AnonPeakMB = milliseconds(load), significant(float64(max(0, peak-before))/1e6)
		subjects = append(subjects, s)
	}
	return subjects, nil
}

// upload brings the weights of b's tower to the device.
func (b *bench) upload(ctx context.Context, m *clip.Model) error {
	p, err := towerProgram(m, b.encoder(), 1)
	if err != nil {
		return err
	}
	session, err := m.Device().LoadContext(ctx, p, m.Store())
	if err != nil {
		return err
	}
	return session.Close()
}

// subject prepares the measurement of a batch: it encodes the batch once and times
// that first run.
func (b *bench) subject(ctx context.Context, m *clip.Model, batch int) (*subject, error) {
	if b.writes {
		return b.captionSubject(ctx, m, batch)
	}
	run, err := partsOf(m, b.encoder(), batch, func(p *graph.Program, _ int) error { return m.Store().Fits(p) })
	if err != nil {
		return nil, err
	}
	s := &subject{flops: float64(run.flops()) / float64(batch), items: batch}
	if b.folder != "" {
		b.readPictures(ctx, m, batch, s)
	} else {
		s.run = b.madeUp(ctx, m, batch)
	}
	start := time.Now()
	if err := s.run(); err != nil {
		return nil, err
	}
	s.line = measurement{
		Tower: b.tower, Batch: batch, Dispatches: run.dispatches(), ArenaBytes: run[0].program.ArenaBytes(),
		FirstRunMs: milliseconds(time.Since(start)), Device: m.Device().Info().Name,
	}
	return s, nil
}

// madeUp returns a function that encodes a batch of made-up inputs.
func (b *bench) madeUp(ctx context.Context, m *clip.Model, batch int) func() error {
	var encode func() (clip.Array, error)
	if b.tower == imageTower {
		images := noise(m, batch)
		encode = func() (clip.Array, error) { return m.EncodeImage(ctx, images, true) }
	} else {
		rows := captions(m, batch)
		encode = func() (clip.Array, error) { return m.EncodeText(ctx, rows, true) }
	}
	return func() error {
		_, err := interruptible(ctx, encode)
		return err
	}
}

// round encodes batches for at least so many seconds, and at least one.
func (s *subject) round(seconds float64) error {
	items := 0.0
	start, cpu := time.Now(), usage.CPU()
	for items == 0 || time.Since(start).Seconds() < seconds {
		if err := s.run(); err != nil {
			return err
		}
		items += float64(s.items)
		if s.times != nil {
			s.shares = append(s.shares, sharesOf(s.times))
		}
	}
	s.cpu = append(s.cpu, milliseconds(usage.CPU()-cpu)/items)
	s.speed = append(s.speed, items/time.Since(start).Seconds())
	return nil
}

func (s *subject) result() measurement {
	line := s.line
	line.ItemsPerS, line.CPUMsPerItem = significant(median(s.speed)), significant(median(s.cpu))
	if s.shares != nil {
		line.Shares = medianShares(s.shares)
	}
	line.GFLOPS = significant(s.flops * line.ItemsPerS / 1e9)
	return line
}

// significant leaves v the digits that a measurement may claim.
func significant(v float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return v
	}
	return rounded
}

// median sorts a copy of at least one value.
func median[T float64 | time.Duration](values []T) T {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/spf13/cobra"
)

// measurement is one line of bench.
type measurement struct {
	Model        string  `json:"model"`
	Tower        string  `json:"tower"`
	Batch        int     `json:"batch"`
	ItemsPerS    float64 `json:"items_per_s"`
	CPUMsPerItem float64 `json:"cpu_ms_per_item"` // of the whole process
	Dispatches   int     `json:"dispatches"`      // a batch
	ArenaBytes   int64   `json:"arena_bytes"`     // activations of a batch
	LoadMs       float64 `json:"load_ms"`         // to open device and model
	FirstRunMs   float64 `json:"first_run_ms"`    // with the weights' upload and the driver's compiling
	Device       string  `json:"device"`
}

type bench struct {
	tower   string
	batches batchList
	seconds float64
}

func newBenchCommand(g *globals) *cobra.Command {
	b := &bench{batches: batchList{1, 8}}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how many inputs a second a tower encodes",
		Long: `bench measures how many inputs a second a tower encodes, for each --batch, and
writes JSON lines. cpu_ms_per_item is process CPU time, which on a software
driver says more than wall time. --model also takes an architecture by its name,
with random weights: ` + architectureNames() + `.`,
		Example: "  clip-wgpu bench --model ViT-B-32 --tower text --batch 1,8",
		Args: func(cmd *cobra.Command, args []string) error {
			if b.seconds <= 0 || b.seconds > 3600 {
				return usageErrorf(cmd, "--seconds %v: want more than 0 and at most 3600", b.seconds)
			}
			return cmp.Or(noArgs(cmd, args), checkTower(cmd, b.tower))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return b.command(cmd, g) },
	}
	addTowerFlag(cmd, &b.tower)
	cmd.Flags().Var(&b.batches, "batch", "batch sizes, powers of two, with commas between")
	cmd.Flags().Float64Var(&b.seconds, "seconds", 3, "least `time` to measure each batch size for")
	return cmd
}

func (b *bench) command(cmd *cobra.Command, g *globals) error {
	ctx := cmd.Context()
	start := time.Now()
	m, err := openAny(ctx, g.model, g.options(b.batches.largest()))
	if err != nil {
		return err
	}
	load := time.Since(start)
	console := newConsole(cmd.ErrOrStderr(), g.quiet)
	console.expectResult()
	defer console.settled()
	for _, batch := range b.batches {
		r, err := b.measure(ctx, m, batch)
		if err != nil {
			return err
		}
		console.settled()
		r.LoadMs = milliseconds(load)
		if r.Model = g.model; r.Model == "" {
			r.Model = clip.Embedded
		}
		if err := newJSONLines(cmd.OutOrStdout()).Encode(r); err != nil {
			return err
		}
	}
	return m.Close()
}

func (b *bench) measure(ctx context.Context, m clip.Model, batch int) (measurement, error) {
	p, err := towerProgram(m, b.tower, batch)
	if err != nil {
		return measurement{}, err
	}
	encode := b.encoder(ctx, m, batch)
	start := time.Now()
	if err := encode(); err != nil {
		return measurement{}, err
	}
	r := measurement{
		Tower: b.tower, Batch: batch, Dispatches: len(p.Steps), ArenaBytes: p.ArenaBytes(),
		FirstRunMs: milliseconds(time.Since(start)), Device: m.Device().Info().Name,
	}
	var items float64
	start = time.Now()
	cpu := processCPU()
	for items == 0 || time.Since(start).Seconds() < b.seconds {
		if err := encode(); err != nil {
			return measurement{}, err
		}
		items += float64(batch)
	}
	r.CPUMsPerItem = milliseconds(processCPU()-cpu) / items
	r.ItemsPerS = items / time.Since(start).Seconds()
	return r, nil
}

// encoder returns a function that encodes a batch of made-up inputs.
func (b *bench) encoder(ctx context.Context, m clip.Model, batch int) func() error {
	var encode func() (clip.Tensor, error)
	if b.tower == imageTower {
		images := noise(m, batch)
		encode = func() (clip.Tensor, error) { return m.EncodeImage(ctx, images, true) }
	} else {
		rows := captions(m, batch)
		encode = func() (clip.Tensor, error) { return m.EncodeText(ctx, rows, true) }
	}
	return func() error {
		_, err := await(ctx, encode)
		return err
	}
}

// captions are the tokens of a batch of short texts.
func captions(m clip.Model, batch int) [][]int32 {
	texts := make([]string, batch)
	for i := range texts {
		texts[i] = fmt.Sprintf("a photo of number %d", i)
	}
	return m.Tokenizer().Tokenize(texts, m.Config().TextCfg.ContextLength)
}

// noise is a batch of preprocessed images of random pixels.
func noise(m clip.Model, batch int) clip.Tensor {
	size := m.Config().VisionCfg.ImageSize
	x := clip.Tensor{Shape: []int{batch, 3, size[0], size[1]}, Data: make([]float32, batch*3*size[0]*size[1])}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	return x
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// batchList is a flag's list of batch sizes: powers of two, as larger batches
// are split into such.
type batchList []int

func (l batchList) largest() int {
	n := 0
	for _, batch := range l {
		n = max(n, batch)
	}
	return n
}

func (l *batchList) String() string {
	sizes := make([]string, len(*l))
	for i, batch := range *l {
		sizes[i] = strconv.Itoa(batch)
	}
	return strings.Join(sizes, ",")
}

func (l *batchList) Set(s string) error {
	var list batchList
	for item := range strings.SplitSeq(s, ",") {
		var n count
		if err := n.Set(item); err != nil || n&(n-1) != 0 {
			return fmt.Errorf("%q: want powers of two from 1 to %d", item, maxCount)
		}
		list = append(list, int(n))
	}
	*l = list
	return nil
}

func (l *batchList) Type() string { return "list" }

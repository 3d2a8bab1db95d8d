package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/spf13/cobra"
)

const (
	imageTower = "image"
	textTower  = "text"
)

var towerNames = []string{imageTower, textTower}

// addTowerFlag adds the flag --tower, whose default is the image tower.
func addTowerFlag(cmd *cobra.Command, tower *string) {
	cmd.Flags().StringVar(tower, "tower", imageTower, "image or text `tower`")
	cmd.RegisterFlagCompletionFunc("tower", cobra.FixedCompletions(towerNames, cobra.ShellCompDirectiveNoFileComp))
}

func checkTower(cmd *cobra.Command, tower string) error {
	if !slices.Contains(towerNames, tower) {
		return usageErrorf(cmd, "--tower %q: want %s", tower, strings.Join(towerNames, " or "))
	}
	return nil
}

// modelHelp says what openAny takes.
const modelHelp = `a folder, a file of weights, ` + checkpoint.Embedded + ` (default), NAME:TAG or
hf-hub:ORG/NAME, or open_clip's name of an architecture, such as ViT-B-32, which
gets random weights`

// openAny opens the model at source. A source that is no file but the name of one of
// open_clip's architectures gives a model of that architecture with random weights.
func openAny(ctx context.Context, source string, opts []clip.Option) (*clip.Model, error) {
	return interruptible(ctx, func() (*clip.Model, error) {
		config, named, err := architecture(source)
		switch {
		case err != nil:
			return nil, err
		case named:
			return clip.New(config, 0, opts...)
		}
		return clip.Load(ctx, source, opts...)
	})
}

// openAnyAtRest is openAny without a device.
func openAnyAtRest(ctx context.Context, source string, o checkpoint.Options) (*checkpoint.Checkpoint, error) {
	return interruptible(ctx, func() (*checkpoint.Checkpoint, error) {
		config, named, err := architecture(source)
		switch {
		case err != nil:
			return nil, err
		case named:
			return checkpoint.New(config, 0, o)
		}
		return checkpoint.Open(ctx, source, o)
	})
}

// architecture returns the config of the model that open_clip has under a name. named is
// false, without an error, of what checkpoint.Open takes: the embedded model, what
// exists, what has a colon, ORG/NAME on the hub.
func architecture(source string) (c config.Config, named bool, err error) {
	_, err = os.Stat(source)
	if source == "" || source == checkpoint.Embedded || strings.Contains(source, ":") || !errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	c, err = models.Config(source)
	if errors.Is(err, models.ErrUnknown) && strings.Contains(source, "/") { // ORG/NAME on the hub
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("model %s: no such folder or file, and %w", source, err)
	}
	return c, true, nil
}

// oneModel is the model that a command's argument or, failing that, --model names.
func (g *globals) oneModel(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return g.model
}

// oneModelArg is the Args of commands for one model.
func oneModelArg(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageErrorf(cmd, "one model expected, %d given", len(args))
	}
	return nil
}

// modelName is source as results name it.
func modelName(source string) string {
	if source == "" {
		return checkpoint.Embedded
	}
	return source
}

// lowered is a model whose towers can be lowered to programs.
type lowered interface {
	Programs(batch int) (image, text *graph.Program, err error)
}

// towerProgram is what the device replays for a batch.
func towerProgram(m lowered, tower string, batch int) (*graph.Program, error) {
	p, text, err := m.Programs(batch)
	if tower == textTower {
		p = text
	}
	if p != nil { // an error is the other tower's
		return p, nil
	}
	return nil, err
}

// made-up inputs

// noise is a batch of preprocessed images of random pixels.
func noise(m *clip.Model, batch int) clip.Array {
	size := m.Config().VisionCfg.ImageSize
	x := clip.Array{Shape: []int{batch, 3, size[0], size[1]}, Data: make([]float32, batch*3*size[0]*size[1])}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	return x
}

// captions are the tokens of a batch of short texts or, where the model has
// no tokenizer that can be used, rows of low token ids with the highest at the end.
func captions(m *clip.Model, batch int) [][]int32 {
	cfg := m.Config()
	c, vocabulary := cfg.TextCfg, models.Vocabulary(&cfg)
	texts, rows := make([]string, batch), make([][]int32, batch)
	for i := range batch {
		texts[i] = fmt.Sprintf("a photo of number %d", i)
		rows[i] = make([]int32, c.ContextLength)
		for j := range rows[i] {
			rows[i][j] = int32(j % vocabulary)
		}
		rows[i][c.ContextLength-1] = int32(vocabulary - 1)
	}
	if t := m.Tokenizer(); t != nil {
		if tokens, err := t.Tokenize(texts, c.ContextLength); err == nil {
			return tokens
		}
	}
	if c.EosID != nil {
		for i := range rows {
			rows[i][c.ContextLength-1] = int32(*c.EosID)
		}
	}
	return rows
}

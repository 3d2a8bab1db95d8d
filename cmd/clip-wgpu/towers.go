package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/spf13/cobra"
)

const (
	imageTower = "image"
	textTower  = "text"
)

var towers = []string{imageTower, textTower}

// addTowerFlag adds --tower, image unless given.
func addTowerFlag(cmd *cobra.Command, tower *string) {
	cmd.Flags().StringVar(tower, "tower", imageTower, "image or text `tower`")
	cmd.RegisterFlagCompletionFunc("tower", cobra.FixedCompletions(towers, cobra.ShellCompDirectiveNoFileComp))
}

func checkTower(cmd *cobra.Command, tower string) error {
	if !slices.Contains(towers, tower) {
		return usageErrorf(cmd, "--tower %q: want %s", tower, strings.Join(towers, " or "))
	}
	return nil
}

// towerProgram is what the device replays for a batch.
func towerProgram(m clip.Model, tower string, batch int) (*graph.Program, error) {
	image, text, err := m.Programs(batch)
	if tower == textTower {
		return text, err
	}
	return image, err
}

// architecture holds the sizes in which open_clip's ViT configs differ.
type architecture struct {
	name                     string
	embedDim                 int
	layers, width, patch     int // vision
	textWidth, heads, blocks int
}

// architectures are models of open_clip whose speed and programs are worth a
// look; they need no weights for it.
var architectures = []architecture{
	{"ViT-S-32", 384, 12, 384, 32, 384, 6, 12},
	{"ViT-B-32", 512, 12, 768, 32, 512, 8, 12},
	{"ViT-B-16", 512, 12, 768, 16, 512, 8, 12},
	{"ViT-L-14", 768, 24, 1024, 14, 768, 12, 12},
}

func (a architecture) config() clip.Config {
	c := clip.Config{EmbedDim: a.embedDim, VisionCfg: clip.DefaultVisionConfig(), TextCfg: clip.DefaultTextConfig()}
	c.VisionCfg.Layers, c.VisionCfg.Width, c.VisionCfg.PatchSize = clip.Layers{a.layers}, a.width, clip.Size{a.patch, a.patch}
	c.TextCfg.Width, c.TextCfg.Heads, c.TextCfg.Layers = a.textWidth, a.heads, a.blocks
	return c
}

func architectureNames() string {
	names := make([]string, len(architectures))
	for i, a := range architectures {
		names[i] = a.name
	}
	return strings.Join(names, ", ")
}

// openAny opens a model, or one with random weights by the name of its
// architecture where no file has that name.
func openAny(ctx context.Context, source string, opts []clip.Option) (clip.Model, error) {
	return await(ctx, func() (clip.Model, error) {
		_, err := os.Stat(source)
		if source == "" || source == clip.Embedded || !errors.Is(err, fs.ErrNotExist) {
			return clip.Load(ctx, source, opts...)
		}
		for _, a := range architectures {
			if strings.EqualFold(a.name, source) {
				return clip.New(a.config(), 0, opts...)
			}
		}
		return nil, fmt.Errorf("model %s: no such folder or file, and none of the names %s, %s", source, clip.Embedded, architectureNames())
	})
}

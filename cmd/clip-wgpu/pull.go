package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/spf13/cobra"
)

func newPullCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "pull MODEL",
		Short: "Download a model from the Hugging Face hub",
		Long: `pull downloads a model, unless it is here already, and prints the folder with its
files. MODEL is one of

  NAME:TAG         open_clip's name of a model and of its weights, as clip-wgpu
                   models lists them
  hf-hub:ORG/NAME  a model on the hub; @REVISION after it means another revision
                   than main, and hf-hub: may be missing where no folder ORG is
                   here
  https://...      the address of the model's page on the hub, or of a file of
                   weights there

The folder is in the cache of Python's huggingface_hub, and the environment means
the same as there: HF_HOME or HF_HUB_CACHE say where the cache is, HF_TOKEN opens
private and gated models, HF_ENDPOINT names a mirror, and with HF_HUB_OFFLINE=1
nothing is downloaded. A download that was stopped goes on where it stopped.`,
		Example: `  clip-wgpu pull ViT-B-32:laion2b_s34b_b79k
  clip-wgpu pull openai/clip-vit-base-patch32
  clip-wgpu pull https://huggingface.co/timm/vit_base_patch32_clip_224.openai`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageErrorf(cmd, "one MODEL expected, %d given", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			path, err := interruptible(ctx, func() (string, error) {
				return checkpoint.Fetch(ctx, args[0], checkpoint.Options{Progress: g.downloading})
			})
			g.console().clear()
			if err != nil {
				return loadHint(args[0], err)
			}
			if path == "" || path == checkpoint.Embedded {
				return fmt.Errorf("%s is part of this program, there is nothing to download", checkpoint.Embedded)
			}
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			folder := path
			if !info.IsDir() {
				folder = filepath.Dir(path)
			}
			if g.json {
				return newJSONLines(cmd.OutOrStdout()).Encode(struct {
					Model  rawText `json:"model"`
					Folder rawText `json:"folder"`
					Path   rawText `json:"path"`
				}{rawText(args[0]), rawText(folder), rawText(path)})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), folder)
			return err
		},
	}
}

// downloading shows how much of a file is there.
func (g *globals) downloading(file string, done, total int64) {
	const mega = 1e6
	if done == total {
		g.console().clear()
		return
	}
	of := ""
	if total >= 0 {
		of = fmt.Sprintf(" of %.1f", float64(total)/mega)
	}
	g.console().update("downloading %s: %.1f%s MB", file, float64(done)/mega, of)
}

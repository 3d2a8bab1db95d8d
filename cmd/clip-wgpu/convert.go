package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/weights"
	"github.com/spf13/cobra"
)

func newConvertCommand(g *globals) *cobra.Command {
	var output string
	dtype := dtypeFlag(weights.F32)
	cmd := &cobra.Command{
		Use:   "convert MODEL -o FOLDER",
		Short: "Write a model in open_clip's layout",
		Long: `convert writes a model as a folder with open_clip_model.safetensors,
open_clip_config.json and, where they lie beside the model's weights, the files
of its tokenizer. MODEL is as for --model: PyTorch's .pt and .bin files, OpenAI's
archives, Hugging Face's folders and what the hub has. With --config a model gets
the config that it lacks.

The folder appears when it is whole. It needs no GPU, and little memory however
large the model is. --force replaces a folder that holds nothing but a model.`,
		Example: `  clip-wgpu convert ViT-B-32.pt -o ViT-B-32
  clip-wgpu convert epoch_10.pt --config ViT-B-16 --dtype f16 -o mine`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageErrorf(cmd, "one MODEL expected, %d given", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usageErrorf(cmd, "no output given: -o FOLDER")
			}
			warnings, err := checkpoint.Convert(cmd.Context(), args[0], output, checkpoint.SaveOptions{DType: weights.DType(dtype), Replace: g.force}, g.checkpoint())
			g.console().clear()
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%w (--force replaces it)", err)
			}
			if err != nil {
				return loadHint(args[0], err)
			}
			for _, w := range warnings {
				g.console().note("warning: %s: %s", args[0], w)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "`folder` to write")
	f.Var(&dtype, "dtype", "element type of the weights: f32, f16 or bf16; scalars stay f32")
	return cmd
}

// dtypeFlag is a flag's element type of a file of weights.
type dtypeFlag weights.DType

var dtypes = map[string]weights.DType{"f32": weights.F32, "f16": weights.F16, "bf16": weights.BF16}

func (d *dtypeFlag) String() string {
	for name, dtype := range dtypes {
		if dtype == weights.DType(*d) {
			return name
		}
	}
	return ""
}

func (d *dtypeFlag) Set(s string) error {
	dtype, ok := dtypes[s]
	if !ok {
		return errors.New("want f32, f16 or bf16")
	}
	*d = dtypeFlag(dtype)
	return nil
}

func (d *dtypeFlag) Type() string { return "type" }

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/spf13/cobra"
)

const rootHelp = `clip-wgpu runs CLIP models on the GPU: how well images and words match.

Without --model the embedded model answers, but not on pictures of your own, which index
and search are for. It is small, knows emoji and icon drawings by their English names, and
has never seen a photograph. --model takes

  a folder in open_clip's layout (open_clip_config.json, weights and the files
  of its tokenizer) or of Hugging Face's CLIPModel or SiglipModel;
  a file of weights: safetensors, PyTorch's .pt, .pth and .bin, OpenAI's archives
  and .npz; --config says which model it is where nothing beside it does;
  NAME:TAG, open_clip's name of a model and of its weights (clip-wgpu models);
  hf-hub:ORG/NAME, a model on the Hugging Face hub, or the address of its page;
  hf-hub: may be missing where no folder ORG is here.

The last two are downloaded once, see clip-wgpu pull --help.

Images are read as open_clip reads them; in particular, transparency is dropped,
and EXIF orientation is ignored unless --orient is given.

Exit codes:
  0    done
  1    failed
  2    the command line makes no sense
  3    done, but some inputs were skipped (--skip-errors)
  130  interrupted; embed and index keep what was finished
  141  stdout was closed`

// globals are the flags that all commands share.
type globals struct {
	model       string
	device      deviceFlag
	config      string
	adapter     string
	batch       count
	maxMemory   size
	weights     weightsFlag
	language    languageCode
	force       bool
	skipErrors  bool
	json, quiet bool

	console func() *console // for what commands say before their session starts
}

func newRootCommand() *cobra.Command {
	g := &globals{weights: weightsFlag(clip.F32)}
	root := &cobra.Command{
		Use:           "clip-wgpu",
		Short:         "CLIP on the GPU",
		Long:          rootHelp,
		SilenceErrors: true, // report writes them
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,

		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			fmt.Fprint(cmd.ErrOrStderr(), cmd.UsageString())
			return &exitError{code: exitUsage}
		},
	}
	g.console = sync.OnceValue(func() *console { return newConsole(root.ErrOrStderr(), g.quiet) })
	f := root.PersistentFlags()
	f.StringVar(&g.model, "model", "", "model `folder`, file of weights, NAME:TAG or hf-hub:ORG/NAME (default: the embedded "+checkpoint.Embedded+")")
	f.StringVar(&g.config, "config", "", "config of weights without one: a `file`, or open_clip's name of a model, such as ViT-B-32")
	f.StringVar(&g.adapter, "adapter", "", "`folder` with a LoRA of the model, as train --lora-rank or Hugging Face's PEFT writes it")
	f.Var(&g.device, "device", "GPU by `index` or part of its name, of several the best; see clip-wgpu devices (default: the best)")
	f.Var(&g.batch, "batch", "inputs that go to the GPU at once (default 16)")
	f.Var(&g.maxMemory, "max-gpu-mem", "most GPU memory to use, such as 512M or 2G (default: no limit)")
	f.Var(&g.weights, "weights", "how the device stores weights: f32, f16, bf16 or q8")
	f.BoolVar(&g.force, "force", false, "replace files that exist")
	f.BoolVar(&g.skipErrors, "skip-errors", false, "list inputs that cannot be read on stderr and do the others; the exit code is 3")
	f.BoolVar(&g.json, "json", false, "write JSON lines")
	f.BoolVar(&g.quiet, "quiet", false, "write results and errors only")
	root.Version = version()
	root.Flags().Bool("version", false, "print the program's version") // without a short form
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageErrorf(cmd, "%s", flagError(err)) })
	root.AddCommand(newClassifyCommand(g), newEmbedCommand(g), newIndexCommand(g), newSearchCommand(g), newDemoCommand(g), newEvalCommand(g), newTrainCommand(g), newCaptionCommand(g), newTokenizeCommand(g), newVerifyCommand(g),
		newDevicesCommand(g), newModelsCommand(g), newPullCommand(g), newConvertCommand(g), newMergeCommand(g), newProgramCommand(g), newBenchCommand(g), newProfileCommand(g), newTuneCommand(g), newVersionCommand())
	refuseUnknown(root)
	return root
}

// flagError says of a flag's value what is wanted, where Go's parsers do not.
func flagError(err error) string {
	var number *strconv.NumError
	if !errors.As(err, &number) {
		return err.Error()
	}
	want := map[string]string{"ParseBool": "want true or false", "ParseFloat": "want a number"}[number.Func]
	if want == "" {
		want = "want a whole number"
	}
	return strings.Replace(err.Error(), number.Error(), want, 1)
}

// refuseUnknown has cobra's own commands refuse arguments that mean nothing,
// which they answer with a help text and exit code 0.
func refuseUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(cmd *cobra.Command, args []string) error {
				_, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				return unknownCommand(root, rest)
			}
		case "completion":
			c.Args = unknownCommand
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// unknownCommand refuses arguments of the bare program, naming commands like them.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf(", did you mean %q?", near[0])
	}
	return usageErrorf(cmd, "unknown command %q%s", args[0], hint)
}

// noArgs is the Args of commands that take flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageErrorf(cmd, "unexpected argument %q", args[0])
	}
	return nil
}

// deviceFlag is a flag's adapter, as gpu.Options has it.
type deviceFlag string

func (d *deviceFlag) String() string { return string(*d) }

func (d *deviceFlag) Set(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("want an index or a part of a name")
	}
	*d = deviceFlag(s)
	return nil
}

func (d *deviceFlag) Type() string { return "index" }

// languageCode is a flag's language, as checkpoint.Options has it.
type languageCode string

func (l *languageCode) String() string { return string(*l) }

func (l *languageCode) Set(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("want a code, such as fra_Latn")
	}
	*l = languageCode(s)
	return nil
}

func (l *languageCode) Type() string { return "code" }

// count is a flag's number of at least one; 0 means that it was not given.
type count int

const maxCount = 1 << 16

func (c *count) String() string {
	if *c == 0 {
		return ""
	}
	return strconv.Itoa(int(*c))
}

func (c *count) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxCount {
		return fmt.Errorf("want a whole number from 1 to %d", maxCount)
	}
	*c = count(n)
	return nil
}

func (c *count) Type() string { return "n" }

// or returns c, or n where the flag was not given.
func (c count) or(n int) int {
	if c == 0 {
		return n
	}
	return int(c)
}

// defaultBatch keeps GPUs busy and is small enough that progress shows, and
// that little is lost on an interrupt.
const defaultBatch = 16

// gpu are the flags as options of gpu.Open.
func (g *globals) gpu() gpu.Options {
	return gpu.Options{Adapter: string(g.device), MaxMemory: int64(g.maxMemory)}
}

// checkpoint are the flags as options of checkpoint.Open.
func (g *globals) checkpoint() checkpoint.Options {
	return checkpoint.Options{ConfigFrom: g.config, Adapter: g.adapter, Language: string(g.language), Progress: g.downloading}
}

// languageFlag adds the flag of commands that read texts.
func (g *globals) languageFlag(cmd *cobra.Command) {
	cmd.Flags().Var(&g.language, "language", "`code` of the language of texts, such as fra_Latn, for models over NLLB (default: eng_Latn, as open_clip)")
}

// options are the flags as options of clip.Load and clip.New.
func (g *globals) options(batch int) []clip.Option {
	return []clip.Option{clip.With(g.checkpoint()), clip.WithGPU(g.gpu()), clip.WithMaxBatch(batch), clip.WithCastDType(clip.CastDType(g.weights))}
}

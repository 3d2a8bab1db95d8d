package main

import (
	"cmp"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/lora"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/train"
)

const trainHelp = `train teaches a model pictures and their captions or classes, as open_clip_train does.
Flags have the names that they have there. --model is a model to go on from, or open_clip's
name of an architecture, which starts from random weights. With --from-scratch any model
does, and keeps its config, its preprocessing and its tokenizer.

-o names a folder that gets

  model/               the trained model, in open_clip's layout: --model of the other commands
  log.jsonl            a line for each step: step, epoch, loss, lr, grad_norm, logit_scale,
                       samples_per_s; with --eval also what eval measures
  adapter/             instead of model/ with --lora-rank: adapters as Hugging Face's PEFT has
                       them, for --adapter of the other commands; merge adds them to a model
  loss.svg             the loss and the learning rate as a picture
  run.json, state-*    what --resume goes on from: the flags, the place in the data, the
                       weights and the optimizer's moments
  run.lock             keeps a second training out of the folder

All are written every --save-every steps and at the end. An interrupt writes them, too, and
ends with exit code 130; after a crash the last ones are whole. --resume FOLDER goes on from
there, with the flags of that run, and gives what an undisturbed run gives. Only --steps,
--epochs, --minutes, --save-every, --log-every, --eval-every, --max-bad and those of the
device may be other ones, which the next --resume keeps. Another device has to be asked for
by --device. What has moved together with the folder is found. DATA, --eval, --root and
--class-names that have moved otherwise are named anew: DATA with samples of the same names
and captions, in the same order, goes on.

--minutes makes a piece of a training: the first step that ends after so long is saved, as by
an interrupt, and the exit code is 0. --resume makes the next piece, of as many minutes where
no other --minutes is given.

--dry-run says what a training takes: samples, steps, memory and, from two steps whose
results are dropped, time.

The loss of a batch is over all its pairs, however many the towers see at once
(--micro-batch, which is halved until memory is enough). With --group-equal pairs of equal
captions are no negatives of each other. Pairs of one class never are.

NaFlex models learn from pictures in their own shape: each part that --aug-scale keeps of one
is resized to fill a sequence of vision_cfg.image_seq_len patches, which have padding.

Samples that cannot be read are listed, and others take their places. More than --max-bad of
them end the training, of which --resume goes on counting.

` + flagsHelp + `

DATA is one of these, or several of a kind.

` + datasetHelp

// mostMinutes is a year.
const mostMinutes = 366 * 24 * 60

// training is what one train command is asked for.
type training struct {
	datasetFlags
	output, resume, flags string
	batchSize, micro      count
	epochs, steps         int
	saveEvery, logEvery   int
	evalEvery             int
	evalData              []string
	maxBad                int
	seed                  uint64
	minutes               float64
	fromScratch, inOrder  bool
	dryRun                bool
	otherDevice           bool // --resume is given a device
	optimizer             optimizerFlags
	locks                 lockFlags
	lora                  loraFlags
	augmentation          augmentationFlags
	loss                  string
	groupEqual            bool
}

// optimizerFlags are those of the optimizer, with open_clip_train's names.
type optimizerFlags struct {
	lr, wd, beta1, beta2, eps, clip float64
	warmup                          int
	scheduler                       string
}

// lockFlags are those of what does not train.
type lockFlags struct {
	image, text, freezeBN, freezeLN bool
	imageGroups, textLayers         int
	checkpointing                   bool
	cast                            weightsFlag
}

// loraFlags are those of adapters, with the names of PEFT's LoraConfig.
type loraFlags struct {
	rank           int
	alpha, dropout float64
	targets        []string
}

// augmentationFlags are those of open_clip's aug_cfg, affine and background.
type augmentationFlags struct {
	scale, jitter          []float64
	jitterProb, grayscaleP float64
	affine                 float64
	background             string
}

func newTrainCommand(g *globals) *cobra.Command {
	var t training
	cmd := &cobra.Command{
		Use:   "train DATA... -o FOLDER",
		Short: "Fine-tune a model, or train one from random weights",
		Long:  trainHelp,
		Example: `  clip-wgpu train captions.csv --model ViT-B-32:laion2b_s34b_b79k --lock-image --epochs 5 -o mine
  clip-wgpu train 'shards/{000..099}.tar' --model ViT-B-32 --batch-size 256 --lr 5e-4 --steps 20000 -o scratch
  clip-wgpu train --resume mine`,
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, args []string) error { return t.command(cmd, g, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&t.output, "output", "o", "", "`folder` to write")
	f.StringVar(&t.resume, "resume", "", "`folder` of a training to go on with")
	f.StringVar(&t.flags, "flags", "", "`file` with flags, one on each line")
	f.BoolVar(&t.dryRun, "dry-run", false, "say what it takes, and write nothing")
	f.Var(&t.batchSize, "batch-size", "pairs of a step (default 64)")
	f.Var(&t.micro, "micro-batch", "most pairs that the towers see at once (default: all that memory holds)")
	f.IntVar(&t.epochs, "epochs", 0, "`times` that all samples are seen (default 1)")
	f.IntVar(&t.steps, "steps", 0, "`steps` to make, in place of --epochs")
	f.Float64Var(&t.minutes, "minutes", 0, "`minutes` after which the training saves and ends; --resume goes on (default: any)")
	f.BoolVar(&t.fromScratch, "from-scratch", false, "random weights in place of the model's own")
	f.BoolVar(&t.inOrder, "in-order", false, "samples come in the order of DATA, in every epoch")
	f.IntVar(&t.saveEvery, "save-every", 0, "`steps` between checkpoints (default: an epoch)")
	f.IntVar(&t.logEvery, "log-every", 0, "`steps` between lines on stdout (default: a fiftieth of all)")
	f.StringArrayVar(&t.evalData, "eval", nil, "`data` to evaluate by, as the command eval does; may be given several times")
	f.IntVar(&t.evalEvery, "eval-every", 0, "`steps` between evaluations (default: an epoch)")
	f.IntVar(&t.maxBad, "max-bad", 100, "samples that may be unreadable; -1 is any number")
	f.Uint64Var(&t.seed, "seed", 0, "`number` that the order, the augmentation, dropout and random weights follow from")
	f.StringVar(&t.loss, "loss", "", "`name` of the loss: clip; siglip, the default of models with a logit bias; or coca, of those with a decoder")
	f.BoolVar(&t.groupEqual, "group-equal", false, "pairs of equal captions are no negatives of each other")
	t.optimizer.addFlags(cmd)
	t.locks.addFlags(cmd)
	t.lora.addFlags(cmd)
	t.augmentation.addFlags(cmd)
	t.datasetFlags.addFlags(cmd)
	g.languageFlag(cmd)
	return cmd
}

func (o *optimizerFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Float64Var(&o.lr, "lr", 1e-5, "learning `rate`; open_clip_train's 5e-4 is for random weights")
	f.Float64Var(&o.wd, "wd", 0.2, "weight `decay`")
	f.Float64Var(&o.beta1, "beta1", 0.9, "`decay` of AdamW's first moment")
	f.Float64Var(&o.beta2, "beta2", 0.98, "`decay` of AdamW's second moment; 0.999 for ResNets")
	f.Float64Var(&o.eps, "eps", 1e-6, "`number` in AdamW's denominator; 1e-8 for ResNets")
	f.IntVar(&o.warmup, "warmup", -1, "`steps` in which the rate rises (default: a twentieth of all, at most 10000)")
	f.StringVar(&o.scheduler, "lr-scheduler", "cosine", "`name` of how the rate goes on: cosine or const")
	f.Float64Var(&o.clip, "grad-clip-norm", 0, "greatest `norm` of all gradients together (default: any)")
}

func (l *lockFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&l.image, "lock-image", false, "the image tower stays as it is")
	f.IntVar(&l.imageGroups, "lock-image-unlocked-groups", 0, "last `groups` of the image tower that train nevertheless")
	f.BoolVar(&l.freezeBN, "lock-image-freeze-bn-stats", false, "batch norms of what is locked keep their statistics, too")
	f.BoolVar(&l.text, "lock-text", false, "the text tower stays as it is")
	f.IntVar(&l.textLayers, "lock-text-unlocked-layers", 0, "last `layers` of the text tower that train nevertheless")
	f.BoolVar(&l.freezeLN, "lock-text-freeze-layer-norm", false, "layer norms of what is locked in the text tower stay, too")
	f.BoolVar(&l.checkpointing, "grad-checkpointing", false, "compute blocks twice rather than keep what they compute")
	l.cast = weightsFlag(clip.F32)
	f.Var(&l.cast, "cast-frozen", "how the device stores what is locked: f32, f16, bf16 or q8")
}

func (l *loraFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&l.rank, "lora-rank", 0, "train adapters of this `rank` (LoRA), and nothing else")
	f.Float64Var(&l.alpha, "lora-alpha", 0, "`number` that, divided by the rank, multiplies what adapters add (default: the rank)")
	f.Float64Var(&l.dropout, "lora-dropout", 0, "`share` of what enters an adapter that is dropped")
	f.StringArrayVar(&l.targets, "lora-target", []string{lora.AllLinear}, "`name` of modules that get adapters, or its last part, such as attn; may be given several times")
}

// config is PEFT's.
func (l *loraFlags) config() lora.Config {
	return lora.Config{Rank: l.rank, Alpha: cmp.Or(l.alpha, float64(l.rank)), Targets: l.targets, Dropout: l.dropout}
}

func (a *augmentationFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	d := preprocess.DefaultAugmentation()
	f.Float64SliceVar(&a.scale, "aug-scale", d.Scale[:], "`shares` of a picture's area that are kept: least, most")
	f.Float64SliceVar(&a.jitter, "aug-color-jitter", nil, "changes of brightness, contrast, saturation and hue: four `numbers`")
	f.Float64Var(&a.jitterProb, "aug-color-jitter-prob", 0, "`share` of pictures whose colours change")
	f.Float64Var(&a.affine, "aug-affine", 0, "`strength`, 0 to 1, with which pictures are scaled, turned, shifted, stretched and change colours, in place of --aug-scale")
	f.StringVar(&a.background, "aug-background", "", "`name` of what transparent pictures lie on: random, which is white, a gray or a colour (default: their alpha is dropped)")
	f.Float64Var(&a.grayscaleP, "aug-gray-scale-prob", 0, "`share` of pictures that become gray")
}

// config is the training transform's.
func (a *augmentationFlags) config(cmd *cobra.Command) (c preprocess.Augmentation, err error) {
	if len(a.scale) != 2 {
		return c, usageErrorf(cmd, "--aug-scale: want two numbers, such as 0.9,1")
	}
	if len(a.jitter) != 0 && len(a.jitter) != 4 {
		return c, usageErrorf(cmd, "--aug-color-jitter: want four numbers, such as 0.4,0.4,0.4,0.1")
	}
	c = preprocess.Augmentation{
		Scale: [2]float64(a.scale), ColorJitterProb: a.jitterProb, GrayScaleProb: a.grayscaleP, Affine: a.affine, Background: a.background,
	}
	copy(c.ColorJitter[:], a.jitter)
	given := cmd.Flags().Changed
	switch {
	case given("aug-affine") && given("aug-scale"):
		return c, usageErrorf(cmd, "--aug-affine and --aug-scale: want one of them")
	case !(a.affine >= 0 && a.affine <= 1):
		return c, usageErrorf(cmd, "--aug-affine %v: want 0 to 1", a.affine)
	case given("aug-background") && a.background != preprocess.BackgroundRandom:
		return c, usageErrorf(cmd, "--aug-background %q: want %s", a.background, preprocess.BackgroundRandom)
	case given("aug-affine"):
		c.Scale = [2]float64{}
	case !(c.Scale[0] > 0): // NewTrain takes zeros for the whole picture
		return c, usageErrorf(cmd, "--aug-scale %v: want two shares, 0 < least <= most <= 1", a.scale)
	}
	return c, nil
}

// lock locks the model's towers.
func (l *lockFlags) lock(m *clip.Model) error {
	if l.image {
		m.LockImageTower(l.imageGroups, l.freezeBN)
	}
	if l.text {
		if err := m.LockTextTower(l.textLayers, l.freezeLN); err != nil {
			return err
		}
	}
	m.SetGradCheckpointing(l.checkpointing)
	return nil
}

// schedule is how the learning rate goes in a training of so many steps.
func (o *optimizerFlags) schedule(steps int) train.Schedule {
	warmup := o.warmup
	if warmup < 0 {
		warmup = min(10_000, int(math.Ceil(float64(steps)/20)))
	}
	warmup = min(warmup, steps-1)
	if o.scheduler == "const" {
		return train.ConstLR(o.lr, warmup)
	}
	return train.CosineLR(o.lr, warmup, steps)
}

// lossOf names the loss, which the model decides where no flag does.
func (t *training) lossOf(m *clip.Model) string {
	_, bias := m.LogitBias()
	switch {
	case t.loss != "":
		return t.loss
	case m.Config().MultimodalCfg != nil:
		return "coca"
	case bias:
		return "siglip"
	}
	return "clip"
}

// config makes the trainer's config.
func (t *training) config(m *clip.Model, schedule train.Schedule) train.Config {
	o := t.optimizer
	return train.Config{
		Loss: map[string]train.Loss{
			"clip": train.ClipLoss{Grouped: t.groupEqual}, "siglip": train.SigLipLoss{Grouped: t.groupEqual},
			"coca": train.CoCaLoss{ClipWeight: 1, CaptionWeight: 2}, // open_clip_train's weights
		}[t.lossOf(m)],
		Optimizer:    train.Scheduled{Optimizer: train.AdamW{Beta1: o.beta1, Beta2: o.beta2, Eps: o.eps, WeightDecay: o.wd}, LR: schedule},
		MicroBatch:   int(t.micro),
		GradClipNorm: o.clip,
		Seed:         t.seed,
	}
}

// checkTraining refuses flags that make no sense.
func (t *training) checkTraining(cmd *cobra.Command, g *globals, args []string) error {
	for _, n := range []struct {
		flag  string
		value int
	}{{"epochs", t.epochs}, {"steps", t.steps}, {"save-every", t.saveEvery}, {"log-every", t.logEvery}, {"eval-every", t.evalEvery}} {
		if cmd.Flags().Changed(n.flag) && (n.value < 1 || n.value > math.MaxInt32) {
			return usageErrorf(cmd, "--%s %d: want 1 to %d", n.flag, n.value, math.MaxInt32)
		}
	}
	switch o := t.optimizer; {
	case t.output == "" && !t.dryRun:
		return usageErrorf(cmd, "no output given: -o FOLDER, or --resume FOLDER")
	case cmd.Flags().Changed("minutes") && !(t.minutes > 0 && t.minutes <= mostMinutes):
		return usageErrorf(cmd, "--minutes %v: want more than 0, at most %d", t.minutes, mostMinutes)
	case t.epochs > 0 && t.steps > 0:
		return usageErrorf(cmd, "--epochs and --steps: want one of them")
	case !slices.Contains([]string{"cosine", "const"}, o.scheduler):
		return usageErrorf(cmd, "--lr-scheduler %q: want cosine or const", o.scheduler)
	case !slices.Contains([]string{"", "clip", "siglip", "coca"}, t.loss):
		return usageErrorf(cmd, "--loss %q: want clip, siglip or coca", t.loss)
	case !(o.lr >= 0) || math.IsInf(o.lr, 0):
		return usageErrorf(cmd, "--lr %v: want 0 or more", o.lr)
	case cmd.Flags().Changed("warmup") && o.warmup < 0:
		return usageErrorf(cmd, "--warmup %d: want 0 or more", o.warmup)
	case !(o.clip >= 0):
		return usageErrorf(cmd, "--grad-clip-norm %v: want 0 or more", o.clip)
	case t.locks.imageGroups < 0 || t.locks.textLayers < 0:
		return usageErrorf(cmd, "--lock-image-unlocked-groups and --lock-text-unlocked-layers: want 0 or more")
	case cmd.Flags().Changed("lora-rank") && t.lora.rank < 1:
		return usageErrorf(cmd, "--lora-rank %d: want 1 or more", t.lora.rank)
	case t.lora.rank > 0 && (t.locks.image || t.locks.text || t.locks.cast != weightsFlag(clip.F32)):
		return usageErrorf(cmd, "--lora-rank trains adapters alone: want no --lock-image, --lock-text and --cast-frozen; --weights says how the model is stored")
	case t.lora.rank == 0 && g.adapter != "":
		return usageErrorf(cmd, "--adapter %s: merge it into the model first, or train a new one by --lora-rank", g.adapter)
	case t.lora.rank > 0 && g.adapter != "":
		return usageErrorf(cmd, "--adapter and --lora-rank: merge the one adapter into the model before you train another")
	case t.lora.rank == 0 && g.weights != weightsFlag(clip.F32):
		return usageErrorf(cmd, "--weights %s: only f32 can be trained; --cast-frozen is for what is locked, --lora-rank for adapters", g.weights)
	case t.lora.rank > 0 && t.fromScratch:
		return usageErrorf(cmd, "--lora-rank trains adapters alone, and these need the model's own weights: want no --from-scratch")
	}
	if err := t.checkParts(cmd); err != nil {
		return err
	}
	if _, err := t.augmentation.config(cmd); err != nil {
		return err
	}
	return t.datasetFlags.check(cmd, args)
}

// checkParts refuses flags that say how to do what no flag asks for.
func (t *training) checkParts(cmd *cobra.Command) error {
	for _, g := range []struct {
		flag  string
		given bool
		parts []string
	}{
		{"lock-image", t.locks.image, []string{"lock-image-unlocked-groups", "lock-image-freeze-bn-stats"}},
		{"lock-text", t.locks.text, []string{"lock-text-unlocked-layers", "lock-text-freeze-layer-norm"}},
		{"lora-rank", t.lora.rank > 0, []string{"lora-alpha", "lora-dropout", "lora-target"}},
		{"eval", t.evalData != nil, []string{"eval-every"}},
	} {
		for _, name := range g.parts {
			if cmd.Flags().Changed(name) && !g.given {
				return usageErrorf(cmd, "--%s goes with --%s", name, g.flag)
			}
		}
	}
	return nil
}

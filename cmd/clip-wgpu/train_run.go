package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/lora"
	"github.com/clip-wgpu/clip-wgpu/train"
	"github.com/clip-wgpu/clip-wgpu/train/data"
)

// logLine is a line of log.jsonl.
type logLine struct {
	Step        int            `json:"step"` // from 1
	Epoch       int            `json:"epoch"`
	Loss        float64        `json:"loss"` // before the step
	LR          float64        `json:"lr"`
	GradNorm    float64        `json:"grad_norm"` // before clipping
	LogitScale  float32        `json:"logit_scale"`
	SamplesPerS float64        `json:"samples_per_s"`
	Eval        map[string]any `json:"eval,omitempty"`
}

// trainingRun is a training at work.
type trainingRun struct {
	*training
	*session
	trainer  *train.Trainer
	adapter  *lora.Adapter // nil without --lora-rank
	loader   *data.Loader
	set      *data.Dataset
	eval     *data.Dataset // nil: none
	folder   *runFolder
	saved    runFile   // what the next checkpoint writes
	start    time.Time // of this piece, which --minutes limits
	tried    int       // step of the last checkpoint, written or not
	schedule train.Schedule
	watch    trainingWatch
	stdout   io.Writer
	json     bool
	lines    []logLine
}

func (t *training) command(cmd *cobra.Command, g *globals, args []string) error {
	if t.flags != "" {
		var err error
		if args, err = readFlags(cmd, t.flags, args); err != nil {
			return err
		}
	}
	r := &trainingRun{training: t, start: time.Now(), stdout: cmd.OutOrStdout(), json: g.json}
	err := absoluteFlags(cmd)
	switch {
	case err != nil:
	case t.resume != "":
		r.saved, err = t.recall(cmd, args)
	default:
		r.saved, err = newRun(cmd, t.output, args)
	}
	if err != nil {
		return err
	}
	args = r.saved.Args
	if err := t.checkTraining(cmd, g, args); err != nil {
		return err
	}
	if err := r.openData(cmd, args); err != nil {
		return err
	}
	if !t.dryRun {
		if err := r.openFolder(); err != nil {
			return err
		}
		defer func() { r.folder.close() }()
	}
	return withModelFrom(cmd, g, t.load(g.model), func(ctx context.Context, s *session) error {
		r.session = s
		if err := r.prepare(cmd); err != nil {
			return err
		}
		defer r.trainer.Close()
		if t.dryRun {
			return r.estimate(ctx)
		}
		return r.run(ctx)
	})
}

// load returns what opens the model that the training begins with.
func (t *training) load(source string) func(context.Context, []clip.Option) (*clip.Model, error) {
	return func(ctx context.Context, o []clip.Option) (*clip.Model, error) {
		config, named, err := architecture(source)
		switch {
		case err != nil:
			return nil, err
		case named:
			return clip.New(config, t.seed, o...)
		case t.fromScratch:
			o = append(o, clip.WithRandomWeights(t.seed))
		}
		return clip.Load(ctx, source, o...)
	}
}

// openData reads what the training learns from and is measured by.
func (r *trainingRun) openData(cmd *cobra.Command, args []string) (err error) {
	if r.set, err = r.open(cmd, args, false); err != nil {
		return err
	}
	sets := []*data.Dataset{r.set}
	if r.evalData != nil {
		if r.eval, err = r.open(cmd, r.evalData, true); err != nil {
			return err
		}
		sets = append(sets, r.eval)
	}
	if err := r.nameClasses(cmd.Context(), cmd.InOrStdin(), sets...); err != nil {
		return err
	}
	if err := r.sameData(r.set); err != nil {
		return err
	}
	r.groupEqual = r.groupEqual || r.set.Classes != nil
	return nil
}

// recall reads the training that --resume names, and its flags.
func (t *training) recall(cmd *cobra.Command, args []string) (runFile, error) {
	if t.output != "" {
		return runFile{}, usageErrorf(cmd, "--resume takes the output of the training: want no -o")
	}
	t.otherDevice = cmd.Flags().Changed("device")
	f, err := readRun(t.resume)
	if err == nil {
		err = f.follow(cmd, t.resume, args)
	}
	if err == nil {
		err = restoreFlags(cmd, f.Flags)
	}
	t.output = t.resume
	return f, err
}

// prepare makes the loader and the trainer, and goes on where --resume says.
func (r *trainingRun) prepare(cmd *cobra.Command) error {
	augmentation, err := r.augmentation.config(cmd)
	if err != nil {
		return err
	}
	transform, err := r.model.Preprocess().Train(augmentation)
	if err != nil {
		return err
	}
	if err := r.mustEncode(imageTower, textTower); err != nil {
		return err
	}
	r.loader, err = data.NewLoader(r.set, data.LoaderOptions{
		Batch: r.batchSize.or(64), Transform: transform, Decode: r.search.options(r.model.Preprocess()), InOrder: r.inOrder, Seed: r.seed, MaxBad: r.maxBad,
	})
	if err != nil {
		return err
	}
	steps := r.steps
	if steps == 0 {
		steps = max(1, r.epochs) * r.loader.Steps()
	}
	r.saved.Steps = steps
	switch {
	case steps > math.MaxInt32:
		return fmt.Errorf("%d epochs of %s: want at most %d steps", r.epochs, plural(r.loader.Steps(), "step"), math.MaxInt32)
	case r.saved.Step > steps || r.saved.Step == steps && r.saved.Pending == nil:
		return fmt.Errorf("--resume %s: %d steps are made, of %d; --steps or --epochs asks for more", r.resume, r.saved.Step, steps)
	}
	if r.lossOf(r.model) == "coca" {
		if cmd.Flags().Changed("group-equal") {
			return usageErrorf(cmd, "--group-equal does not go with the loss coca")
		}
		r.groupEqual = false // which classes ask for
	}
	if err := r.locks.lock(r.model); err != nil {
		return err
	}
	if r.lora.rank > 0 {
		if r.adapter, err = lora.New(r.model.Tree(), r.lora.config(), r.seed); err != nil {
			return err
		}
	}
	if c := clip.CastDType(r.locks.cast); c != clip.F32 {
		if err := r.model.CastFrozen(cmd.Context(), c); err != nil {
			return err
		}
	}
	r.schedule = r.optimizer.schedule(steps)
	if r.trainer, err = train.New(r.model, r.config(r.model, r.schedule)); err != nil || r.dryRun {
		return err
	}
	for _, bad := range r.set.Bad {
		r.note("left out: %v", bad)
	}
	return r.goOn(cmd.Context())
}

// openFolder makes the folder, or opens that of --resume.
func (r *trainingRun) openFolder() (err error) {
	if r.resume == "" {
		r.folder, err = createRun(r.output)
	} else {
		r.folder, r.lines, err = continueRun(r.output, r.saved.Step)
	}
	return err
}

// goOn brings the trainer where the training of --resume was.
func (r *trainingRun) goOn(ctx context.Context) error {
	if err := cmp.Or(r.sameModel(), r.sameDevice()); err != nil {
		return err
	}
	if r.resume != "" {
		if err := r.trainer.Resume(ctx, r.folder.at(r.saved.State)); err != nil {
			return err
		}
		if made := r.trainer.Steps(); made != r.saved.Step {
			return fmt.Errorf("%s is of step %d, and %s of step %d", r.folder.at(r.saved.State), made, r.folder.at(runName), r.saved.Step)
		}
		if want := r.logged(); len(r.lines) != want {
			r.note("warning: %s has %s of %d steps: the others are lost", r.folder.at(logName), plural(len(r.lines), "line"), want)
		}
	}
	return nil
}

// logged is how many steps the log is to have.
func (r *trainingRun) logged() int {
	if r.saved.Pending != nil {
		return r.saved.Step - 1
	}
	return r.saved.Step
}

// run makes the steps.
func (r *trainingRun) run(ctx context.Context) error {
	r.watch = newTrainingWatch(r.batchSize.or(64), r.model.LogitScale(), r.note)
	r.tried = r.saved.Step
	if line := r.saved.Pending; line != nil {
		if err := r.follow(ctx, *line); err != nil || r.saved.Step == r.saved.Steps {
			return r.end(ctx, err)
		}
	}
	for b, err := range r.loader.Batches(ctx, r.saved.Position) {
		if err == nil {
			err = r.step(ctx, b)
		}
		if err != nil || r.saved.Step == r.saved.Steps {
			return r.end(ctx, err)
		}
		if r.minutes > 0 && time.Since(r.start).Minutes() >= r.minutes {
			return r.leave(ctx)
		}
	}
	return ctx.Err()
}

// end saves what the last step left, whether it was to be the last one or err, an interrupt
// perhaps, ends the training early. A loss that is no number leaves the last checkpoint.
func (r *trainingRun) end(ctx context.Context, err error) error {
	var odd *train.NotFiniteError
	switch {
	case err == nil:
		return r.finish(ctx)
	case ctx.Err() != nil:
		return r.interrupted(ctx)
	case errors.As(err, &odd):
		return fmt.Errorf("%w; %s", err, r.remedy())
	case r.saved.Step > r.tried && r.save(ctx) == nil:
		r.note("%s", r.savedSteps())
	}
	return err
}

// remedy says what to try against a loss that is no number.
func (r *trainingRun) remedy() string {
	last := "nothing was saved yet"
	if r.saved.State != "" {
		last = "the last checkpoint is whole: --resume " + r.output
	}
	return fmt.Sprintf("a smaller --lr than %g, a longer --warmup or --grad-clip-norm 1 may help; %s", r.optimizer.lr, last)
}

// step makes a step of a batch, and what is due after it.
func (r *trainingRun) step(ctx context.Context, b data.Batch) error {
	for _, bad := range b.Bad {
		r.problem("left out: %v", bad)
	}
	pairs, err := r.pairs(b)
	if err != nil {
		return err
	}
	start := time.Now()
	loss, err := r.trainer.Step(ctx, pairs)
	if err != nil {
		return err
	}
	r.cancelStartNote()
	r.saved.Step++
	r.saved.Position = b.After
	took := r.watch.tick(start)
	return r.follow(ctx, logLine{
		Step: r.saved.Step, Epoch: b.After.Epoch, Loss: loss, LR: r.schedule(r.saved.Step), GradNorm: r.trainer.GradNorm(),
		LogitScale: r.model.LogitScale(), SamplesPerS: significant(float64(len(b.Samples)) / took.Seconds()),
	})
}

// follow does what is due after a step, whose line this is: an evaluation, the log, a
// checkpoint.
func (r *trainingRun) follow(ctx context.Context, line logLine) error {
	r.saved.Pending = &line
	if r.eval != nil && due(line.Step, r.evalEvery, r.loader.Steps(), r.saved.Steps) {
		numbers, err := r.evaluate(ctx)
		if err != nil {
			return err
		}
		line.Eval = numbers
		r.watch.pause()
	}
	if err := r.folder.append(line); err != nil {
		return err
	}
	r.saved.Pending = nil
	r.lines = append(r.lines, line)
	if err := r.tell(line); err != nil {
		return err
	}
	r.watch.look(line)
	if line.Step < r.saved.Steps && due(line.Step, r.saveEvery, r.loader.Steps(), r.saved.Steps) {
		defer r.watch.pause()
		return r.save(ctx)
	}
	return nil
}

// due tells whether step n is one of every so many, or of each epoch, or the last.
func due(n, every, epoch, last int) bool { return n == last || n%cmp.Or(every, epoch) == 0 }

// pairs makes what the trainer takes of a batch.
func (r *trainingRun) pairs(b data.Batch) (train.Batch, error) {
	texts, err := r.model.Tokenizer().Tokenize(b.Captions, r.model.Config().TextCfg.ContextLength)
	if err != nil {
		return train.Batch{}, err
	}
	images, err := r.images(b)
	if err != nil {
		return train.Batch{}, err
	}
	batch := train.Batch{Inputs: images, Texts: texts}
	switch {
	case r.groupEqual && r.set.Classes != nil:
		for _, sample := range b.Samples { // classes may have one name
			batch.Groups = append(batch.Groups, int32(slices.Index(r.set.Classes, r.set.Classes[r.set.Class(sample)])))
		}
	case r.groupEqual:
		batch.Groups = train.GroupEqual(texts)
	}
	return batch, nil
}

// images are what the model takes of a batch's pictures.
func (r *trainingRun) images(b data.Batch) (map[string]clip.Array, error) {
	t := r.model.Preprocess()
	if s, ok := t.Sequence(); ok {
		return clip.PatchInputs(t, b.Patches, s.MaxLength)
	}
	size := t.Config().Size
	return clip.ImageInputs(clip.Array{Shape: []int{len(b.Samples), 3, size[0], size[1]}, Data: b.Images}), nil
}

// evaluate measures the model as it is now. Samples that cannot be read are left out.
func (r *trainingRun) evaluate(ctx context.Context) (map[string]any, error) {
	s := *r.session
	s.skipErrors = true
	e := evaluation{datasetFlags: r.datasetFlags, session: &s, set: r.eval}
	report, err := e.measure(ctx)
	if err != nil {
		return nil, err
	}
	return report.numbers(), nil
}

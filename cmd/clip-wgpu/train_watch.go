package main

import (
	"fmt"
	"math"
	"time"
)

// trainingWatch measures the rate of a training, and looks out for what goes wrong often.
type trainingWatch struct {
	note   func(format string, args ...any)
	chance float64 // the loss of a model that knows nothing: ln(batch)
	scale  float32 // of the logits, at the start
	recent []float64
	told   map[string]bool
	last   time.Time     // when a step ended
	pace   time.Duration // of a step, smoothed
}

// stuckSteps is how many steps a loss may stay at chance, and stuckMargin how near to it that is.
const (
	stuckSteps  = 200
	stuckMargin = 0.01
)

// maxLogitScale is where open_clip_train clamps the scale.
const maxLogitScale = 100

func newTrainingWatch(batch int, scale float32, note func(string, ...any)) trainingWatch {
	return trainingWatch{note: note, chance: math.Log(float64(batch)), scale: scale, told: map[string]bool{}}
}

// tick notes a step that began at start and has ended, and says how long the way from one
// step to the next takes, waiting for pictures included.
func (w *trainingWatch) tick(start time.Time) time.Duration {
	now := time.Now()
	if w.last.IsZero() {
		w.last = start
	}
	took := max(now.Sub(w.last), time.Microsecond)
	w.last = now
	if w.pace == 0 {
		w.pace = took
	}
	w.pace += (took - w.pace) / 10
	return took
}

// pause leaves what happened since the last step out of the pace.
func (w *trainingWatch) pause() { w.last = time.Time{} }

// look tells, once each, what a line shows to go wrong, and what may help.
func (w *trainingWatch) look(line logLine) {
	if w.recent = append(w.recent, line.Loss); len(w.recent) > stuckSteps {
		w.recent = w.recent[1:]
	}
	stuck := len(w.recent) == stuckSteps && w.chance > 0
	for _, loss := range w.recent {
		stuck = stuck && math.Abs(loss-w.chance) < stuckMargin*w.chance
	}
	if stuck {
		w.tell("stuck", "the loss has stayed at ln(batch size) = %.3f for %d steps: the model tells no pair from another. Are captions and pictures those of each other? A larger --lr, or fewer locks, may help", w.chance, stuckSteps)
	}
	if w.scale < 0.99*maxLogitScale && line.LogitScale >= 0.999*maxLogitScale {
		w.tell("scale", "logit_scale has risen from %.1f to its bound of %d: a smaller --lr or a larger --batch-size may help", w.scale, maxLogitScale)
	}
}

func (w *trainingWatch) tell(what, format string, args ...any) {
	if !w.told[what] {
		w.told[what] = true
		w.note("warning: "+format, args...)
	}
}

// tell writes a line of progress to stdout, where one is due, and shows it on a terminal.
func (r *trainingRun) tell(line logLine) error {
	left := r.watch.pace * time.Duration(r.saved.Steps-line.Step)
	text := fmt.Sprintf("step %d of %d  epoch %d  loss %.4f  lr %.3g  %.4g samples/s  %v left",
		line.Step, r.saved.Steps, line.Epoch, line.Loss, line.LR, line.SamplesPerS, left.Round(time.Second))
	every := max(1, r.saved.Steps/50)
	if r.json {
		every = 1
	}
	if !due(line.Step, r.logEvery, every, r.saved.Steps) && line.Eval == nil {
		r.update("%s", text)
		return nil
	}
	r.clear()
	if r.json {
		return newJSONLines(r.stdout).Encode(line)
	}
	if line.Eval != nil {
		text += evalText(line.Eval)
	}
	_, err := fmt.Fprintln(r.stdout, text)
	return err
}

// evalText is an evaluation within a line.
func evalText(numbers map[string]any) (text string) {
	for _, name := range []string{"top1", "top5", "image_to_text_R@1", "image_to_text_R@5", "text_to_image_R@1", "text_to_image_R@5"} {
		if v, ok := numbers[name].(float64); ok {
			text += fmt.Sprintf("  %s %.2f %%", name, 100*v)
		}
	}
	return text
}

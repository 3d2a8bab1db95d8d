// Package verify compares what this device computes with stored reference
// results. A case is a folder whose meta.json names its kind; what is compared
// and how closely is read from the folder's files.
package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// ErrCannotRun is matched by errors about cases in which nothing can be
// compared: their files are missing or damaged, or nothing of them is built.
var ErrCannotRun = errors.New("cannot run")

// Status is the outcome of one comparison.
type Status string

const (
	OK       Status = "ok"
	Fail     Status = "FAIL"
	NotBuilt Status = "not built" // the case asks for something this program does not do yet
)

// Row is one comparison.
type Row struct {
	Case      string
	Tensor    string
	Error     float64 // largest absolute difference, or the number of things that differ; NaN where a result is one
	Tolerance float64
	Status    Status
	Note      string // what else there is to say, such as both shapes where they differ
}

// Verifier runs cases on one device. It is not safe for concurrent use.
type Verifier struct {
	options   gpu.Options
	device    *gpu.Device // opened by the first case that needs it
	temporary []string    // files that could not be removed while they were open
}

// New returns a Verifier for the device that o chooses.
func New(o gpu.Options) *Verifier { return &Verifier{options: o} }

// Close releases the device and removes temporary files.
func (v *Verifier) Close() error {
	var errs []error
	if v.device != nil {
		errs = append(errs, v.device.Close())
	}
	for _, path := range v.temporary {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// kinds are the kinds of cases there are.
var kinds = map[string]func(context.Context, *testCase) error{
	"forward":           verifyForward,
	"intermediates":     verifyIntermediates,
	"end_to_end":        verifyEndToEnd,
	"tokenizer":         verifyTokenizer,
	"hf_tokenizers":     verifyHFTokenizers,
	"preprocess":        verifyPreprocess,
	"naflex_preprocess": verifyNaFlexPreprocess,
	"jpeg":              verifyJPEG,
	"pos_embed_resize":  verifyPosEmbedResize,
	"containers":        verifyContainers,
	"training":          verifyTraining,
	"bn_train":          verifyBatchNormTraining,
	"coca":              verifyCoCa,
	"locks":             verifyLocks,
	"tables":            verifyTables,
}

// Run verifies the case in folder dir. Rows that were made before an error come
// back with it. Errors match ErrCannotRun, ctx.Err() where that is the cause,
// and config.ErrUnsupported where the case's model is not supported.
func (v *Verifier) Run(ctx context.Context, dir string) ([]Row, error) {
	c, err := openCase(v, dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannotRun, err)
	}
	run, ok := kinds[c.meta.Kind]
	if !ok {
		return nil, fmt.Errorf("%w: meta.json: unknown kind %q, want one of %q", ErrCannotRun, c.meta.Kind, slices.Sorted(maps.Keys(kinds)))
	}
	if err := run(ctx, c); err != nil {
		return c.rows, fmt.Errorf("%w: %w", ErrCannotRun, err)
	}
	if !slices.ContainsFunc(c.rows, func(r Row) bool { return r.Status != NotBuilt }) {
		return c.rows, fmt.Errorf("%w: nothing in this case of kind %s is built yet", ErrCannotRun, c.meta.Kind)
	}
	return c.rows, nil
}

// openDevice opens the device once.
func (v *Verifier) openDevice() (*gpu.Device, error) {
	if v.device != nil {
		return v.device, nil
	}
	var err error
	v.device, err = gpu.Open(v.options)
	return v.device, err
}

// discard removes a temporary file. One that cannot be removed yet, because it is
// open, is left for Close.
func (v *Verifier) discard(path string) {
	if os.Remove(path) != nil { // Windows keeps files that are open
		v.temporary = append(v.temporary, path)
	}
}

// add makes the row of a comparison with the given largest error.
func (c *testCase) add(tensor string, deviation, tolerance float64, note string) {
	status := Fail
	if deviation <= tolerance { // false for NaN
		status = OK
	}
	c.rows = append(c.rows, Row{c.name, tensor, deviation, tolerance, status, note})
}

// check makes the row of something that has no measure: right, or not.
func (c *testCase) check(tensor string, right bool, note string) {
	wrong := 0.0
	if !right {
		wrong = 1
	}
	c.add(tensor, wrong, 0, note)
}

func (c *testCase) notBuilt(tensor, what string) {
	c.rows = append(c.rows, Row{Case: c.name, Tensor: tensor, Status: NotBuilt, Note: what})
}

// compare makes the row of one tensor.
func (c *testCase) compare(name string, got, want clip.Array, tolerance float64) {
	if !slices.Equal(got.Shape, want.Shape) {
		c.add(name, math.NaN(), tolerance, fmt.Sprintf("shape %v, want %v", got.Shape, want.Shape))
		return
	}
	c.add(name, deviation(got.Data, want.Data), tolerance, "")
}

// deviation is the largest absolute difference of slices of the same length,
// NaN when there is one on either side.
func deviation(got, want []float32) float64 {
	worst := 0.0
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(d) {
			return d
		}
		worst = max(worst, d)
	}
	return worst
}

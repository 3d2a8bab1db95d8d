package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// What the environment variable CLIPWGPU adds to loads and runs, see internal/debug.

// traces is where lines about loads and submissions go.
var traces io.Writer = os.Stderr

// debugSwitch is what CLIPWGPU asks for.
func debugSwitch() (debug.Switch, error) {
	d, err := debug.Get()
	if err != nil || d.WGSL == "" {
		return d, err
	}
	edited, err := filepath.Glob(filepath.Join(d.WGSL, "*.wgsl"))
	for _, path := range edited {
		if name := strings.TrimSuffix(filepath.Base(path), ".wgsl"); !slices.Contains(shaders.Files(), name) {
			return d, fmt.Errorf("%s: %s: the program has no kernel of this name", debug.Variable, path)
		}
	}
	return d, err
}

// title tells programs apart by what they take.
func (s *Session) title() string {
	var b strings.Builder
	for _, in := range s.program.Inputs {
		fmt.Fprintf(&b, "%s %v, ", in.Name, in.Spec)
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// traceLoad says what a load that began then has made.
func (s *Session) traceLoad(began time.Time) {
	if !s.core.debug.Trace || s.program == nil || len(s.steps) < len(s.program.Steps) {
		return
	}
	fmt.Fprintf(traces, "clip-wgpu: load of %s: %d steps, %d bytes of activations, %d states, %v\n", s.title(),
		len(s.steps), s.program.ArenaBytes(), len(s.states), time.Since(began).Round(time.Microsecond))
}

// traceSteps says what a submission was and how long it took.
func (s *Session) traceSteps(steps []step, elapsed time.Duration) {
	if !s.core.debug.Trace || len(steps) == 0 {
		return
	}
	lo := cap(s.steps) - cap(steps) // they are cut out of s.steps
	hi := lo + len(steps) - 1
	from, to := s.program.Steps[lo], s.program.Steps[hi]
	fmt.Fprintf(traces, "clip-wgpu: run of %s: steps %d to %d of %d, %s to %s, %v\n", s.title(),
		lo, hi, len(s.steps), cmp.Or(from.Scope, from.Op), cmp.Or(to.Scope, to.Op), elapsed.Round(time.Microsecond))
}

// watched is a submitter for one run that looks at what every op makes.
func (s *Session) watched() submitter {
	w := &watcher{Session: s, submit: s.submit}
	if s.core.options.Check {
		w.submit = s.checked
	}
	return w.look
}

// watcher is one run that is looked at.
type watcher struct {
	*Session
	submit submitter
	in     [][]float64 // of the op at work, with check=ops
	folder string      // of this run's dumps, once there is one
}

// look submits a step, alone, and looks at what its op has made when it was the op's
// last.
func (w *watcher) look(ctx context.Context, j *job, lo, hi int, reads []transfer) error {
	steps := w.program.Steps
	st := steps[lo]
	if st.Node == nil {
		return fmt.Errorf("%s: the program was built without it", debug.Variable)
	}
	if w.core.debug.CheckOps && (lo == 0 || steps[lo-1].Node != st.Node) {
		var err error
		if w.in, err = w.values(ctx, st.In); err != nil {
			return err
		}
	}
	if err := w.submit(ctx, j, lo, hi, reads); err != nil {
		return err
	}
	if hi < len(steps) && steps[hi].Node == st.Node {
		return nil
	}
	if hi == len(steps) {
		defer w.noteNoDump()
	}
	out, err := w.values(ctx, st.Out)
	if err != nil {
		return err
	}
	dumped := func(layer string) bool { return strings.HasPrefix(layer, w.core.debug.Dump) }
	if w.core.debug.Dump != "" && slices.ContainsFunc(st.Node.Layers(), dumped) {
		if err := w.dump(lo, out); err != nil {
			return err
		}
	}
	if w.core.debug.CheckNaN {
		return checkFinite(st, out)
	}
	if w.core.debug.CheckOps {
		return w.checkOp(st, out)
	}
	return nil
}

// values reads tensors, row-major; nil for those that are nowhere.
func (w *watcher) values(ctx context.Context, tensors []graph.Binding) ([][]float64, error) {
	all := make([][]float64, len(tensors))
	for i, t := range tensors {
		if len(t.Slots) == 0 {
			continue
		}
		all[i] = make([]float64, t.Shape.Elems())
		if err := w.read(ctx, t, all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (w *watcher) read(ctx context.Context, t graph.Binding, dst []float64) error {
	if at := t.Slots[0]; at.Space == graph.SpaceState {
		return w.readState(ctx, w.program.States[at.Index], w.states[at.Index], 0, dst)
	}
	words := make([]uint32, len(dst))
	rest := bytesOf(words)
	var parts []transfer
	for _, slot := range t.Slots {
		b, offset := w.locate(slot)
		parts = append(parts, transfer{b, offset, rest[:slot.Bytes]})
		rest = rest[slot.Bytes:]
	}
	if err := w.core.readback(ctx, parts); err != nil {
		return err
	}
	convert(dst, words, t.Element)
	return nil
}

// readState reads st, row-major, which begins at a byte of what lies at m. What lies
// between the parts of a slab is left alone.
func (w *watcher) readState(ctx context.Context, st *graph.State, m extents, begin int64, dst []float64) error {
	for i, part := range st.Parts {
		at := st.Offsets[i]
		if err := w.readState(ctx, part, m, begin+at, dst[at/4:][:part.Shape.Elems()]); err != nil {
			return err
		}
	}
	if st.Parts != nil {
		return nil
	}
	if st.Packed() {
		read := func(words []uint32, offset int64) error {
			return w.core.readback(ctx, m.transfers(begin+offset, bytesOf(words)))
		}
		return w.core.target.Packing(st).Unpack(read, func(offset int, values []float32) error {
			for i, v := range values {
				dst[offset+i] = float64(v)
			}
			return nil
		})
	}
	words := make([]uint32, len(dst))
	if err := w.core.readback(ctx, m.transfers(begin, bytesOf(words))); err != nil {
		return err
	}
	convert(dst, words, st.Element)
	return nil
}

// convert takes elements of the device to numbers.
func convert(dst []float64, words []uint32, dtype graph.Element) {
	for i, word := range words {
		if dtype == graph.I32 {
			dst[i] = float64(int32(word))
		} else {
			dst[i] = float64(math.Float32frombits(word))
		}
	}
}

// checkFinite is check=nan.
func checkFinite(st graph.Step, out [][]float64) error {
	for k, values := range out {
		for i, v := range values {
			if !finite(v) {
				return fmt.Errorf("wrote %v to element %d of output %d, %v", v, i, k, st.Out[k].Spec)
			}
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// opTolerance is how far a value may be from the op's reference, in terms of the
// largest of its row or, if that is more, of a hundredth of the tensor's largest: what
// a row cancels down to is rounded at the size of its terms. A whole tensor may cancel:
// inputTolerance is in terms of the largest input, and grows like the error of a sum
// with the square root of how many inputs there are for each output.
const (
	opTolerance    = 2e-4
	inputTolerance = 5e-7
)

// checkOp is check=ops: the op's reference computes what the device should have made
// of the inputs that it read.
func (w *watcher) checkOp(st graph.Step, out [][]float64) error {
	if st.Node.Op.Ref == nil {
		return errors.New("the op has no reference")
	}
	want := make([][]float64, len(st.Node.Out))
	for k, spec := range st.Node.Out {
		want[k] = make([]float64, spec.Shape.Elems())
	}
	st.Node.Op.Ref(st.Node, w.in, want)
	for k := range out {
		if out[k] == nil {
			continue
		}
		least := 0.0
		for i, in := range w.in {
			if in != nil && st.In[i].Element == graph.F32 {
				terms := max(1, float64(len(in))/float64(len(out[k])))
				least = max(least, inputTolerance*math.Sqrt(terms)*largest(in))
			}
		}
		if i := differs(st.Node.Out[k], out[k], want[k], least); i >= 0 {
			return fmt.Errorf("element %d of output %d, %v, is %v on the device and %v by the op's reference", i, k, st.Out[k].Spec, out[k][i], want[k][i])
		}
	}
	return nil
}

// largest is the largest magnitude among values that are finite.
func largest(values []float64) (most float64) {
	for _, v := range values {
		if finite(v) {
			most = max(most, math.Abs(v))
		}
	}
	return most
}

// differs returns the first element in which got is not as wanted, or -1. least is
// what floats may be off by in any case.
func differs(spec graph.Spec, got, want []float64, least float64) int {
	cols := 1
	if n := len(spec.Shape); n > 0 {
		cols = spec.Shape[n-1]
	}
	floor := largest(want) / 100
	for lo := 0; lo < len(want); lo += cols {
		allowed := max(least, opTolerance*max(floor, largest(want[lo:lo+cols])))
		if spec.Element == graph.I32 {
			allowed = 0
		}
		for i := lo; i < lo+cols; i++ {
			w := float64(float32(want[i]))
			if right := finite(got[i]) && math.Abs(got[i]-w) <= allowed; !right && (finite(w) || finite(got[i])) {
				return i
			}
		}
	}
	return -1
}

// dump writes what the op of step i has made, a NumPy file for each output. Its name
// lists all layers whose work the op does, the last of which made the values.
func (w *watcher) dump(i int, out [][]float64) error {
	st := w.program.Steps[i]
	if w.folder == "" {
		if err := w.makeFolder(); err != nil {
			return fmt.Errorf("%s: dump: %w", debug.Variable, err)
		}
	}
	for k, values := range out {
		if values == nil {
			continue
		}
		name := strings.Map(func(r rune) rune {
			if strings.ContainsRune(`/\:*?"<>|`, r) || r < ' ' {
				return '_'
			}
			return r
		}, fmt.Sprintf("%04d-%s.%s", i, strings.Join(st.Node.Layers(), "+"), st.Op))
		if k > 0 {
			name += fmt.Sprintf("-%d", k)
		}
		data := debug.NPY(st.Out[k].Shape, st.Out[k].Element == graph.I32, values)
		if err := os.WriteFile(filepath.Join(w.folder, name+".npy"), data, 0o666); err != nil {
			return fmt.Errorf("%s: dump: %w", debug.Variable, err)
		}
	}
	return nil
}

// noteNoDump says, at the end of a run, that nothing was dumped: another program may
// have the scope.
func (w *watcher) noteNoDump() {
	if scope := w.core.debug.Dump; scope != "" && w.folder == "" {
		fmt.Fprintf(traces, "clip-wgpu: dump of %s: no step does the work of a layer whose name starts with %s\n", w.title(), scope)
	}
}

// makeFolder makes a new folder for the run: 0001, or the next number.
func (w *watcher) makeFolder() error {
	if err := os.MkdirAll(debug.DumpFolder, 0o777); err != nil {
		return err
	}
	for n := 1; ; n++ {
		folder := filepath.Join(debug.DumpFolder, fmt.Sprintf("%04d", n))
		err := os.Mkdir(folder, 0o777)
		if err == nil {
			w.folder = folder
			fmt.Fprintf(traces, "clip-wgpu: dump of %s in %s\n", w.title(), folder)
		}
		if !errors.Is(err, os.ErrExist) {
			return err
		}
	}
}

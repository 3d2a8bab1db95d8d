// Package engine runs graphs on a device for any number of items: it compiles a
// program for each batch size, keeps those that are used loaded, and makes batches
// smaller where memory is short. What the graphs compute is not its business.
package engine

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/flight"
)

// Engine runs tasks on a device. It is safe for concurrent use.
type Engine struct {
	Tuning *gpu.Tuning // chooses among kernels: what the user's cache holds for the device, or nil

	device   *gpu.Device
	depth    int // batches of a call that are under way
	store    *gpu.Store
	programs *programCache
}

// Open returns an engine that keeps its own handle of a device. At most maxBatch
// items go to the device at once.
func Open(device *gpu.Device, maxBatch int) (*Engine, error) {
	own, err := device.Retain()
	if err != nil {
		return nil, err
	}
	e := &Engine{device: own, depth: 1, store: own.NewStore(), Tuning: own.LoadTuning(), programs: newProgramCache(maxBatch)}
	if !own.Info().Software() { // whose submissions drain
		e.depth = maxDepth
	}
	return e, nil
}

// maxDepth is how many batches a GPU has: one that is uploaded, one that is computed and
// one that is read back.
const maxDepth = 3

// Depth is how many batches the device may have at once.
func (e *Engine) Depth() int { return e.depth }

// Device is the engine's handle.
func (e *Engine) Device() *gpu.Device { return e.device }

// Store holds the parameters of all programs.
func (e *Engine) Store() *gpu.Store { return e.store }

// Close frees the programs and the store, once nobody runs them; false when it was
// done before.
func (e *Engine) Close() (bool, error) {
	if !e.programs.close() {
		return false, nil
	}
	return true, errors.Join(e.store.Close(), e.device.Close())
}

// Task is one kind of computation, for any number of items.
type Task struct {
	Key    string // what is computed, apart from the batch size
	Record func(g *graph.Graph, batch int) map[string]graph.Tensor
	Feed   func(lo, hi int) map[string]any // the graph's inputs for items lo to hi
	Whole  bool                            // all items are one batch: more than the device takes are an error that TooLarge tells
	Took   func(gpu.RunTime)               // is told of each batch, from goroutines of its own; may be nil
}

// Value is an output: a shape and its elements in row-major order.
type Value struct {
	Shape []int
	Data  []float32
}

// Run computes t for n items and returns its outputs by name, each with n as, or in,
// its first dimension. Items go to the device in powers of two, so that few programs
// serve every n and an item's result does not depend on its neighbours. Without
// items there are no outputs.
func (e *Engine) Run(ctx context.Context, n int, t Task) (map[string]Value, error) {
	f := flight.New(ctx, e.depth)
	outs, names, err := e.begin(f, n, t)
	if err := f.End(err); err != nil {
		return nil, err
	}
	named := make(map[string]Value, len(outs))
	for i, out := range outs {
		named[names[i]] = out
	}
	return named, nil
}

// begin begins all batches of n items and returns the outputs that they fill.
func (e *Engine) begin(f *flight.Flight, n int, t Task) (outs []Value, names []string, err error) {
	most := n // items of a batch: one that memory refused is tried again by the next call only
	for lo := 0; lo < n; {
		if err := f.Next(); err != nil {
			return nil, nil, err
		}
		p, err := e.programs.acquire(f, e, t, min(n-lo, most))
		if err != nil {
			f.Skip()
			return nil, nil, err
		}
		most = p.batch
		if outs == nil {
			outs, names = allocate(p.outputs, p.batch, n), p.names
		}
		hi := lo + p.batch
		io := gpu.IO{Inputs: p.feed(t.Feed(lo, hi)), Outputs: make([][]float32, len(outs))}
		for i := range outs {
			item := len(outs[i].Data) / n
			io.Outputs[i] = outs[i].Data[lo*item : hi*item]
		}
		f.Begin(func(ctx context.Context) error {
			defer e.programs.release(p)
			if t.Took == nil {
				return p.session.Run(ctx, io)
			}
			io.Took = new(gpu.RunTime)
			err := p.session.Run(ctx, io)
			t.Took(*io.Took)
			return err
		})
		lo = hi
	}
	return outs, names, nil
}

func allocate(outputs []graph.Binding, batch, n int) []Value {
	outs := make([]Value, len(outputs))
	for i, o := range outputs {
		shape := slices.Clone([]int(o.Shape))
		shape[0] = shape[0] / batch * n
		outs[i] = Value{shape, make([]float32, graph.Shape(shape).Elems())}
	}
	return outs
}

// Program lowers t for a batch without loading it: what the device would replay.
func (e *Engine) Program(t Task, batch int) (*graph.Program, error) {
	p, _, err := e.compile(t, batch, e.Tuning.Choose)
	return p, err
}

// Prepare makes g one for the engine's device: its kernels are those that were
// measured to be fastest.
func (e *Engine) Prepare(g *graph.Graph) {
	g.Variants, g.Target = e.Tuning.Choose, e.device.Target()
}

// compile returns t's program for a batch and the names of its outputs.
func (e *Engine) compile(t Task, batch int, variants func(string, []string) string) (*graph.Program, []string, error) {
	g := graph.New()
	e.Prepare(g)
	g.Variants = variants
	outs := t.Record(g, batch)
	names := slices.Sorted(maps.Keys(outs))
	tensors := make([]graph.Tensor, len(names))
	for i, name := range names {
		tensors[i] = outs[name]
	}
	p, err := g.Build(tensors...)
	return p, names, err
}

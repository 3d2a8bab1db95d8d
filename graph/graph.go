// Package graph is the tape: layers record coarse operations on tensors, and
// Build turns what they recorded into a Program, plain data that a device
// replays. The package knows nothing of the GPU; a Graph can be built,
// differentiated, evaluated on the CPU in float64 and printed without one.
//
// A Graph is not safe for concurrent use; a Program is read-only.
package graph

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/internal/debug"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// Element is the type of a tensor's elements on the device.
type Element uint8

const (
	F32 Element = iota // 32-bit float
	I32                // 32-bit signed integer: token ids, row indices, labels
)

func (d Element) String() string {
	if d > I32 {
		return fmt.Sprintf("element(%d)", uint8(d))
	}
	return [...]string{"f32", "i32"}[d]
}

// Shape is a tensor's dimensions, outermost first. A scalar has none.
type Shape []int

// Elems is the number of elements.
func (s Shape) Elems() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Spec is what is known of a tensor while recording.
type Spec struct {
	Shape   Shape
	Element Element
}

// Bytes is the size on the device.
func (s Spec) Bytes() int64 { return 4 * int64(s.Shape.Elems()) }

func (s Spec) String() string {
	return s.Element.String() + strings.ReplaceAll(fmt.Sprint([]int(s.Shape)), " ", "×")
}

// Tensor is a value recorded on a graph. The zero Tensor means "absent".
type Tensor struct {
	node *Node
	out  int
}

// Valid reports whether t is present.
func (t Tensor) Valid() bool { return t.node != nil }

// Spec returns t's shape and element type.
func (t Tensor) Spec() Spec {
	if t.node == nil || t.out >= len(t.node.Out) {
		return Spec{}
	}
	return t.node.Out[t.out]
}

// State returns the state that t is a handle of, or nil.
func (t Tensor) State() *State {
	if t.node == nil || t.node.Op != stateOp {
		return nil
	}
	return t.node.Attr.(*State)
}

// Shape returns t's dimensions.
func (t Tensor) Shape() Shape { return t.Spec().Shape }

// Dim returns dimension i, counted from the end when negative. It is 1 where t
// has no such dimension, so that a layer may go on recording after a mistake
// that Build will report.
func (t Tensor) Dim(i int) int {
	s := t.Shape()
	if i < 0 {
		i += len(s)
	}
	if i < 0 || i >= len(s) {
		return 1
	}
	return s[i]
}

// Node is one recorded operation.
type Node struct {
	Op    *Op
	In    []Tensor // absent optional inputs are zero Tensors
	Out   []Spec
	Attr  any // the op's own attributes
	Scope string

	fused []string // the scopes of the nodes that Build made this one of
	into  []*State // the States that the first outputs are the new values of
	g     *Graph
	id    int // place in the tape
	used  []bool
	class string // of the last Choose
}

// Used reports, while lowering, whether anything reads output i; a kernel whose
// output is not read need not be launched.
func (n *Node) Used(i int) bool { return n.used[i] }

// Exact reports, while fusing, whether what both nodes give must not change by a bit. That
// is so in a training step: with Checkpointing it has copies of n that cannot be fused,
// because gradients read what is between both nodes.
func (n *Node) Exact() bool { return n.g.Training || n.g.Checkpointing }

// Output returns output i of n, for VJPs that need what the forward computed.
func (n *Node) Output(i int) Tensor { return Tensor{n, i} }

// Op is one kind of operation. There is one value for each kind, in package ops or,
// for what the tape itself needs, here.
type Op struct {
	Name string
	// Infer gives the outputs' shapes and dtypes, or says what is wrong with the inputs.
	Infer func(n *Node) ([]Spec, error)
	// Packed lists the inputs that may be packed States; any other is refused.
	Packed []int
	// Lower gives the kernels that compute the outputs, in order. It alone knows their files.
	Lower func(n *Node) []Launch
	// Fuse returns one node that computes what n and then user compute, or nil where
	// that is not possible. It is asked when user alone reads an output of n. Build
	// puts the returned node in the place of both: output 0 is user's, the others are
	// what they were of n. A nil Fuse is never asked.
	Fuse func(n, user *Node) *Node
	// VJP records the gradient of each input (zero where there is none) from the
	// gradients of the outputs (zero where none flows). Nil: not differentiable.
	VJP func(g *Graph, n *Node, dy []Tensor) []Tensor
	// Ref computes the outputs by plain loops in float64.
	Ref func(n *Node, in, out [][]float64)
}

// Launch is one kernel dispatch as an op asks for it. It makes Batch results
// [Rows, Cols], of which each workgroup takes the kernel's tile; a Batch or Cols
// of 0 is 1.
type Launch struct {
	Kernel            shaders.Variant
	Params            []uint32 // the fields of the kernel's Params, floats by math.Float32bits
	Args              []Arg    // what each storage binding is, in binding order
	Batch, Rows, Cols int
	FLOPs             int64 // twice the multiplications of a matrix product, 0 for other kernels

	chunk Chunk // of the tensors that have several, see PerChunk
	part  Chunk // of the packed State, see OfPart
}

// Arg is one storage binding of a Launch.
type Arg struct {
	kind  argKind
	index int
}

type argKind uint8

const (
	argNone argKind = iota
	argIn
	argOut
)

// In is the node's input i. An absent input binds a dummy.
func In(i int) Arg { return Arg{argIn, i} }

// Out is the node's output i.
func Out(i int) Arg { return Arg{argOut, i} }

// None binds a dummy that the kernel must not touch.
func None() Arg { return Arg{} }

// Graph records operations.
type Graph struct {
	Target // the device that Build is to build for

	// Variants chooses among kernels that compute the same, given a class of
	// problems and the candidates; nil, or an answer that is none of them, takes
	// the first. It must answer the same for the same question.
	Variants func(class string, candidates []string) string
	// Guard is how many bytes to leave free behind every activation, so that a
	// test can see what a kernel writes beyond its tensors.
	Guard int64
	// Training makes layers act as torch's do after train() instead of eval(): batch
	// norms normalise by the batch and update their running statistics, dropout drops.
	Training bool
	// Checkpointing makes Grad compute every Block that is recorded under it again instead
	// of keeping what it computed, which saves memory and gives the same gradients.
	Checkpointing bool
	// Pure makes Build drop every Assign and Update: the Program leaves States as they
	// are.
	Pure    bool
	Unfused bool // gives every op kernels of its own, for tests of fused ones

	nodes    []*Node
	blocks   []block // in order
	scope    []string
	taps     map[string]Tensor
	inputs   map[string]Tensor
	supplied map[string]Tensor // by Supply
	states   map[*State]Tensor // the newest handle of each state
	params   map[*State]*Param
	err      error
	debug    debug.Switch

	seed    Tensor // and streams: see Random
	streams uint32
}

// New returns an empty graph. The environment variable CLIPWGPU may change how it is
// built, see internal/debug.
func New() *Graph {
	d, _ := debug.Get() // gpu.Open refuses what cannot be read
	return &Graph{
		Unfused:  d.NoPlan,
		taps:     map[string]Tensor{},
		inputs:   map[string]Tensor{},
		supplied: map[string]Tensor{},
		states:   map[*State]Tensor{},
		params:   map[*State]*Param{},
		debug:    d,
	}
}

// Scope names every step recorded until end is called; scopes nest with dots.
func (g *Graph) Scope(name string) (end func()) {
	depth := len(g.scope)
	if name != "" {
		g.scope = append(g.scope, name)
	}
	return func() { g.scope = g.scope[:depth] }
}

// Module records forward under name and taps its result: one module of a model,
// found again under open_clip's dotted name.
func (g *Graph) Module(name string, forward func() Tensor) Tensor {
	defer g.Scope(name)()
	return g.Tap(forward())
}

func (g *Graph) path() string { return strings.Join(g.scope, ".") }

// Tap makes t findable under the current scope's name (and, where given, a
// name within it) and returns it. Taps that no Build asks for cost nothing.
func (g *Graph) Tap(t Tensor, name ...string) Tensor {
	g.taps[strings.Join(append(slices.Clone(g.scope), name...), ".")] = t
	return t
}

// Tapped returns the tensor last tapped under a full name; false where there is none.
func (g *Graph) Tapped(name string) (Tensor, bool) {
	t, ok := g.taps[name]
	return t, ok
}

// Fail records a misuse; Build returns the first one.
func (g *Graph) Fail(format string, args ...any) {
	if g.err != nil {
		return
	}
	err := fmt.Errorf(format, args...)
	if p := g.path(); p != "" {
		err = fmt.Errorf("%s: %w", p, err)
	}
	g.err = err
}

// Err returns the first misuse recorded, or nil.
func (g *Graph) Err() error { return g.err }

// Apply records op and returns its outputs.
func (g *Graph) Apply(op *Op, attr any, in ...Tensor) []Tensor { return g.apply(op, attr, nil, in) }

func (g *Graph) apply(op *Op, attr any, into []*State, in []Tensor) []Tensor {
	n := &Node{Op: op, In: in, Attr: attr, Scope: g.path(), into: into, g: g, id: len(g.nodes)}
	if g.err == nil {
		out, err := g.infer(n)
		if err != nil {
			g.Fail("%s: %w", op.Name, err)
		}
		n.Out = out
	}
	g.nodes = append(g.nodes, n)
	ts := make([]Tensor, max(1, len(n.Out)))
	for i := range ts {
		ts[i] = Tensor{n, i}
	}
	return ts
}

// owns reports whether t was recorded on g.
func (g *Graph) owns(t Tensor) bool { return t.node != nil && t.node.g == g }

func (g *Graph) infer(n *Node) ([]Spec, error) {
	for i, t := range n.In {
		if t.Valid() && !g.owns(t) {
			return nil, fmt.Errorf("input %d belongs to another graph", i)
		}
		if s := t.State(); s != nil && s.Packed() && !slices.Contains(n.Op.Packed, i) {
			return nil, fmt.Errorf("input %d is %s, which is packed as %v", i, s.Name, s.Format)
		}
	}
	out, err := n.Op.Infer(n)
	if err == nil {
		err = n.checkInto(out)
	}
	if err != nil {
		return nil, err
	}
	for _, s := range out {
		for _, d := range s.Shape {
			if d <= 0 {
				return nil, fmt.Errorf("output %v has an empty dimension", s)
			}
		}
	}
	return out, nil
}

// Input declares a tensor whose values every run supplies under name, row-major. To
// declare a name twice is a misuse.
func (g *Graph) Input(name string, shape Shape, dtype Element) Tensor {
	if _, ok := g.inputs[name]; ok {
		g.Fail("input %q is declared twice", name)
	}
	t, ok := g.supplied[name]
	switch s := t.Spec(); {
	case !ok:
		t = g.leaf(inputOp, name, Spec{slices.Clone(shape), dtype})
	case !slices.Equal(s.Shape, shape) || s.Element != dtype:
		g.Fail("input %q is %v, and supplied is %v", name, Spec{shape, dtype}, s)
	}
	g.inputs[name] = t
	return t
}

// Supply makes t what Input will declare under name: a run then has no such input, and
// what reads it reads t. Shape and type must be those of the input.
func (g *Graph) Supply(name string, t Tensor) { g.supplied[name] = t }

// Param reads p; Grad can differentiate with respect to it.
func (g *Graph) Param(p *Param) Tensor {
	if p == nil {
		g.Fail("nil parameter")
		return Tensor{}
	}
	g.params[&p.State] = p
	return g.State(&p.State)
}

func (g *Graph) leaf(op *Op, attr any, s Spec) Tensor {
	if slices.ContainsFunc(s.Shape, func(d int) bool { return d <= 0 }) {
		g.Fail("%s %v: empty dimension in %v", op.Name, attr, s)
	}
	if s.Element > I32 {
		g.Fail("%s %v: no such element type as in %v", op.Name, attr, s)
	}
	n := &Node{Op: op, Attr: attr, Out: []Spec{s}, Scope: g.path(), g: g, id: len(g.nodes)}
	g.nodes = append(g.nodes, n)
	return Tensor{n, 0}
}

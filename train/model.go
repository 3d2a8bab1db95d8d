package train

import (
	"context"
	"fmt"
	"iter"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Structure is what training needs of a model to plan it; those of package towers are
// such.
type Structure interface {
	// Record appends both towers to g for pairs of an image and a text. Its outputs have
	// towers.ImageFeatures and towers.TextFeatures, unit vectors [pairs, embed_dim]. It
	// sets g.Training and g.Checkpointing.
	Record(g *graph.Graph, pairs int, l towers.Lengths) towers.Outputs
	// Parameters iterates over the parameters by their names in the state dict, of
	// which logit_scale is one.
	Parameters() iter.Seq2[string, *graph.Param]
	// LayerGroups are the parameters of each tower in groups, from the input to the
	// output, of which layer-wise decay slows down the first the most.
	LayerGroups() (image, text [][]*graph.Param)
}

// Model is a Structure on a device; those of package clip are such.
type Model interface {
	Structure
	// Feed checks what n images consist of, by name, and n texts, rows of token ids of one
	// length, and gives the lengths and the inputs that Record declares, by name.
	Feed(images map[string]clip.Array, texts [][]int32) (map[string]any, towers.Lengths, error)
	// Store holds the parameters on Device. Refresh is called after they have changed.
	Store() *gpu.Store
	Device() *gpu.Device
	Refresh(ctx context.Context) error
	Config() config.Config
}

// Batch is n pairs of an image and a text.
type Batch struct {
	Images clip.Array // [n, 3, height, width]
	Texts  [][]int32  // n rows of token ids of one length
	// Inputs are what images consist of, by name, each [n, ...], for towers that take
	// something else. Then there are no Images.
	Inputs map[string]clip.Array
	// Groups, [n], number what each pair shows. Pairs of one number are no negatives of
	// each other where the loss is Grouped, such as several captions of one image.
	// GroupEqual makes them of equal captions. Other losses want none.
	Groups []int32
}

// slice is what the towers see of pairs lo to hi of a batch that fits the model.
func (b Batch) slice(lo, hi int) Batch {
	part := Batch{Texts: b.Texts[lo:hi], Inputs: map[string]clip.Array{}}
	for name, x := range b.inputs() {
		shape := append([]int{hi - lo}, x.Shape[1:]...)
		item := graph.Shape(shape[1:]).Elems()
		part.Inputs[name] = clip.Array{Shape: shape, Data: x.Data[lo*item : hi*item]}
	}
	return part
}

// inputs are what the images consist of.
func (b Batch) inputs() map[string]clip.Array {
	if b.Inputs != nil {
		return b.Inputs
	}
	return map[string]clip.Array{towers.Image: b.Images}
}

// model is a Structure and its parameters by their part in training.
type model struct {
	structure   Structure
	target      graph.Target
	stored      []*graph.Param // those that an update could change, were nothing frozen: the same for all trainers
	trainable   []*graph.Param
	scale, bias *graph.Param // logit_scale and logit_bias
}

func newModel(s Structure, target graph.Target) (*model, error) {
	x := &model{structure: s, target: target}
	for name, p := range s.Parameters() {
		if !p.Integer && p.Trainable() == nil { // buffers too: freezing makes some of batch norms' parameters
			x.stored = append(x.stored, p)
		}
		if p.RequiresGrad() {
			x.trainable = append(x.trainable, p)
		}
		switch name {
		case "logit_scale":
			x.scale = p
		case "logit_bias":
			x.bias = p
		}
	}
	if x.scale == nil {
		return nil, fmt.Errorf("%w: the model has no logit_scale", clip.ErrInput)
	}
	return x, nil
}

// graph returns one for the model's device.
func (m *model) graph() *graph.Graph {
	g := graph.New()
	g.Target = m.target
	return g
}

// loss appends towers and loss for batch pairs.
func (m *model) loss(g *graph.Graph, l Loss, batch int, lengths towers.Lengths) graph.Tensor {
	return m.lossOf(g, l, m.structure.Record(g, batch, lengths))
}

// lossOf appends the loss of what a model computes.
func (m *model) lossOf(g *graph.Graph, l Loss, outs towers.Outputs) graph.Tensor {
	f := Features{
		Image: outs[towers.ImageFeatures], Text: outs[towers.TextFeatures], Outputs: outs,
		LogitScale: ops.Map(g, g.Reshape(g.Param(m.scale), 1), ops.Exp),
	}
	if m.bias != nil {
		f.LogitBias = g.Reshape(g.Param(m.bias), 1)
	}
	defer g.Scope("loss")()
	return l.Record(g, f)
}

// params are the trainable parameters on g.
func (m *model) params(g *graph.Graph) []graph.Tensor {
	all := make([]graph.Tensor, len(m.trainable))
	for i, p := range m.trainable {
		all[i] = g.Param(p)
	}
	return all
}

// feedOf gives the inputs of a graph with towers and loss.
func feedOf(ctx context.Context, m Model, l Loss, b Batch) (map[string]any, towers.Lengths, error) {
	feed, lengths, err := m.Feed(b.inputs(), b.Texts)
	if err != nil {
		return nil, lengths, err
	}
	inputs, err := l.Inputs(ctx, b)
	if err != nil {
		return nil, lengths, err
	}
	for name, values := range inputs {
		if _, taken := feed[name]; taken {
			return nil, lengths, fmt.Errorf("%w: the loss gives an input %q, which the towers have", clip.ErrInput, name)
		}
		feed[name] = values
	}
	return feed, lengths, nil
}

// session is a program on the device.
type session struct {
	*gpu.Session
	inputs []graph.Binding
}

// load makes a program ready to run.
func load(ctx context.Context, m Model, p *graph.Program) (*session, error) {
	s, err := m.Device().LoadContext(ctx, p, m.Store())
	if err != nil {
		return nil, err
	}
	return &session{s, p.Inputs}, nil
}

// run replays the program on those values of feed that it has inputs for: Build prunes
// the inputs of a tower that the loss does not depend on.
func (s *session) run(ctx context.Context, feed map[string]any, outputs ...[]float32) error {
	return s.runBeforeOthers(ctx, nil, feed, outputs...)
}

// runBeforeOthers is run for what others follow before it has ended: submitted, as
// gpu.IO has it, tells that they may.
func (s *session) runBeforeOthers(ctx context.Context, submitted func(), feed map[string]any, outputs ...[]float32) error {
	io := gpu.IO{Inputs: map[string]any{}, Outputs: outputs, Submitted: submitted}
	for _, in := range s.inputs {
		if v, ok := feed[in.Name]; ok {
			io.Inputs[in.Name] = v
		}
	}
	return s.Run(ctx, io)
}

// close frees what is there.
func (s *session) close() error {
	if s == nil {
		return nil
	}
	return s.Close()
}

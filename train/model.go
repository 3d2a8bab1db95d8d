package train

import (
	"context"
	"fmt"
	"iter"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Structure is what training needs of a model to plan it; those of package towers are
// such.
type Structure interface {
	// Record appends both towers to g for pairs of an image and a text of length
	// tokens, and returns their unit features [pairs, embed_dim]. It sets
	// g.Training and g.Checkpointing.
	Record(g *graph.Graph, pairs, length int) (imageFeatures, textFeatures graph.Tensor)
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
	// Feed checks images [n, 3, height, width] and n texts, rows of token ids of one
	// length, and gives the inputs that Record declares, by name.
	Feed(images clip.Array, texts [][]int32) (map[string]any, error)
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
	// Groups, [n], number what each pair shows. Pairs of one number are no negatives of
	// each other where the loss is Grouped, such as several captions of one image.
	// GroupEqual makes them of equal captions. Other losses want none.
	Groups []int32
}

// slice is pairs lo to hi of a batch that fits the model.
func (b Batch) slice(lo, hi int) Batch {
	shape := append([]int{hi - lo}, b.Images.Shape[1:]...)
	item := graph.Shape(shape[1:]).Elems()
	return Batch{Images: clip.Array{Shape: shape, Data: b.Images.Data[lo*item : hi*item]}, Texts: b.Texts[lo:hi]}
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

// loss appends towers and loss for batch pairs, texts of length tokens.
func (m *model) loss(g *graph.Graph, l Loss, batch, length int) graph.Tensor {
	image, text := m.structure.Record(g, batch, length)
	return m.lossOf(g, l, image, text)
}

// lossOf appends the loss of features.
func (m *model) lossOf(g *graph.Graph, l Loss, image, text graph.Tensor) graph.Tensor {
	f := Features{Image: image, Text: text, LogitScale: ops.Map(g, g.Reshape(g.Param(m.scale), 1), ops.Exp)}
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
func feedOf(ctx context.Context, m Model, l Loss, b Batch) (map[string]any, error) {
	feed, err := m.Feed(b.Images, b.Texts)
	if err != nil {
		return nil, err
	}
	inputs, err := l.Inputs(ctx, b)
	if err != nil {
		return nil, err
	}
	for name, values := range inputs {
		if _, taken := feed[name]; taken {
			return nil, fmt.Errorf("%w: the loss gives an input %q, which the towers have", clip.ErrInput, name)
		}
		feed[name] = values
	}
	return feed, nil
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
	io := gpu.IO{Inputs: map[string]any{}, Outputs: outputs}
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

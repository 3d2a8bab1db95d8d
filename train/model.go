// Package train fine-tunes CLIP models on the device. A Trainer makes one update
// of a model's parameters from a batch of pairs, by a Loss and an Optimizer;
// Gradients gives the gradients alone.
package train

import (
	"context"
	"fmt"
	"iter"
	"maps"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Model is what training needs of a model; those of package clip are such.
type Model interface {
	// Record appends both towers to g for pairs of an image and a text of length
	// tokens, and returns their unit features [pairs, embed_dim].
	Record(g *graph.Graph, pairs, length int) (imageFeatures, textFeatures graph.Tensor)
	// Feed checks images [n, 3, height, width] and n texts, rows of token ids of one
	// length, and gives the inputs that Record declares, by name.
	Feed(images clip.Array, texts [][]int32) (map[string]any, error)
	// Parameters iterates over the parameters by their names in the state dict, of
	// which logit_scale is one.
	Parameters() iter.Seq2[string, *graph.Param]
	// Store holds the parameters on Device. Refresh is called after they have changed.
	Store() *gpu.Store
	Device() *gpu.Device
	Refresh(ctx context.Context) error
	Config() config.Config
}

// Mode is how those layers act that differ in training, as torch's train() and
// eval() tell them: batch norms and dropout.
type Mode uint8

const (
	TrainMode Mode = iota
	EvalMode
)

// model is a Model and its parameters by their part in training.
type model struct {
	Model
	stored      []*graph.Param // those that an update could change, were nothing frozen: the same for all trainers
	trainable   []*graph.Param
	scale, bias *graph.Param // logit_scale and logit_bias
}

func newModel(m Model) (*model, error) {
	x := &model{Model: m}
	for name, p := range m.Parameters() {
		if !p.Integer && p.Trainable() == nil { // buffers too: freezing makes some of batch norms' parameters
			x.stored = append(x.stored, p)
		}
		if !p.Frozen && !p.Buffer {
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

// loss appends towers and loss for batch pairs, texts of length tokens.
func (m *model) loss(g *graph.Graph, l Loss, mode Mode, batch, length int) graph.Tensor {
	g.Training = mode == TrainMode
	var f Features
	f.Image, f.Text = m.Record(g, batch, length)
	f.LogitScale = ops.Map(g, g.Reshape(g.Param(m.scale), 1), ops.Exp)
	if m.bias != nil {
		f.LogitBias = g.Reshape(g.Param(m.bias), 1)
	}
	defer g.Scope("loss")()
	return l.Record(g, f)
}

// feed gives the inputs of a graph with loss.
func (m *model) feed(l Loss, images clip.Array, texts [][]int32) (map[string]any, error) {
	feed, err := m.Feed(images, texts)
	if err != nil {
		return nil, err
	}
	maps.Copy(feed, l.Inputs(len(texts)))
	return feed, nil
}

// session is a program on the device.
type session struct {
	*gpu.Session
	inputs []graph.Binding
}

// load makes a program ready to run.
func (m *model) load(ctx context.Context, p *graph.Program) (*session, error) {
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

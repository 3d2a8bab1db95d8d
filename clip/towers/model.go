package towers

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// Model is the structure of open_clip's CLIP or, with custom_text, CustomTextCLIP or, with
// multimodal_cfg, too, CoCa.
type Model struct {
	Config     config.Config
	Visual     ImageTower
	Text       TextTower
	Decoder    *Decoder     // nil where the model has none
	LogitScale *graph.Param // [] or [1], the logarithm of the scale
	LogitBias  *graph.Param // likewise; nil where the model has none
	Warnings   []string     // what the config says without effect

	// Eval and GradCheckpointing are how Record, which is for training, does it: as
	// torch does after eval(), and with blocks that are computed again for gradients
	// (set_grad_checkpointing of open_clip).
	Eval, GradCheckpointing bool

	imageFamily, textFamily, wholeFamily Family // of the towers, and of what is more than these
}

// clipTree holds CLIP's parameters: the modules of the text tower are its own.
type clipTree struct {
	Text       TextTower    `w:""`
	Visual     ImageTower   `w:"visual"`
	LogitScale *graph.Param `w:"logit_scale"`
	LogitBias  *graph.Param `w:"logit_bias"`
}

// customTextTree holds those of CustomTextCLIP and CoCa.
type customTextTree struct {
	Visual     ImageTower   `w:"visual"`
	Text       TextTower    `w:"text"`
	Decoder    *Decoder     `w:"text_decoder"`
	LogitScale *graph.Param `w:"logit_scale"`
	LogitBias  *graph.Param `w:"logit_bias"`
}

// Build makes the structure of the model that c describes, with open_clip's
// initialisation as the sources of its parameters, and their names. Its errors are
// those of Check.
func Build(c config.Config) (*Model, error) {
	image, text, whole, err := choose(&c)
	if err != nil {
		return nil, err
	}
	c.CustomText = c.CustomText || text.CustomText
	m := &Model{Config: c, Visual: image.Image(&c), Text: text.Text(&c), imageFamily: image, textFamily: text, wholeFamily: whole}
	if whole.Decoder != nil {
		m.Decoder = whole.Decoder(&c)
	}
	if m.Warnings, err = c.TextCfg.CheckTokenizer(); err != nil {
		return nil, err
	}
	if text.Ignored != nil {
		m.Warnings = append(m.Warnings, text.Ignored(&c)...)
	}
	shape := []int{}
	if c.NonscalarLogitScale {
		shape = []int{1}
	}
	scale := math.Log(1 / 0.07)
	if c.InitLogitScale != nil {
		scale = *c.InitLogitScale
	}
	m.LogitScale = layers.NewParam(layers.Constant(scale), shape...)
	if c.InitLogitBias != nil {
		m.LogitBias = layers.NewParam(layers.Constant(*c.InitLogitBias), shape...)
	}
	for name, p := range m.Parameters() {
		p.Name = name
	}
	noDecay(m.Visual, image)
	noDecay(m.Text, text)
	return m, nil
}

// noDecay marks the parameters of a tower that its family keeps from decaying.
func noDecay(tower Tower, f Family) {
	weights.Walk(tower, func(name string, p *graph.Param) {
		p.NoDecay = p.NoDecay || slices.Contains(f.NoDecay, name)
	})
}

// Parameters iterates over the parameters and buffers by state-dict name, in the order
// of torch's state_dict.
func (m *Model) Parameters() iter.Seq2[string, *graph.Param] {
	var names []string
	params := map[string]*graph.Param{}
	weights.Walk(m.Tree(), func(name string, p *graph.Param) {
		names, params[name] = append(names, name), p
	})
	slices.SortStableFunc(names, func(a, b string) int { return m.rank(a) - m.rank(b) })
	return func(yield func(string, *graph.Param) bool) {
		for _, name := range names {
			if !yield(name, params[name]) {
				return
			}
		}
	}
}

// NamedParameters is Parameters without buffers.
func (m *Model) NamedParameters() iter.Seq2[string, *graph.Param] {
	return func(yield func(string, *graph.Param) bool) {
		for name, p := range m.Parameters() {
			if !p.Buffer && !yield(name, p) {
				return
			}
		}
	}
}

// rank orders what the model itself holds: its parameters, then its modules as torch's
// have been made.
func (m *Model) rank(name string) int {
	module, _, within := strings.Cut(name, ".")
	if !within {
		return 0
	}
	modules := []string{"visual", "transformer", "token_embedding", "ln_final", "text"}
	if m.Decoder != nil {
		modules = []string{"text", "visual", DecoderScope}
	}
	return 1 + max(0, slices.Index(modules, module))
}

// Keys are those of vision_cfg, text_cfg and multimodal_cfg that a saved config always has.
func (m *Model) Keys() (vision, text, multimodal []string) {
	return m.imageFamily.Keys, m.textFamily.Keys, m.wholeFamily.Keys
}

// Tree is the root of the structs that hold the parameters, as weights.Walk and
// weights.Find take it: to give a weight an adapter, for one.
func (m *Model) Tree() any {
	if m.Config.CustomText {
		return &customTextTree{m.Visual, m.Text, m.Decoder, m.LogitScale, m.LogitBias}
	}
	return &clipTree{m.Text, m.Visual, m.LogitScale, m.LogitBias}
}

// Format is the format of weights that are stored as f32, f16, bf16 or q8
// (open_clip's cast_dtype).
func Format(castDType string) (packing.Format, error) {
	for _, f := range []packing.Format{packing.F32, packing.F16, packing.BF16, packing.Q8} {
		if castDType == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%w: weights as %q, want f32, f16, bf16 or q8", check.ErrInput, castDType)
}

// Cast chooses how the weights of the linear maps are stored.
func (m *Model) Cast(castDType string) error {
	format, err := Format(castDType)
	if err != nil {
		return err
	}
	for _, p := range m.LinearWeights() {
		p.Format = format
	}
	return nil
}

// LinearWeights are the parameters that Cast stores as it is told.
func (m *Model) LinearWeights() (all []*graph.Param) {
	weights.Find(m.Tree(), func(_ string, w *layers.Weight) {
		if w.Packed() {
			all = append(all, w.Param)
		}
	})
	return all
}

// FreezeBatchNorm makes every batch norm one that training leaves alone
// (freeze_batch_norm_2d of open_clip's utils.py).
func (m *Model) FreezeBatchNorm() {
	weights.Find(m.Tree(), func(_ string, b *layers.BatchNorm2D) { b.Freeze() })
}

// ChannelsLast tells that modules of the image tower give feature maps [n, height, width,
// channels] in open_clip, and not [n, channels, height, width].
func (m *Model) ChannelsLast() bool { return m.imageFamily.ChannelsLast }

// ImageScope is the prefix of the image tower's names.
func (m *Model) ImageScope() string { return "visual" }

// TextScope is the prefix of the text tower's names.
func (m *Model) TextScope() string {
	if m.Config.CustomText {
		return "text"
	}
	return ""
}

// RecordImages records the image tower for batch items.
func (m *Model) RecordImages(g *graph.Graph, batch, length int) Outputs {
	defer g.Scope(m.ImageScope())()
	return m.Visual.Record(g, batch, length, m.Visual.Depth()).Outputs()
}

// RecordTexts records the text tower for batch rows of length tokens.
func (m *Model) RecordTexts(g *graph.Graph, batch, length int) Outputs {
	defer g.Scope(m.TextScope())()
	return m.Text.Record(g, batch, length, m.Text.Depth()).Outputs()
}

// Record records both towers, to be trained, for batch pairs of an image and a text. The
// outputs are ImageFeatures and TextFeatures, unit vectors [batch, embed_dim], and the
// towers' others, such as "image_tokens", and, of a model with a decoder, Logits.
func (m *Model) Record(g *graph.Graph, batch int, l Lengths) Outputs {
	g.Training, g.Checkpointing = !m.Eval, m.GradCheckpointing
	return m.RecordPairs(g, batch, l)
}

// RecordPairs is Record for a model that encodes.
func (m *Model) RecordPairs(g *graph.Graph, batch int, l Lengths) Outputs {
	outs := Outputs{}
	for tower, of := range map[string]Outputs{"image_": m.RecordImages(g, batch, l.Image), "text_": m.RecordTexts(g, batch, l.Text)} {
		for name, x := range of {
			outs[tower+name] = x
		}
	}
	outs[ImageFeatures], outs[TextFeatures] = Unit(g, outs[ImageFeatures]), Unit(g, outs[TextFeatures])
	if m.Decoder != nil {
		m.decode(g, outs)
	}
	return outs
}

// Lengths are those that most images and texts have.
func (m *Model) Lengths() Lengths {
	return Lengths{Image: m.Visual.Example(1).Length, Text: m.Config.TextCfg.ContextLength}
}

// Texts checks rows of token ids. CLIP wants them as long as its context,
// CustomTextCLIP takes shorter ones.
func (m *Model) Texts(rows [][]int32) (Batch, error) {
	return m.Text.Texts(rows, !m.Config.CustomText)
}

// Bind makes the tensors of a checkpoint, which came with config stored in a layout,
// the sources of the parameters, and returns them as they were bound. Where they do not
// fit and other families have that layout, the error says so.
func (m *Model) Bind(src weights.StateDict, stored *config.Config, layout *weights.Layout) (weights.StateDict, error) {
	adapted, err := m.adapt(src, stored)
	if err != nil {
		return nil, err
	}
	err = weights.Bind(m.Tree(), adapted).Err()
	if err != nil && layout != weights.OpenCLIP && !slices.Contains(m.imageFamily.Layouts, layout) {
		err = fmt.Errorf("%w; the weights have the names of %s, the config describes a model of the family %s", err, layout.Name, m.imageFamily.Name)
	}
	return adapted, err
}

// textNames start the names of a text tower in the state dict of CLIP.
var textNames = []string{"text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final"}

// adapt does what open_clip does to a state dict before it loads it (load_checkpoint
// of factory.py): CLIP's text names are moved under text. for CustomTextCLIP, a
// scalar stands for a one-element vector and the other way round, a missing
// logit bias is zero, and position embeddings are resized.
func (m *Model) adapt(src weights.StateDict, stored *config.Config) (weights.Map, error) {
	dict := weights.Map{}
	_, clipNames := src.Tensor("positional_embedding")
	for _, name := range src.Names() {
		t, _ := src.Tensor(name)
		isText := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if m.Config.CustomText && clipNames && slices.ContainsFunc(textNames, isText) {
			name = "text." + name
		}
		t.Name = name
		if name == "logit_scale" || name == "logit_bias" {
			if t.Len() == 1 && len(t.Shape) <= 1 {
				t.Shape = m.LogitScale.Shape
			}
		}
		dict[name] = t
	}
	if _, ok := dict["logit_bias"]; !ok && m.LogitBias != nil {
		zero, err := weights.FromF32("logit_bias", m.LogitBias.Shape, []float32{0})
		if err != nil {
			return nil, err
		}
		dict["logit_bias"] = zero
	}
	if err := m.Visual.Adapt(dict, stored); err != nil {
		return nil, err
	}
	return dict, m.Text.Adapt(dict, stored)
}

// resize replaces a position embedding of another length; other mismatches are
// left for Bind to report.
func resize(m weights.Map, name string, f func(old []float32, width int) []float32, want []int) error {
	t, ok := m[name]
	if !ok || len(t.Shape) != 2 || t.Shape[1] != want[1] || t.Shape[0] == want[0] || t.Shape[0] < 2 || !t.DType.IsFloat() {
		return nil
	}
	old := make([]float32, t.Len())
	if err := t.ReadF32(old, 0); err != nil {
		return err
	}
	data := f(old, want[1])
	if data == nil {
		return nil
	}
	var err error
	m[name], err = weights.FromF32(name, want, data)
	return err
}

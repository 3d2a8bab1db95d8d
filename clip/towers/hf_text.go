package towers

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/transformers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// hfModel is what open_clip asks of the configuration of a text encoder of
// transformers, and how to make the encoder.
type hfModel struct {
	width, layers, vocabulary int
	padding                   int      // the id that is no token
	pooler                    string   // where hf_pooler_type is null (arch_dict of hf_configs.py)
	unknown                   []string // keys of hf_model_config that change nothing
	// encoder makes the encoder, with transformers' own pooling layer where it has
	// one and pooling asks for it.
	encoder func(pooling bool) hfEncoder
}

// hfEncoder is a text encoder of transformers. Its parameters are those of
// HFTextEncoder's module transformer.
type hfEncoder interface {
	// check refuses ids that the encoder cannot take. They are within the vocabulary.
	check(row []int32) error
	// feed adds the encoder's own inputs for rows of one length.
	feed(rows [][]int32, inputs map[string]any)
	// record declares these and runs the first depth blocks: the last hidden state
	// [batch, length, width]. mask hides padding.
	record(g *graph.Graph, ids graph.Tensor, mask layers.Mask, depth int) graph.Tensor
	// pool is the output [batch, width] of its own pooling layer; absent without one.
	pool(g *graph.Graph, hidden graph.Tensor) graph.Tensor
}

// endless is what encoders have in common that take texts of any length and have no
// pooling layer.
type endless struct{}

func (endless) check([]int32) error                          { return nil }
func (endless) pool(*graph.Graph, graph.Tensor) graph.Tensor { return graph.Tensor{} }

// hfFamily completes the family of HFTextEncoder over the encoders whose model_type
// is one of types. read reads their configuration.
func hfFamily(f Family, read func(*config.TextConfig) (hfModel, error), types ...string) Family {
	f.Part, f.CustomText, f.Keys, f.Models = Text, true, []string{"context_length"}, transformers.Names(types...)
	f.Matches = func(c *config.Config) bool {
		m, ok := transformers.Find(hfModelName(c))
		return ok && slices.Contains(types, m.Type)
	}
	f.Check = func(c *config.Config) error {
		m, err := read(&c.TextCfg)
		return check.First(err, checkHFText(c, &m))
	}
	f.Text = func(c *config.Config) TextTower {
		m, _ := read(&c.TextCfg)
		return newHFTextEncoder(c, m)
	}
	f.Tokens = func(c *config.Config) int {
		m, _ := read(&c.TextCfg)
		return m.width
	}
	f.Vocabulary = func(c *config.Config) int {
		m, _ := read(&c.TextCfg) // 0 with an error
		return m.vocabulary
	}
	f.Ignored = func(c *config.Config) []string {
		m, _ := read(&c.TextCfg)
		return check.Ignored(hfModelConfig, m.unknown)
	}
	return f
}

const hfModelConfig = "text_cfg.hf_model_config"

// hfKey is how errors name a key of hf_model_config.
func hfKey(name string) string { return hfModelConfig + "." + name }

// readHF decodes the configuration of the named model and hf_model_config over it.
// As open_clip sets any key, it returns those that dst does not have. aliases are other
// names of keys (attribute_map in transformers).
func readHF(t *config.TextConfig, dst any, aliases map[string]string) (unknown []string, err error) {
	m, _ := transformers.Find(config.Value(t.HFModelName))
	if _, err := strictjson.Known(m.Config, dst); err != nil {
		return nil, err
	}
	if len(t.HFModelConfig) == 0 || string(t.HFModelConfig) == "null" {
		return nil, nil
	}
	given, err := rename(t.HFModelConfig, aliases)
	if err != nil {
		return nil, err
	}
	unknown, err = strictjson.Known(given, dst)
	if err != nil {
		err = fmt.Errorf("%w: %w", config.ErrConfig, strictjson.At(hfModelConfig, t.HFModelConfig, err))
	}
	return unknown, err
}

// rename gives the keys of a JSON object their usual names.
func rename(object json.RawMessage, aliases map[string]string) (json.RawMessage, error) {
	var values map[string]json.RawMessage
	if json.Unmarshal(object, &values) != nil {
		return object, nil // which strictjson explains
	}
	for alias, name := range aliases {
		value, ok := values[alias]
		if !ok {
			continue
		}
		if _, both := values[name]; both {
			return nil, fmt.Errorf("%w: %s is another name of %s: want one of them", config.ErrConfig, hfKey(alias), hfKey(name))
		}
		delete(values, alias)
		values[name] = value
	}
	return json.Marshal(values)
}

// hfNumber wants a number that is not negative.
func hfNumber(name string, v float64) error {
	if !(v >= 0 && v < math.Inf(1)) {
		return fmt.Errorf("%w: %s is %v, want 0 or more", config.ErrConfig, hfKey(name), v)
	}
	return nil
}

// encoderConfig is the configuration of an encoder.
type encoderConfig interface {
	check() error
	model() hfModel // of a configuration that check has passed
}

// readEncoder reads c as readHF does, and what it describes. With an error that is empty.
func readEncoder(t *config.TextConfig, c encoderConfig, aliases map[string]string) (hfModel, error) {
	unknown, err := readHF(t, c, aliases)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return hfModel{}, err
	}
	m := c.model()
	m.unknown = unknown
	return m, nil
}

// hfActivations are those of transformers' activations.py that ops has.
var hfActivations = map[string]ops.Function{
	"gelu": ops.GELU, "gelu_python": ops.GELU, "gelu_new": ops.GELUTanh, "gelu_fast": ops.GELUTanh,
	"gelu_accurate": ops.GELUTanh, "gelu_pytorch_tanh": ops.GELUTanh, "gelu_python_tanh": ops.GELUTanh,
	"quick_gelu": ops.QuickGELU, "relu": ops.ReLU, "silu": ops.SiLU, "swish": ops.SiLU, "sigmoid": ops.Sigmoid, "tanh": ops.Tanh,
}

// hfActivation finds the function that key names.
func hfActivation(key, name string) (ops.Function, error) {
	f, ok := hfActivations[name]
	if !ok {
		return f, fmt.Errorf("%s.%s %q is %w; supported are %s", hfModelConfig, key, name, config.ErrUnsupported,
			strings.Join(slices.Sorted(maps.Keys(hfActivations)), ", "))
	}
	return f, nil
}

// hfTextEncoder is open_clip's HFTextEncoder, a text tower over an encoder of transformers
// (hf_model.py): a pooler makes one vector of the encoder's tokens, and a projection
// features of that.
type hfTextEncoder struct {
	Transformer hfEncoder      `w:"transformer"`
	Proj        *layers.Linear `w:"proj"`   // hf_proj_type linear
	Proj0       *layers.Linear `w:"proj.0"` // mlp and clap_mlp
	Proj2       *layers.Linear `w:"proj.2"`

	model        hfModel
	pooler       string
	activation   ops.Function // between Proj0 and Proj2
	outputTokens bool
}

func checkHFText(c *config.Config, m *hfModel) error {
	t := &c.TextCfg
	var err error
	switch {
	case t.TextArch == "modern":
		return fmt.Errorf("%w: text_cfg.text_arch modern excludes hf_model_name", config.ErrConfig)
	case t.HFProjType == nil && m.width != c.EmbedDim:
		return fmt.Errorf("%w: text_cfg.hf_proj_type null wants embed_dim (%d) equal to the width of %s (%d)", config.ErrConfig, c.EmbedDim, *t.HFModelName, m.width)
	case t.HFProjType != nil:
		err = check.OneOf("text_cfg.hf_proj_type", *t.HFProjType, "linear", "mlp", "clap_mlp")
	}
	if t.HFPoolerType != nil {
		err = check.First(err, check.OneOf("text_cfg.hf_pooler_type", *t.HFPoolerType,
			"mean_pooler", "max_pooler", "cls_pooler", "cls_last_hidden_state_pooler"))
	}
	return err
}

func newHFTextEncoder(c *config.Config, m hfModel) *hfTextEncoder {
	t := &c.TextCfg
	// Without a name of a pooler open_clip makes no pooling layer, even where its
	// default is cls_pooler.
	x := &hfTextEncoder{
		Transformer: m.encoder(config.Value(t.HFPoolerType) == "cls_pooler"),
		model:       m, pooler: m.pooler, outputTokens: t.OutputTokens,
	}
	if t.HFPoolerType != nil {
		x.pooler = *t.HFPoolerType
	}
	switch config.Value(t.HFProjType) {
	case "linear":
		x.Proj = layers.NewLinear(m.width, c.EmbedDim, false)
	case "mlp":
		hidden := (m.width + c.EmbedDim) / 2
		x.Proj0, x.Proj2 = layers.NewLinear(m.width, hidden, false), layers.NewLinear(hidden, c.EmbedDim, false)
		x.activation = ops.GELU
	case "clap_mlp":
		x.Proj0, x.Proj2 = layers.NewLinear(m.width, c.EmbedDim, true), layers.NewLinear(c.EmbedDim, c.EmbedDim, true)
		x.activation = ops.ReLU
	}
	return x
}

// Depth implements Tower.
func (t *hfTextEncoder) Depth() int { return t.model.layers }

// BlockOptions implements Tower: open_clip's class has no forward_intermediates.
func (t *hfTextEncoder) BlockOptions(o BlockOptions) (BlockOptions, error) {
	return o, fmt.Errorf("%w: Hugging Face text towers have no intermediates", check.ErrInput)
}

// Record implements Tower.
func (t *hfTextEncoder) Record(g *graph.Graph, batch, length, depth int) Recorded {
	in := t.declare(g, batch, length)
	end := g.Scope("transformer")
	hidden := t.Transformer.record(g, in.ids, layers.Mask{Additive: in.mask}, depth)
	own := t.Transformer.pool(g, hidden)
	end()
	return Recorded{Outputs: func() Outputs {
		x := g.Module("pooler", func() graph.Tensor { return t.pool(g, in, hidden, own) })
		outs := Outputs{Features: g.Module("proj", func() graph.Tensor { return t.project(g, x) })}
		if t.outputTokens {
			outs["tokens"] = t.tokens(g, hidden)
		}
		return outs
	}}
}

// hfInputs are the graph inputs of the tower, beside those of its encoder.
type hfInputs struct {
	ids    graph.Tensor // i32 [batch, length]
	mask   graph.Tensor // f32 [batch, 1, length]: the least number where there is padding, else 0
	shares graph.Tensor // f32 [batch, 1, length]: of each token in the mean; with mean_pooler
}

// declare declares the inputs of the tower, whose values feed supplies at every run.
func (t *hfTextEncoder) declare(g *graph.Graph, batch, length int) hfInputs {
	in := hfInputs{
		ids:  g.Input("text", graph.Shape{batch, length}, graph.I32),
		mask: g.Input("mask", graph.Shape{batch, 1, length}, graph.F32),
	}
	if t.pooler == "mean_pooler" {
		in.shares = g.Input("shares", graph.Shape{batch, 1, length}, graph.F32)
	}
	return in
}

// feed gives the values of the inputs for rows of equal length.
func (t *hfTextEncoder) feed(rows [][]int32) map[string]any {
	var mask, shares []float32
	for _, row := range rows {
		share := 1 / float32(t.tokensOf(row))
		for _, id := range row {
			if int(id) == t.model.padding {
				mask, shares = append(mask, -math.MaxFloat32), append(shares, 0)
			} else {
				mask, shares = append(mask, 0), append(shares, share)
			}
		}
	}
	inputs := map[string]any{"text": slices.Concat(rows...), "mask": mask}
	if t.pooler == "mean_pooler" {
		inputs["shares"] = shares
	}
	t.Transformer.feed(rows, inputs)
	return inputs
}

// pool makes [batch, width] of the hidden states and of what the encoder pools itself.
func (t *hfTextEncoder) pool(g *graph.Graph, in hfInputs, hidden, own graph.Tensor) graph.Tensor {
	switch width := hidden.Dim(2); t.pooler {
	case "mean_pooler":
		return g.Reshape(ops.MatMul(g, in.shares, hidden, false, false), hidden.Dim(0), width)
	case "max_pooler":
		return ops.MaxAxis(g, ops.AddBroadcast(g, hidden, in.mask, width), 1)
	case "cls_pooler":
		if own.Valid() {
			return own
		}
	}
	return firstToken(g, hidden)
}

// firstToken maps [batch, length, width] to [batch, width].
func firstToken(g *graph.Graph, x graph.Tensor) graph.Tensor {
	if length := x.Dim(1); length > 1 {
		x = ops.Split(g, x, 1, 1, length-1)[0]
	}
	return g.Reshape(x, x.Dim(0), x.Dim(2))
}

func (t *hfTextEncoder) project(g *graph.Graph, x graph.Tensor) graph.Tensor {
	switch {
	case t.Proj != nil:
		return t.Proj.Forward(g, x)
	case t.Proj0 != nil:
		h := g.Module("0", func() graph.Tensor { return t.Proj0.Forward(g, x) })
		h = g.Module("1", func() graph.Tensor { return ops.Map(g, h, t.activation) })
		return g.Module("2", func() graph.Tensor { return t.Proj2.Forward(g, h) })
	}
	return x
}

// tokens are the hidden states, but for the one that cls_pooler takes.
func (t *hfTextEncoder) tokens(g *graph.Graph, hidden graph.Tensor) graph.Tensor {
	if length := hidden.Dim(1); t.pooler == "cls_pooler" && length > 1 {
		return ops.Split(g, hidden, 1, 1, length-1)[1]
	}
	return hidden
}

// Texts implements TextTower. Rows may have any length that the encoder takes, as
// in CustomTextCLIP. Some poolers want a token that is not padding.
func (t *hfTextEncoder) Texts(rows [][]int32, _ bool) (Batch, error) {
	if err := checkRows(rows, check.MaxSide, t.model.vocabulary, false); err != nil || len(rows) == 0 {
		return Batch{Length: 1}, err
	}
	for i, row := range rows {
		err := t.Transformer.check(row)
		if t.tokensOf(row) == 0 && (t.pooler == "mean_pooler" || t.pooler == "max_pooler") {
			err = fmt.Errorf("nothing but padding (token id %d), of which %s makes nothing", t.model.padding, t.pooler)
		}
		if err != nil {
			return Batch{}, fmt.Errorf("%w: text %d: %w", check.ErrInput, i, err)
		}
	}
	return Batch{
		Items: len(rows), Length: len(rows[0]),
		Feed: func(lo, hi int) map[string]any { return t.feed(rows[lo:hi]) },
	}, nil
}

// tokensOf counts those of a row that are no padding.
func (t *hfTextEncoder) tokensOf(row []int32) (n int) {
	for _, id := range row {
		if int(id) != t.model.padding {
			n++
		}
	}
	return n
}

// Adapt drops the positions' numbers, which older versions of transformers stored.
func (t *hfTextEncoder) Adapt(m weights.Map, _ *config.Config) error {
	delete(m, "text.transformer.embeddings.position_ids")
	return nil
}

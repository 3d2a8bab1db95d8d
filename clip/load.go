package clip

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

//go:embed emoji-clip/open_clip_config.json emoji-clip/open_clip_model.safetensors
//go:embed emoji-clip/vocab.json emoji-clip/merges.txt
var embedded embed.FS

// Embedded is the source, and the name, of the model within the package: it
// knows emoji and icon drawings by their English names and has never seen a
// photograph.
const Embedded = "emoji-clip"

// Load opens a model. The source is one of
//
//   - "" or Embedded, the embedded model;
//   - a folder in open_clip's layout (open_clip_config.json, weights and the
//     files of its tokenizer where that is not CLIP's own), also as local-dir:PATH;
//   - a folder of Hugging Face's CLIPModel or SiglipModel (config.json, weights
//     and preprocessor_config.json);
//   - a file of weights, of any kind that weights.Open takes, with a config beside
//     it, in WithConfig or WithConfigFrom; OpenAI's archives need none;
//   - hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION, on the Hugging Face hub. The
//     prefix may be missing where there is no folder ORG. The address of the
//     model's page, or of a file of weights there, means the same;
//   - NAME:TAG, open_clip's name of a model and of its published weights.
//
// The last two are downloaded into the hub's cache, where they are not yet;
// package hub tells how. Weights that do not fit the config are an error that
// names the tensors; NaN and infinities among them are a warning, and so is what
// was assumed because nothing beside the weights says it, such as the
// preprocessing.
func Load(ctx context.Context, source string, opts ...Option) (Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o := newOptions(opts)
	from, err := o.find(ctx, source)
	if err != nil {
		return nil, err
	}
	c, err := openCheckpoint(from.path, o)
	if err != nil {
		return nil, err
	}
	var m Model
	if err = c.comesFrom(from); err == nil {
		m, err = c.load(ctx, opts)
	}
	if err != nil {
		return nil, errors.Join(err, c.file.Close())
	}
	return m, nil
}

// checkpoint is a model at rest.
type checkpoint struct {
	name      string
	dir       fs.FS
	config    Config
	transform *preprocess.Transform
	file      *weights.File
	src       weights.Source // file's tensors under open_clip's names
	layout    weights.Layout // that they were in
	warnings  []string
	assumed   string // of the preprocessing
}

func openCheckpoint(source string, o *options) (*checkpoint, error) {
	c := &checkpoint{name: source}
	err := c.locate(source)
	if err != nil {
		return nil, err
	}
	if c.src, c.layout, err = weights.Canonical(c.file); err == nil {
		err = c.readConfig(o)
	}
	if err == nil {
		return c, nil
	}
	return nil, errors.Join(err, c.file.Close())
}

// locate opens the weights and finds the folder of the files beside them.
func (c *checkpoint) locate(source string) (err error) {
	if source == "" || source == Embedded {
		c.name = Embedded
		if c.dir, err = fs.Sub(embedded, Embedded); err != nil {
			return err
		}
		data, err := fs.ReadFile(c.dir, "open_clip_model.safetensors")
		if err != nil {
			return err
		}
		c.file, err = weights.Parse(Embedded, data)
		return err
	}
	if c.file, err = weights.Open(source); err != nil {
		return err
	}
	folder := source
	if info, err := os.Stat(source); err == nil && !info.IsDir() {
		folder = filepath.Dir(source)
	}
	c.dir = os.DirFS(folder)
	return nil
}

func (c *checkpoint) folder() string {
	if info, err := os.Stat(c.name); err == nil && !info.IsDir() {
		return filepath.Dir(c.name)
	}
	return c.name
}

func (c *checkpoint) load(ctx context.Context, opts []Option) (Model, error) {
	m, e, err := build(c.config)
	if err != nil {
		return nil, err
	}
	src, err := adapt(e, c.src)
	if err == nil {
		err = weights.Bind(m, src).Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.file.Path(), err)
	}
	if e.tokens, err = c.tokenizer(); err != nil {
		return nil, err
	}
	o := newOptions(opts)
	if err := e.cast(o.castDType); err != nil {
		return nil, err
	}
	if err := e.inspect(ctx, src); err != nil {
		return nil, err
	}
	if e.warnings = append(e.warnings, c.warnings...); c.assumed != "" {
		e.warnings = append(e.warnings, c.assumed)
	}
	e.name, e.source, e.transform = c.name, c.file, c.transform
	if err := e.open(o); err != nil {
		return nil, err
	}
	return m, nil
}

// tokenizer is the one beside the weights, or nil.
func (c *checkpoint) tokenizer() (*tokenizer.Tokenizer, error) {
	text := &c.config.TextCfg
	var t *tokenizer.Tokenizer
	var err error
	switch name := text.tokenizerName(); {
	case name == "":
		t, err = tokenizer.Load(c.dir)
	case text.TokenizerType == tiktokenType:
		var o tokenizer.Tiktoken
		if o, _, err = text.tiktoken(); err == nil {
			t, err = tokenizer.LoadTiktoken(c.dir, o)
		}
	case text.TokenizerType != "":
		return nil, nil
	default:
		var o tokenizer.HuggingFace
		if o, _, err = text.huggingFace(); err != nil {
			break
		}
		if t, err = tokenizer.LoadHuggingFace(c.dir, o); errors.Is(err, fs.ErrNotExist) && fs.ValidPath(name) {
			t, err = loadHuggingFaceIn(c.dir, name, o)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && text.HFModelName == nil { // else the tower's own config has the vocab_size
		err = t.Fits(text.VocabSize)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.folder(), err)
	}
	return t, nil
}

// loadHuggingFaceIn loads a tokenizer from a folder in dir.
func loadHuggingFaceIn(dir fs.FS, folder string, o tokenizer.HuggingFace) (*tokenizer.Tokenizer, error) {
	dir, err := fs.Sub(dir, folder)
	if err != nil {
		return nil, err
	}
	return tokenizer.LoadHuggingFace(dir, o)
}

// textNames start the names of a text tower in the state dict of CLIP.
var textNames = []string{"text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final"}

// adapt does what open_clip does to a state dict before it loads it (load_checkpoint
// of factory.py): CLIP's text names are moved under text. for CustomTextCLIP, a
// scalar stands for a one-element vector and the other way round, a missing
// logit bias is zero, and position embeddings are resized.
func adapt(e *engine, src weights.Source) (weights.Source, error) {
	m := weights.Map{}
	_, clipNames := src.Tensor("positional_embedding")
	for _, name := range src.Names() {
		t, _ := src.Tensor(name)
		isText := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if e.cfg.CustomText && clipNames && slices.ContainsFunc(textNames, isText) {
			name = "text." + name
		}
		t.Name = name
		if name == "logit_scale" || name == "logit_bias" {
			if t.Len() == 1 && len(t.Shape) <= 1 {
				t.Shape = e.LogitScaleParam.Shape
			}
		}
		m[name] = t
	}
	if _, ok := m["logit_bias"]; !ok && e.LogitBiasParam != nil {
		zero, err := weights.FromF32("logit_bias", e.LogitBiasParam.Shape, []float32{0})
		if err != nil {
			return nil, err
		}
		m["logit_bias"] = zero
	}
	if err := e.visual.adapt(m); err != nil {
		return nil, err
	}
	return m, resize(m, e.text.PositionalEmbedding.Name, func(old []float32, width int) []float32 {
		return ResizeTextPosEmbed(old, width, e.text.PositionalEmbedding.Shape[0])
	}, e.text.PositionalEmbedding.Shape)
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

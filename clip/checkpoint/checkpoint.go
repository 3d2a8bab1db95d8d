// Package checkpoint opens models at rest: it finds the weights, the configuration,
// the tokenizer and the preprocessing of a source, in a folder, a file or on the
// Hugging Face hub, and writes them in open_clip's layout. It needs no device.
package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	emojiclip "github.com/clip-wgpu/clip-wgpu/clip/emoji-clip"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/finite"
	"github.com/clip-wgpu/clip-wgpu/clip/lora"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// Embedded is the source, and the name, of the model within the program: it
// knows emoji and icon drawings by their English names and has never seen a
// photograph.
const Embedded = "emoji-clip"

// Options change what Open finds. The zero value changes nothing.
type Options struct {
	// Config is the model configuration that a lone file of weights lacks.
	Config *config.Config
	// ConfigFrom gives it by name: a file that config.Parse takes, whose
	// preprocess_cfg counts too, or open_clip's name of a model. It replaces Config
	// and what lies beside the weights.
	ConfigFrom string
	// ImageSize changes the image size (open_clip's force_image_size), and the
	// position embedding with it. Zero: the config's.
	ImageSize config.Size
	// ContextLength changes the text length (open_clip's force_context_length). 0: the config's.
	ContextLength int
	// RandomSeed has Open give the model random weights, by open_clip's initialisation, in
	// place of its own. nil: its own.
	RandomSeed *uint64
	// Adapter is a folder with a LoRA of the model, as Hugging Face's PEFT saves it.
	Adapter string
	// Language is what texts are in to a tokenizer that has languages: a code of NLLB's,
	// such as fra_Latn. Empty: what open_clip has, whose default is eng_Latn.
	Language string
	// Progress is told, while a file of a model is downloaded, how many of its
	// bytes are there. It should return soon.
	Progress func(file string, done, total int64)
}

// Resize applies the sizes that replace the config's.
func (o *Options) Resize(c *config.Config) {
	if o.ImageSize != (config.Size{}) {
		towers.Resize(c, o.ImageSize)
	}
	if o.ContextLength != 0 {
		c.TextCfg.ContextLength = o.ContextLength
	}
}

// Checkpoint is a model at rest.
type Checkpoint struct {
	Name      string                // which model it is: Embedded or the source
	Model     *towers.Model         // the tensors are the sources of its parameters
	Transform *preprocess.Transform // from pictures to the image tower's input
	Tokenizer *tokenizer.Tokenizer  // nil where the config names one that is not supported
	Adapter   *lora.Adapter         // of the model; nil where it has none
	// Warnings list what is odd about the weights, such as NaN, and what was
	// assumed because nothing beside them says it, such as the preprocessing.
	Warnings []string
	// NotFinite are the tensors with NaN or infinities, once Inspect has read them.
	NotFinite finite.Exceptions

	file   *weights.File     // nil with random weights
	src    weights.StateDict // the tensors as they are bound
	dir    fs.FS             // of the files of the tokenizer; nil where there are none
	folder string            // dir as errors name it
}

// Open opens the model at a source:
//
//   - "" or Embedded, the embedded model;
//   - a folder in open_clip's layout (open_clip_config.json, weights and the
//     files of its tokenizer where that is not CLIP's own), also as local-dir:PATH;
//   - a folder of Hugging Face's CLIPModel or SiglipModel (config.json, weights
//     and preprocessor_config.json);
//   - a file of weights, of any kind that weights.Open takes, with a config beside
//     it or in Options; OpenAI's archives need none;
//   - hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION, on the Hugging Face hub. The
//     prefix may be missing where there is no folder ORG. The address of the
//     model's page, or of a file of weights there, means the same;
//   - NAME:TAG, open_clip's name of a model and of its published weights.
//
// The last two are downloaded into the hub's cache, where they are not yet;
// package hub tells how. Weights that do not fit the config are an error that
// names the tensors. The caller closes the checkpoint.
func Open(ctx context.Context, source string, o Options) (*Checkpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from, err := o.find(ctx, source)
	if err != nil {
		return nil, err
	}
	f, err := openFiles(from.path, &o)
	if err != nil {
		return nil, err
	}
	if from.here {
		o.cachedTokenizer(ctx, f)
	}
	c, err := f.checkpoint(from, o.RandomSeed)
	if err == nil {
		err = c.adapt(o.Adapter)
	}
	if err == nil {
		c.Tokenizer, err = o.inLanguage(c.Tokenizer, &c.Model.Config.TextCfg)
	}
	if err != nil {
		return nil, errors.Join(err, f.file.Close())
	}
	return c, nil
}

// adapt gives the model the adapters in a folder, if there is one.
func (c *Checkpoint) adapt(folder string) (err error) {
	if folder != "" {
		c.Adapter, err = lora.Load(c.Model.Tree(), folder)
	}
	return err
}

// inLanguage is a tokenizer, which may be nil, of texts in Language.
func (o *Options) inLanguage(t *tokenizer.Tokenizer, text *config.TextConfig) (*tokenizer.Tokenizer, error) {
	switch {
	case o.Language == "":
		return t, nil
	case t == nil:
		return nil, fmt.Errorf("%w: language %q: %w", check.ErrInput, o.Language, text.NoTokenizer())
	}
	t, err := t.WithLanguage(o.Language)
	if err != nil {
		err = fmt.Errorf("%w: %w", check.ErrInput, err)
	}
	return t, err
}

// New returns a model with open_clip's random initialisation from seed.
func New(c config.Config, seed uint64, o Options) (*Checkpoint, error) {
	o.Resize(&c)
	m, err := towers.Build(c)
	if err != nil {
		return nil, err
	}
	randomize(m, seed)
	transform, err := newTransform(preprocess.DefaultConfig(), &c)
	if err != nil {
		return nil, err
	}
	tokens, err := c.TextCfg.Tokenizer(nil)
	if err == nil {
		tokens, err = o.inLanguage(tokens, &c.TextCfg)
	}
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("random weights, seed %d", seed)
	made := &Checkpoint{Name: name, Model: m, Transform: transform, Tokenizer: tokens, Warnings: m.Warnings}
	return made, made.adapt(o.Adapter)
}

// randomize gives a model the random weights of a seed.
func randomize(m *towers.Model, seed uint64) {
	for _, p := range m.Parameters() {
		layers.Seed(p, seed)
	}
}

// newTransform makes the transform of pictures for a model.
func newTransform(pp preprocess.Config, c *config.Config) (*preprocess.Transform, error) {
	pp.Size = [2]int(c.VisionCfg.ImageSize)
	t, err := preprocess.New(pp)
	patch, most, ok := towers.Sequence(c)
	if err != nil || !ok {
		return t, err
	}
	return t.WithSequence(preprocess.Sequence{PatchSize: [2]int(patch), MaxLength: most})
}

// Close frees the file of the weights. Close of nil does nothing.
func (c *Checkpoint) Close() error {
	if c == nil {
		return nil
	}
	return c.file.Close()
}

// files are those of a model.
type files struct {
	name      string
	dir       fs.FS
	stored    config.Config // of the weights
	config    config.Config // of the model, which may have other sizes
	transform *preprocess.Transform
	file      *weights.File
	src       weights.StateDict // file's tensors under open_clip's names
	layout    *weights.Layout   // that they were in
	warnings  []string
	assumed   string // of the preprocessing
}

// checkpoint makes a model of files, with random weights where there is a seed.
func (c *files) checkpoint(from origin, seed *uint64) (*Checkpoint, error) {
	if err := c.comesFrom(from); err != nil {
		return nil, err
	}
	m, err := towers.Build(c.config)
	if err != nil {
		return nil, err
	}
	name, src := c.name, weights.StateDict(nil)
	if seed != nil {
		randomize(m, *seed)
		name = fmt.Sprintf("%s with random weights, seed %d", name, *seed)
	} else if src, err = m.Bind(c.src, &c.stored, c.layout); err != nil {
		return nil, fmt.Errorf("%s: %w", c.file.Path(), err)
	}
	beside, err := c.tokenizer()
	if err != nil {
		return nil, err
	}
	tokens, err := c.config.TextCfg.Tokenizer(beside)
	if err != nil {
		return nil, err
	}
	warnings := append(m.Warnings, c.warnings...)
	if c.assumed != "" {
		warnings = append(warnings, c.assumed)
	}
	open := &Checkpoint{
		Name: name, Model: m, Transform: c.transform, Tokenizer: tokens, Warnings: warnings,
		file: c.file, src: src, dir: c.dir, folder: c.folder(),
	}
	open.watch()
	return open, nil
}

func openFiles(source string, o *Options) (*files, error) {
	c := &files{name: source}
	err := c.locate(source)
	if err != nil {
		return nil, err
	}
	if c.src, c.layout, err = weights.Canonical(c.file, towers.Layouts()...); err == nil {
		err = c.readConfig(o)
	}
	if err == nil {
		return c, nil
	}
	return nil, errors.Join(err, c.file.Close())
}

// locate opens the weights and finds the folder of the files beside them.
func (c *files) locate(source string) (err error) {
	if source == "" || source == Embedded {
		c.name = Embedded
		c.dir = emojiclip.Files
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

func (c *files) folder() string {
	if info, err := os.Stat(c.name); err == nil && !info.IsDir() {
		return filepath.Dir(c.name)
	}
	return c.name
}

// tokenizer is the one beside the weights, or nil.
func (c *files) tokenizer() (*tokenizer.Tokenizer, error) {
	text := &c.config.TextCfg
	var t *tokenizer.Tokenizer
	var err error
	switch name := text.TokenizerName(); {
	case name == "":
		t, err = tokenizer.Load(c.dir)
	case text.TokenizerType == config.TiktokenType:
		var o tokenizer.Tiktoken
		if o, _, err = text.Tiktoken(); err == nil {
			t, err = tokenizer.LoadTiktoken(c.dir, o)
		}
	case text.TokenizerType != "":
		return nil, nil
	default:
		var o tokenizer.HuggingFace
		if o, _, err = text.HuggingFaceTokenizer(); err != nil {
			break
		}
		if t, err = tokenizer.LoadHuggingFace(c.dir, o); errors.Is(err, fs.ErrNotExist) && fs.ValidPath(name) {
			var below fs.FS
			if below, err = fs.Sub(c.dir, name); err == nil {
				t, err = tokenizer.LoadHuggingFace(below, o)
			}
			if err == nil {
				c.dir = below // where its files are
			}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if vocabulary := towers.Vocabulary(&c.config); err == nil && vocabulary > 0 {
		err = t.Fits(vocabulary)
	}
	if err == nil {
		err = text.CheckEOS(t)
	}
	if err != nil && lacksTokenizer(text) {
		err = fmt.Errorf("%w; %s", err, tokenizerMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.folder(), err)
	}
	return t, nil
}

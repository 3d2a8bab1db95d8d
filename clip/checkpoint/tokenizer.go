package checkpoint

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	emojiclip "github.com/clip-wgpu/clip-wgpu/clip/emoji-clip"
	"github.com/clip-wgpu/clip-wgpu/clip/hub"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
)

// LoadTokenizer returns the tokenizer of a model, the model's context length in
// tokens, and which options of its config are ignored. The source is one of Open's,
// a folder without weights, or open_clip's name of a model; the model need not be one
// that can be built. LoadTokenizer downloads no weights. It reads weights only where
// they take the place of a config, as OpenAI's archives do. The tokenizer of a local
// config lies beside it, in a folder of its name there or, but for local-dir:, in the
// hub's cache. A model whose tokenizer is not supported is an error that matches
// config.ErrUnsupported.
func LoadTokenizer(ctx context.Context, source string, o Options) (t *tokenizer.Tokenizer, contextLength int, ignored []string, err error) {
	c, err := o.describeText(ctx, source)
	if err != nil {
		return nil, 0, nil, err
	}
	o.Resize(&c.config)
	text := &c.config.TextCfg
	base, err := c.tokenizer()
	if err != nil {
		return nil, 0, nil, err
	}
	t, err = text.Tokenizer(base)
	if err == nil && t == nil {
		err = text.NoTokenizer()
	}
	ignored, checked := text.CheckTokenizer()
	if lacksTokenizer(text) {
		ignored = append(ignored, tokenizerMissing)
	}
	if err == nil {
		err = checked
	}
	if err == nil {
		t, err = o.inLanguage(t, text)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return t, text.ContextLength, ignored, nil
}

// lacksTokenizer tells that a Hugging Face text tower is to read what open_clip's default
// tokenizer makes of texts, which is seldom meant.
func lacksTokenizer(t *config.TextConfig) bool {
	return config.Value(t.HFModelName) != "" && t.TokenizerName() == ""
}

const tokenizerMissing = "text_cfg.hf_tokenizer_name is missing: the tokenizer is CLIP's, as in open_clip"

// describeText finds a source's config and the folder of its tokenizer.
func (o *Options) describeText(ctx context.Context, source string) (*files, error) {
	m, onHub, err := parseHubSource(source)
	if err != nil {
		return nil, err
	}
	if onHub {
		c, err := o.describeHub(ctx, source, m)
		return c, m.explain(source, err)
	}
	if folder, ok, err := localFolder(source); err != nil {
		return nil, err
	} else if ok {
		return o.describeLocal(folder)
	}
	if isHere(source) {
		c, err := o.describeLocal(source)
		if err == nil {
			o.cachedTokenizer(ctx, c)
		}
		return c, err
	}
	name, tag, hasTag := strings.Cut(source, ":")
	entry, err := models.Find(name)
	if err != nil {
		return nil, notHere(source, err)
	}
	c := &files{name: source, dir: embed.FS{}} // no files: CLIP's own tokenizer
	var weights models.Pretrained
	if hasTag {
		c.config, weights, err = entry.Tagged(tag)
	} else {
		c.config, err = entry.Config()
	}
	if err = onlyText(&c.config, err); err != nil {
		return nil, err
	}
	repo, _ := weights.Repository()
	return c, o.downloadTokenizer(ctx, c, repo)
}

// onlyText drops the error of a config whose towers cannot be built: its tokenizer
// needs none.
func onlyText(c *config.Config, err error) error {
	if errors.Is(err, config.ErrUnsupported) && c.TextCfg.ContextLength > 0 {
		return nil
	}
	return err
}

// describeLocal reads the config that an option names, else the one in a folder or
// beside a file of weights. Without one it asks the weights, as OpenAI's tell.
func (o *Options) describeLocal(path string) (*files, error) {
	c := &files{name: path}
	if path == "" || path == Embedded {
		c.name = Embedded
		c.dir = emojiclip.Files
	} else {
		c.dir = os.DirFS(c.folder())
	}
	found, err := c.findConfig(o)
	if errors.Is(err, fs.ErrNotExist) && o.ConfigFrom == "" {
		full, openErr := openFiles(path, o)
		if openErr != nil {
			return nil, openErr
		}
		found.model, err = full.config, full.file.Close()
	}
	c.config = found.model
	return c, onlyText(&found.model, err)
}

// describeHub brings the config and the tokenizer of a repository here.
func (o *Options) describeHub(ctx context.Context, source string, m hubModel) (*files, error) {
	ref, err := hub.ParseRef(m.id)
	if err != nil {
		return nil, err
	}
	h, err := hub.New(hub.Options{Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	folder, err := h.Config(ctx, ref)
	if err != nil {
		return nil, err
	}
	c, err := o.describeLocal(folder)
	if err != nil {
		return nil, err
	}
	c.name = source
	if hub.HasTokenizer(folder) {
		return c, nil
	}
	return c, o.downloadTokenizer(ctx, c, "")
}

// cachedTokenizer looks in the hub's cache for the tokenizer that a local config
// names, where none lies beside it. It asks no server.
func (o *Options) cachedTokenizer(ctx context.Context, c *files) {
	name := c.config.TextCfg.HubTokenizer()
	if name == "" {
		return
	}
	if t, err := c.tokenizer(); t != nil || err != nil {
		return
	}
	h, err := hub.New(hub.Options{Offline: true})
	if err != nil {
		return
	}
	if ref, err := hub.ParseRef(name); err == nil {
		if folder, err := h.Tokenizer(ctx, ref); err == nil {
			c.dir = os.DirFS(folder)
		}
	}
}

// downloadTokenizer downloads the tokenizer of a config that names one. It takes
// the one in repo, the model's own repository, where repo is given and has one,
// else the one that the config names.
func (o *Options) downloadTokenizer(ctx context.Context, c *files, repo string) error {
	name := c.config.TextCfg.HubTokenizer()
	if name == "" {
		return nil
	}
	h, err := hub.New(hub.Options{Progress: o.Progress})
	if err != nil {
		return err
	}
	for _, id := range []string{repo, name} {
		if id == "" {
			continue
		}
		var ref hub.Ref
		var folder string
		if ref, err = hub.ParseRef(id); err == nil {
			folder, err = h.Tokenizer(ctx, ref)
		}
		if err == nil {
			c.dir = os.DirFS(folder)
			return nil
		}
		if !errors.Is(err, hub.ErrNotFound) {
			break
		}
	}
	return fmt.Errorf("tokenizer of %s: %w", c.name, err)
}

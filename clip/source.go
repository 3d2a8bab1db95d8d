package clip

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/hub"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// localPrefix starts the sources that are folders, as open_clip names them.
const localPrefix = "local-dir:"

// origin is where a source's files lie, and what they do not say themselves.
type origin struct {
	path       string             // the weights or their folder
	name       string             // the source, where it is not the path
	preprocess *preprocess.Config // in place of the one beside the weights
	tokenizer  fs.FS              // likewise
	warnings   []string
}

// Fetch brings the files of a source of Load here, without opening them, and
// returns the weights or the folder that they lie in. Only the sources of the
// hub need the network.
func Fetch(ctx context.Context, source string, opts ...Option) (string, error) {
	o := newOptions(opts)
	err := o.find(ctx, source)
	return o.origin.path, err
}

// find tells the kinds of sources apart, downloads what is not here and says
// in o what there is.
func (o *options) find(ctx context.Context, source string) error {
	if id, ok := strings.CutPrefix(source, hub.Prefix); ok {
		return o.download(ctx, source, id, "", nil)
	}
	if folder, ok := strings.CutPrefix(source, localPrefix); ok {
		info, err := os.Stat(folder)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s: is a file, want a folder", source)
		}
		o.origin.path = folder
		return err
	}
	o.origin.path = source
	if _, err := os.Stat(source); source == "" || source == Embedded || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	name, tag, hasTag := strings.Cut(source, ":")
	known, entry, err := findModel(name)
	switch {
	case err != nil && (!hasTag || strings.ContainsAny(name, `/\`) || len(name) < 2):
		return nil // a path, and opening it says that it is not there
	case err != nil:
		return fmt.Errorf("%s: no such folder or file, and %w", source, err)
	case !hasTag && len(entry.Pretrained) == 0:
		return fmt.Errorf("%s: no such folder or file, and open_clip has no weights of model %s", source, known)
	case !hasTag:
		tags := slices.Sorted(maps.Keys(entry.Pretrained))
		return fmt.Errorf("%s: no such folder or file; weights of model %s have a tag: %s:%s", source, known, known, strings.Join(tags, ", :"))
	}
	config, pretrained, err := entry.pretrained(known, tag)
	if err != nil {
		return err
	}
	pp := pretrained.preprocess()
	o.origin.preprocess = &pp
	repo, file := pretrained.Repository()
	return o.download(ctx, source, repo, file, &config)
}

// download brings a repository's model here, but no weights for a configuration
// that cannot be built.
func (o *options) download(ctx context.Context, source, id, weights string, config *Config) error {
	ref, err := hub.ParseRef(id)
	if err != nil {
		return err
	}
	h, err := hub.New(hub.Options{Progress: o.progress})
	if err != nil {
		return err
	}
	if o.config == nil {
		o.config = config
	}
	accept := func(file string) (err error) {
		if config == nil && filepath.Base(file) == "open_clip_config.json" {
			config, err = readConfig(ref, file)
		}
		return err
	}
	o.origin.name = source
	if o.origin.path, err = h.Model(ctx, ref, weights, accept); err != nil {
		return err
	}
	if config == nil || config.TextCfg.HFTokenizerName == nil || hub.HasTokenizer(filepath.Dir(o.origin.path)) {
		return nil
	}
	return o.downloadTokenizer(ctx, h, *config.TextCfg.HFTokenizerName)
}

// downloadTokenizer brings a tokenizer here that is not beside the weights: as
// upstream, its name is that of a repository. Without one the model still takes
// images and token ids.
func (o *options) downloadTokenizer(ctx context.Context, h *hub.Hub, name string) error {
	var folder string
	ref, err := hub.ParseRef(name)
	if err == nil {
		folder, err = h.Tokenizer(ctx, ref)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		o.origin.warnings = append(o.origin.warnings, fmt.Sprintf("no tokenizer: %v", err))
	default:
		o.origin.tokenizer = os.DirFS(folder)
	}
	return nil
}

// readConfig reads the configuration of a repository's model.
func readConfig(ref hub.Ref, file string) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, _, err := ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return &c, nil
}

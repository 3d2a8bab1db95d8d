package checkpoint

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
	"syscall"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/hub"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
)

// localPrefix starts the sources that are folders, as open_clip names them.
const localPrefix = "local-dir:"

// origin is where a source's files lie, and what they do not say themselves.
type origin struct {
	path       string             // the weights or their folder
	name       string             // the source, where it is not the path
	preprocess *preprocess.Config // for any size, in place of what is beside the weights
	tokenizer  fs.FS              // likewise
	warnings   []string
	here       bool // the path is the source: a tokenizer that is not beside it may be in the hub's cache
}

// comesFrom replaces the name, tokenizer and preprocessing found beside the weights by
// those that belong to the source, where it has its own.
func (c *files) comesFrom(from origin) error {
	if from.name != "" {
		c.name = from.name
	}
	if from.tokenizer != nil {
		c.dir = from.tokenizer
	}
	c.warnings = append(c.warnings, from.warnings...)
	if from.preprocess == nil {
		return nil
	}
	c.assumed = ""
	pp := *from.preprocess
	pp.Size = c.transform.Config().Size
	var err error
	c.transform, err = preprocess.New(pp)
	return err
}

// Fetch brings the files of a source of Open here, without opening them, and
// returns the weights or the folder that they lie in. Only the sources of the
// hub need the network.
func Fetch(ctx context.Context, source string, o Options) (string, error) {
	from, err := o.find(ctx, source)
	return from.path, err
}

// find tells the kinds of sources apart and downloads what is not here. A tag's
// config becomes that of o, where o has none.
func (o *Options) find(ctx context.Context, source string) (origin, error) {
	switch m, ok, err := parseHubSource(source); {
	case err != nil:
		return origin{}, err
	case ok:
		from, err := o.download(ctx, m.id, m.file, origin{name: source}, nil)
		return from, m.explain(source, err)
	}
	if folder, ok, err := localFolder(source); ok {
		return origin{path: folder}, err
	}
	if isHere(source) {
		return origin{path: source, here: true}, nil
	}
	name, tag, hasTag := strings.Cut(source, ":")
	entry, err := models.Find(name)
	switch {
	case err != nil && !hasTag && !models.Resembles(name) && !looksLikeID(source):
		return origin{}, openError(source) // Open wants a tag, so a name alone is rather a path
	case err != nil:
		return origin{}, notHere(source, err)
	case !hasTag && len(entry.Pretrained) == 0:
		return origin{}, fmt.Errorf("%s: %w, and open_clip has no weights of model %s", source, fs.ErrNotExist, entry.Name)
	case !hasTag:
		tags := slices.Sorted(maps.Keys(entry.Pretrained))
		return origin{}, fmt.Errorf("%s: %w; weights of model %s have a tag: %s:%s", source, fs.ErrNotExist, entry.Name, entry.Name, strings.Join(tags, ", :"))
	}
	tagged, pretrained, err := entry.Tagged(tag)
	if err != nil {
		return origin{}, err
	}
	if o.Config == nil {
		o.Config = &tagged
	}
	pp := pretrained.Preprocess()
	from := origin{name: source, preprocess: &pp}
	if quick := pretrained.QuickGELU; tagged.QuickGELU && (quick == nil || !*quick) {
		from.warnings = append(from.warnings, fmt.Sprintf("quick_gelu is on, as in the config of %s, though tag %s does not say so", entry.Name, tag))
	}
	repo, file := pretrained.Repository()
	return o.download(ctx, repo, file, from, &tagged)
}

// isHere reports whether a source is the embedded model, or a path at which there
// is something.
func isHere(source string) bool {
	_, err := os.Stat(source)
	return source == "" || source == Embedded || !errors.Is(err, fs.ErrNotExist)
}

// notHere returns the error of a source that is neither a path that exists nor, as the
// error unknown says, one of open_clip's names.
func notHere(source string, unknown error) error {
	name, _, _ := strings.Cut(source, ":")
	switch {
	case looksLikeID(source):
		return fmt.Errorf("%s: %w; on the hub that is %s%s", source, fs.ErrNotExist, hub.Prefix, source)
	case strings.ContainsAny(name, `/\`) || len(name) < 2 || slices.Contains(weightExtensions, filepath.Ext(source)):
		return openError(source)
	}
	return fmt.Errorf("%s: %w, and %w", source, fs.ErrNotExist, unknown)
}

// openError is the error of opening a path that is not there.
func openError(path string) error { return &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT} }

// localFolder is the folder that a source of open_clip's names.
func localFolder(source string) (folder string, ok bool, err error) {
	if folder, ok = strings.CutPrefix(source, localPrefix); !ok {
		return source, false, nil
	}
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: no such folder %s", fs.ErrNotExist, folder)
	case err == nil && !info.IsDir():
		err = fmt.Errorf("%s: is a file, want a folder", source)
	}
	return folder, true, err
}

// download brings a repository's model here, but no weights for a configuration
// that cannot be built.
func (o *Options) download(ctx context.Context, id, weights string, from origin, known *config.Config) (origin, error) {
	ref, err := hub.ParseRef(id)
	if err != nil {
		return origin{}, err
	}
	h, err := hub.New(hub.Options{Progress: o.Progress})
	if err != nil {
		return origin{}, err
	}
	accept := func(file string) (err error) {
		if known == nil && filepath.Base(file) == "open_clip_config.json" {
			known, err = readConfig(ref, file)
		}
		return err
	}
	if from.path, err = h.Model(ctx, ref, weights, accept); err != nil {
		return origin{}, err
	}
	if known == nil || known.TextCfg.HubTokenizer() == "" || hub.HasTokenizer(filepath.Dir(from.path)) {
		return from, nil
	}
	err = from.downloadTokenizer(ctx, h, known.TextCfg.HubTokenizer())
	return from, err
}

// downloadTokenizer brings a tokenizer here that is not beside the weights: as
// upstream, its name is that of a repository. Without one the model still takes
// images and token ids.
func (from *origin) downloadTokenizer(ctx context.Context, h *hub.Hub, name string) error {
	var folder string
	ref, err := hub.ParseRef(name)
	if err == nil {
		folder, err = h.Tokenizer(ctx, ref)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		from.warnings = append(from.warnings, fmt.Sprintf("no tokenizer: %v", err))
	default:
		from.tokenizer = os.DirFS(folder)
	}
	return nil
}

// readConfig reads the configuration of a repository's model.
func readConfig(ref hub.Ref, file string) (*config.Config, error) {
	data, err := smallfile.Read(file, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", ref, filepath.Base(file), err)
	}
	c, _, err := models.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return &c, nil
}

package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/hub"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
)

// hubHosts serve the hub's pages.
var hubHosts = []string{"huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"}

// weightExtensions are those of the files of weights that a page of the hub may show.
var weightExtensions = []string{".safetensors", ".bin", ".pt", ".pth", ".npz"}

// hubModel is what a source says about a model on the hub.
type hubModel struct {
	id   string // org/name or org/name@revision
	file string // of the weights, where the source names one
	bare bool   // nothing but its form tells the source from a path
}

// explain adds to the error of a bare name that no folder or file here has it.
func (m hubModel) explain(source string, err error) error {
	if err == nil || !m.bare {
		return err
	}
	return fmt.Errorf("%s: %w here; %w", source, fs.ErrNotExist, err)
}

// parseHubSource reads a source that names a model on the hub: hf-hub:ORG/NAME,
// the address of its page or of one of its files, or a bare ORG/NAME where there is
// no folder ORG. ok is false for all other sources.
func parseHubSource(source string) (m hubModel, ok bool, err error) {
	id, marked := strings.CutPrefix(source, hub.Prefix)
	id = strings.TrimRight(id, "/")
	if u, isURL := hubURL(id); isURL {
		if m, err = parseHubURL(u); err != nil {
			err = fmt.Errorf("%s: %w", source, err)
		}
		return m, true, err
	}
	m.id = id
	if !marked && looksLikeID(id) {
		org, _, _ := strings.Cut(id, "/")
		_, err := os.Lstat(org)
		m.bare = errors.Is(err, fs.ErrNotExist)
	}
	return m, marked || m.bare, nil
}

// hubURL recognises the addresses of web pages, those of the hub also without https://.
func hubURL(s string) (*url.URL, bool) {
	if host, _, _ := strings.Cut(s, "/"); slices.Contains(hubHosts, strings.ToLower(host)) {
		if _, err := os.Lstat(host); errors.Is(err, fs.ErrNotExist) {
			s = "https://" + s
		}
	}
	u, err := url.Parse(s)
	return u, err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

// parseHubURL reads ORG/NAME, ORG/NAME/tree/REVISION and ORG/NAME/blob/REVISION/FILE,
// below the hub's address. resolve or raw may stand for tree or blob.
func parseHubURL(u *url.URL) (hubModel, error) {
	below := u.EscapedPath()
	if base, err := url.Parse(os.Getenv("HF_ENDPOINT")); err == nil && base.Host != "" && strings.EqualFold(base.Host, u.Host) {
		below = strings.TrimPrefix(below, strings.TrimRight(base.EscapedPath(), "/"))
	} else if !slices.Contains(hubHosts, strings.ToLower(u.Hostname())) {
		return hubModel{}, fmt.Errorf("%w: its host is not the Hugging Face hub (huggingface.co, hf.co or that of HF_ENDPOINT)", hub.ErrRef)
	}
	parts := strings.Split(strings.Trim(below, "/"), "/")
	for i, part := range parts {
		part, err := url.PathUnescape(part)
		if err != nil {
			return hubModel{}, fmt.Errorf("%w: %w", hub.ErrRef, err)
		}
		parts[i] = part
	}
	if slices.Contains([]string{"datasets", "spaces", "collections", "papers", "docs", "api"}, parts[0]) {
		return hubModel{}, fmt.Errorf("%w: the address is not that of a model", hub.ErrRef)
	}
	if len(parts) <= 2 {
		return hubModel{id: strings.Join(parts, "/")}, nil
	}
	verb := slices.IndexFunc(parts, func(p string) bool { return slices.Contains([]string{"tree", "blob", "resolve", "raw"}, p) })
	if verb < 1 || verb > 2 || verb+1 == len(parts) {
		return hubModel{}, fmt.Errorf("%w: want the address of a model or of its weights; the model is %s%s/%s", hub.ErrRef, hub.Prefix, parts[0], parts[1])
	}
	m := hubModel{id: strings.Join(parts[:verb], "/"), file: path.Join(parts[verb+2:]...)}
	if revision := parts[verb+1]; revision != "main" {
		m.id += "@" + revision
	}
	if m.file != "" && !slices.Contains(weightExtensions, path.Ext(m.file)) {
		return hubModel{}, fmt.Errorf("%w: %s is no file of weights; the model is %s%s", hub.ErrRef, m.file, hub.Prefix, m.id)
	}
	return m, nil
}

// looksLikeID tells whether a source can be ORG/NAME on the hub. Names of open_clip's
// models, misspelt ones too, and of files of weights or configs cannot.
func looksLikeID(id string) bool {
	org, name, _ := strings.Cut(id, "/")
	repo, _, _ := strings.Cut(name, "@")
	if _, err := hub.ParseRef(id); err != nil || repo == "" || models.Resembles(org+"-"+repo) {
		return false
	}
	return !slices.Contains(append(weightExtensions, ".json"), strings.ToLower(path.Ext(repo)))
}

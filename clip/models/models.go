// Package models knows open_clip's models: their names and configurations, the
// weights published for them, and which of them can be built. It needs no device.
package models

import (
	"bytes"
	"cmp"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// ErrUnknown is matched by errors about model names and pretrained tags
// that open_clip does not have.
var ErrUnknown = errors.New("unknown model name")

// modelsJSON holds open_clip's model_configs and its table of pretrained
// weights (pretrained.py), by model name.
//
//go:embed models.json.gz
var modelsJSON []byte

// Entry is what is known of one of open_clip's models.
type Entry struct {
	Name       string                // open_clip's spelling
	Parameters int64                 // 0 where unknown
	Pretrained map[string]Pretrained // by tag

	config json.RawMessage
}

// Pretrained is a published set of weights of a model, known by a tag.
type Pretrained struct {
	HFHub         string              `json:"hf_hub"` // org/name/ or org/name/file on the Hugging Face hub
	Mean          preprocess.Channels `json:"mean"`
	Std           preprocess.Channels `json:"std"`
	Interpolation string              `json:"interpolation"`
	ResizeMode    string              `json:"resize_mode"`
	QuickGELU     *bool               `json:"quick_gelu,omitempty"`
}

// Preprocess is how images were made ready in training, for any size.
func (p Pretrained) Preprocess() preprocess.Config {
	c := preprocess.DefaultConfig()
	c.Mean, c.Std, c.Interpolation, c.ResizeMode = p.Mean, p.Std, p.Interpolation, p.ResizeMode
	return c
}

// Preprocess is what all published weights of the model have, nil where they differ.
func (e Entry) Preprocess() *preprocess.Config {
	var common *preprocess.Config
	for _, p := range e.Pretrained {
		pp := p.Preprocess()
		if common != nil && *common != pp {
			return nil
		}
		common = &pp
	}
	return common
}

var entries = sync.OnceValues(func() (map[string]Entry, error) {
	r, err := gzip.NewReader(bytes.NewReader(modelsJSON))
	if err != nil {
		return nil, err
	}
	var file map[string]struct {
		Config     json.RawMessage       `json:"config"`
		Parameters int64                 `json:"parameters"`
		Pretrained map[string]Pretrained `json:"pretrained"`
	}
	err = json.NewDecoder(r).Decode(&file)
	m := map[string]Entry{}
	for name, e := range file {
		m[name] = Entry{name, e.Parameters, e.Pretrained, e.Config}
	}
	return m, err
})

// Find returns the model that open_clip has under a name, such as ViT-B-32, in any
// case and with / for -. Its error matches ErrUnknown and suggests the names
// nearest to one that is unknown.
func Find(name string) (Entry, error) {
	m, err := entries()
	if err != nil {
		return Entry{}, err
	}
	known, ok := lookUp(m, strings.ReplaceAll(name, "/", "-"))
	if !ok {
		return Entry{}, fmt.Errorf("%w %q; near it are %s", ErrUnknown, name, near(m, name, 3))
	}
	return m[known], nil
}

// Config returns the configuration of the model that Find finds. Its error
// matches config.ErrUnsupported where the model is known and cannot be built.
func Config(name string) (config.Config, error) {
	e, err := Find(name)
	if err != nil {
		return config.Config{}, err
	}
	return e.Config()
}

// Config returns the model's configuration, with an error that matches
// config.ErrUnsupported where it cannot be built.
func (e Entry) Config() (config.Config, error) {
	c, _, err := Parse(e.config)
	if err != nil {
		err = fmt.Errorf("model %s: %w", e.Name, err)
	}
	return c, err
}

// Tagged returns the configuration of the model with the weights that open_clip
// has under a tag, in any case and with - for _, and where these lie. Where the tag
// asks for QuickGELU the model gets it, as it was trained so; a config that has it
// keeps it, as in open_clip.
func (e Entry) Tagged(tag string) (config.Config, Pretrained, error) {
	known, ok := lookUp(e.Pretrained, strings.ReplaceAll(tag, "-", "_"))
	if !ok {
		hint := "it has none"
		if len(e.Pretrained) > 0 {
			hint = "near it are " + near(e.Pretrained, tag, 3)
		}
		return config.Config{}, Pretrained{}, fmt.Errorf("%w %s:%s: no such pretrained tag; %s", ErrUnknown, e.Name, tag, hint)
	}
	p := e.Pretrained[known]
	c, err := e.Config()
	if err != nil {
		return c, p, err
	}
	c.QuickGELU = c.QuickGELU || p.hasQuickGELU()
	return c, p, Check(&c)
}

func (p Pretrained) hasQuickGELU() bool { return p.QuickGELU != nil && *p.QuickGELU }

// Repository splits HFHub into the repository org/name and, where given, the
// file of the weights in it.
func (p Pretrained) Repository() (repo, file string) {
	parts := strings.SplitN(strings.TrimSuffix(p.HFHub, "/"), "/", 3)
	if len(parts) == 3 {
		return parts[0] + "/" + parts[1], parts[2]
	}
	return strings.Join(parts, "/"), ""
}

// Names lists open_clip's names of models, sorted.
func Names() []string {
	m, err := entries()
	if err != nil {
		return nil // Find returns the error
	}
	return slices.Sorted(maps.Keys(m))
}

// Resembles tells a name that is, or nearly is, one of open_clip's from a path.
func Resembles(name string) bool {
	return slices.ContainsFunc(Names(), func(known string) bool {
		return editDistance(strings.ToLower(name), strings.ToLower(known)) <= 2
	})
}

// lookUp finds a key in any case.
func lookUp[T any](m map[string]T, name string) (string, bool) {
	if _, ok := m[name]; ok {
		return name, true
	}
	for known := range m {
		if strings.EqualFold(known, name) {
			return known, true
		}
	}
	return "", false
}

// near lists the n keys most like name.
func near[T any](m map[string]T, name string, n int) string {
	want := strings.ToLower(name)
	distances := map[string]int{}
	for known := range m {
		distances[known] = editDistance(want, strings.ToLower(known))
	}
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(distances[a]-distances[b], strings.Compare(a, b))
	})
	return strings.Join(names[:min(n, len(names))], ", ")
}

// editDistance is how many bytes must be inserted, deleted or replaced to make
// b of a. (Levenshtein, 1965.)
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

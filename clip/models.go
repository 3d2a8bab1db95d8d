package clip

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

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// ErrUnknownModel is matched by errors about model names and pretrained tags
// that open_clip does not have.
var ErrUnknownModel = errors.New("unknown model name")

// modelsJSON holds open_clip's model_configs and its table of pretrained
// weights (pretrained.py), by model name.
//
//go:embed models.json.gz
var modelsJSON []byte

// modelEntry is what modelsJSON holds about a model.
type modelEntry struct {
	Config     json.RawMessage       `json:"config"`
	Parameters int64                 `json:"parameters"` // 0 where unknown
	Pretrained map[string]Pretrained `json:"pretrained"`
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

// preprocess is how images were made ready in training, for any size.
func (p Pretrained) preprocess() preprocess.Config {
	c := preprocess.DefaultConfig()
	c.Mean, c.Std, c.Interpolation, c.ResizeMode = p.Mean, p.Std, p.Interpolation, p.ResizeMode
	return c
}

// commonPreprocess is what all published weights of a model have, nil where they differ.
func (e modelEntry) commonPreprocess() *preprocess.Config {
	var common *preprocess.Config
	for _, p := range e.Pretrained {
		pp := p.preprocess()
		if common != nil && *common != pp {
			return nil
		}
		common = &pp
	}
	return common
}

var models = sync.OnceValues(func() (map[string]modelEntry, error) {
	r, err := gzip.NewReader(bytes.NewReader(modelsJSON))
	if err != nil {
		return nil, err
	}
	var m map[string]modelEntry
	return m, json.NewDecoder(r).Decode(&m)
})

// findModel returns open_clip's spelling of a model's name, in any case and
// with / for -, and what is known of it.
func findModel(name string) (string, modelEntry, error) {
	m, err := models()
	if err != nil {
		return "", modelEntry{}, err
	}
	known, ok := lookUp(m, strings.ReplaceAll(name, "/", "-"))
	if !ok {
		return "", modelEntry{}, fmt.Errorf("%w %q; near it are %s", ErrUnknownModel, name, near(m, name, 3))
	}
	return known, m[known], nil
}

// ModelConfig returns the configuration that open_clip has under a model's
// name, such as ViT-B-32, in any case and with / for -. Its error suggests the
// names nearest to one that is unknown, and matches ErrUnsupported where the
// model is known and cannot be built.
func ModelConfig(name string) (Config, error) {
	known, entry, err := findModel(name)
	if err != nil {
		return Config{}, err
	}
	c, _, err := ParseConfig(entry.Config)
	if err != nil {
		err = fmt.Errorf("model %s: %w", known, err)
	}
	return c, err
}

// PretrainedConfig returns the configuration of a model with the weights that
// open_clip has under a tag, and where these lie. Where the tag asks for
// QuickGELU the model gets it, as it was trained so; the reverse is an error.
func PretrainedConfig(name, tag string) (Config, Pretrained, error) {
	known, entry, err := findModel(name)
	if err != nil {
		return Config{}, Pretrained{}, err
	}
	return entry.pretrained(known, tag)
}

func (e modelEntry) pretrained(name, tag string) (Config, Pretrained, error) {
	known, ok := lookUp(e.Pretrained, tag)
	if !ok {
		hint := "it has none"
		if len(e.Pretrained) > 0 {
			hint = "near it are " + near(e.Pretrained, tag, 3)
		}
		return Config{}, Pretrained{}, fmt.Errorf("%w %s:%s: no such pretrained tag; %s", ErrUnknownModel, name, tag, hint)
	}
	p := e.Pretrained[known]
	c, _, err := ParseConfig(e.Config)
	switch {
	case err != nil:
		return c, p, fmt.Errorf("model %s: %w", name, err)
	case c.QuickGELU && (p.QuickGELU == nil || !*p.QuickGELU):
		repo, _ := p.Repository()
		return c, p, fmt.Errorf("%w: model %s has quick_gelu and its tag %s does not; hf-hub:%s takes the config beside the weights", ErrConfig, name, known, repo)
	}
	c.QuickGELU = p.QuickGELU != nil && *p.QuickGELU
	return c, p, c.validate()
}

// Repository splits HFHub into the repository org/name and, where given, the
// file of the weights in it.
func (p Pretrained) Repository() (repo, file string) {
	parts := strings.SplitN(strings.TrimSuffix(p.HFHub, "/"), "/", 3)
	if len(parts) == 3 {
		return parts[0] + "/" + parts[1], parts[2]
	}
	return strings.Join(parts, "/"), ""
}

// ModelNames lists open_clip's names of models, sorted.
func ModelNames() []string {
	m, err := models()
	if err != nil {
		return nil // ModelConfig returns the error
	}
	return slices.Sorted(maps.Keys(m))
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

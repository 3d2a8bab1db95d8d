package clip

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ErrUnknownModel is matched by errors about model names that ModelConfig does not know.
var ErrUnknownModel = errors.New("unknown model name")

// modelsJSON holds open_clip's model_configs with native image and text towers, by name.
//
//go:embed models.json
var modelsJSON []byte

var models = sync.OnceValues(func() (map[string]Config, error) {
	var m map[string]Config
	err := json.Unmarshal(modelsJSON, &m)
	return m, err
})

// ModelConfig returns the configuration that open_clip has under a model's
// name, such as ViT-B-32, in any case and with / for -. Its error suggests the
// names nearest to one that is unknown.
func ModelConfig(name string) (Config, error) {
	m, err := models()
	if err != nil {
		return Config{}, err
	}
	want := strings.ToLower(strings.ReplaceAll(name, "/", "-"))
	distances := map[string]int{}
	for known, c := range m {
		d := editDistance(want, strings.ToLower(known))
		if d == 0 {
			return c, nil
		}
		distances[known] = d
	}
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(distances[a]-distances[b], strings.Compare(a, b))
	})
	return Config{}, fmt.Errorf("%w %q; near it are %s", ErrUnknownModel, name, strings.Join(names[:min(3, len(names))], ", "))
}

// ModelNames lists the names that ModelConfig knows, sorted.
func ModelNames() []string {
	m, err := models()
	if err != nil {
		return nil // ModelConfig returns the error
	}
	return slices.Sorted(maps.Keys(m))
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

package hub

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Config brings a model's configuration and tokenizer here, without its weights,
// and returns their folder.
func (h *Hub) Config(ctx context.Context, r Ref) (string, error) {
	file, err := h.snapshot(ctx, r, nil, func(have func(string) bool) (string, []string, error) {
		files := slices.Concat(configFiles, besideFiles, tokenizerFiles)
		files = slices.DeleteFunc(files, func(f string) bool { return !have(f) })
		if !slices.ContainsFunc(configFiles, have) {
			return "", nil, fmt.Errorf("%w: %s has none of %s", ErrNotFound, r, strings.Join(configFiles, ", "))
		}
		return files[0], files, nil
	})
	if err != nil {
		return "", err
	}
	return filepath.Dir(file), nil
}

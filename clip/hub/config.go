package hub

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Config brings a model's configuration here, and its tokenizer where it has one,
// but not its weights. It returns their folder.
func (h *Hub) Config(ctx context.Context, r Ref) (string, error) {
	file, err := h.snapshot(ctx, r, nil, choice{configFiles, func(files []string) (string, []string, error) {
		configs := among(configFiles, files)
		if len(configs) == 0 {
			return "", nil, fmt.Errorf("%w: %s has none of %s", ErrNotFound, r, strings.Join(configFiles, ", "))
		}
		return configs[0], slices.Concat(configs, among(besideFiles, files), among(tokenizerFiles, files)), nil
	}})
	if err != nil {
		return "", err
	}
	return filepath.Dir(file), nil
}

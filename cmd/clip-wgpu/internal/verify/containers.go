package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// shard matches the name of a file that holds a part of a model. An index beside the file
// names all parts.
var shard = regexp.MustCompile(`-\d+-of-\d+\.safetensors$`)

// isContainer reports whether a file of a containers case is a checkpoint to load. The
// others are recorded inputs and outputs, descriptions, and shards, which are loaded
// through their index.
func isContainer(name string) bool {
	switch name {
	case "inputs.safetensors", "outputs.safetensors", "README.md":
		return false
	}
	index := strings.HasSuffix(name, ".safetensors.index.json")
	return index || filepath.Ext(name) != ".json" && !shard.MatchString(name)
}

// verifyContainers loads the same model from files of several formats.
func verifyContainers(ctx context.Context, c *testCase) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	in, err := c.inputs("inputs.safetensors")
	if err != nil {
		return err
	}
	want, err := c.open("outputs.safetensors")
	if err != nil {
		return err
	}
	defer want.Close()
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isContainer(e.Name()) {
			continue
		}
		if err := c.compareContainer(ctx, e.Name(), cfg, in, want); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

// compareContainer makes the rows of one container.
func (c *testCase) compareContainer(ctx context.Context, name string, cfg *config.Config, in inputs, want weights.StateDict) error {
	if info, err := os.Stat(c.path(name)); err == nil && info.IsDir() {
		cfg = nil // it has its own
	}
	m, err := c.loadFrom(ctx, c.path(name), cfg)
	if err != nil {
		return err
	}
	defer m.Close()
	n, err := c.compareGroup(ctx, name+" → ", &forward{m: m, inputs: in}, want, outputGroup(name, want.Names())+".")
	if err == nil && n == 0 {
		return errors.New("outputs.safetensors has nothing that belongs to it")
	}
	return err
}

// outputGroup returns the first part of the names of those outputs that belong to a
// container: the longest tag, such as f16, that is a word of the container's name.
// _weights_f32_math after a tag does not count. Without one it is f32.
func outputGroup(container string, outputs []string) string {
	stem := strings.TrimSuffix(container, filepath.Ext(container))
	best, bestTag := "f32", ""
	for _, output := range outputs {
		prefix, _, _ := strings.Cut(output, ".")
		tag := strings.TrimSuffix(prefix, "_weights_f32_math")
		named := strings.Contains("_"+stem+"_", "_"+tag+"_")
		if named && len(tag) > len(bestTag) {
			best, bestTag = prefix, tag
		}
	}
	return best
}

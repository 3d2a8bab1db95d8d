package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/posembed"
)

// verifyPosEmbedResize compares resized position embeddings. outputs.safetensors
// holds pairs: image.I.in.4x4 and image.I.out.HxW, with a class token, and
// text.I.in.N and text.I.out.M.
func verifyPosEmbedResize(ctx context.Context, c *testCase) error {
	if err := c.compareSchedules(); err != nil {
		return err
	}
	if !c.has("outputs.safetensors") {
		return nil
	}
	tolerance, err := c.tolerance()
	if err != nil {
		return err
	}
	f, err := c.open("outputs.safetensors")
	if err != nil {
		return err
	}
	defer f.Close()
	for _, name := range f.Names() {
		pair, size, ok := strings.Cut(name, ".out.")
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		i := slices.IndexFunc(f.Names(), func(n string) bool { return strings.HasPrefix(n, pair+".in.") })
		if i < 0 {
			return fmt.Errorf("outputs.safetensors: %s has no %s.in", name, pair)
		}
		old, err := readTensor(f, f.Names()[i])
		if err != nil {
			return err
		}
		want, err := readTensor(f, name)
		if err != nil {
			return err
		}
		if len(old.Shape) != 2 || old.Shape[1] == 0 {
			return fmt.Errorf("outputs.safetensors: %s: shape %v, want [positions, width]", f.Names()[i], old.Shape)
		}
		got, err := resizePosEmbed(old, size)
		if err != nil {
			return fmt.Errorf("outputs.safetensors: %s: %w", name, err)
		}
		c.compare(name, got, want, tolerance)
	}
	return nil
}

// resizePosEmbed resizes to a grid HxW after a class token, or to N positions.
func resizePosEmbed(old clip.Array, size string) (clip.Array, error) {
	width := old.Shape[1]
	var data []float32
	var grid config.Size
	var length int
	if n, _ := fmt.Sscanf(size, "%dx%d", &grid[0], &grid[1]); n == 2 && min(grid[0], grid[1]) > 0 {
		data = posembed.Resize(old.Data, width, grid)
	} else if n, _ := fmt.Sscanf(size, "%d", &length); n == 1 && length > 0 {
		data = posembed.ResizeText(old.Data, width, length)
	} else {
		return clip.Array{}, fmt.Errorf("size %q, want HxW or N", size)
	}
	return clip.Array{Shape: []int{len(data) / width, width}, Data: data}, nil
}

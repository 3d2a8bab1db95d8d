package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/weights"
)

// FromOpenAI derives a configuration from the names and shapes of a model's tensors,
// because OpenAI's checkpoints hold none. It follows
// build_model_from_openai_state_dict of open_clip's model.py.
func FromOpenAI(src weights.StateDict) (Config, error) {
	s := shapeReader{src: src}
	c := Config{QuickGELU: true, VisionCfg: DefaultVisionConfig(), TextCfg: DefaultTextConfig()}
	v, t := &c.VisionCfg, &c.TextCfg
	c.EmbedDim = s.dim("text_projection", 1)
	t.ContextLength = s.dim("positional_embedding", 0)
	t.VocabSize = s.dim("token_embedding.weight", 0)
	t.Width = s.dim("ln_final.weight", 0)
	t.Heads = t.Width / 64
	t.Layers = s.count("transformer.resblocks.")
	if _, isViT := src.Tensor("visual.proj"); isViT {
		v.Width = s.dim("visual.conv1.weight", 0)
		v.Layers = Layers{s.count("visual.transformer.resblocks.")}
		patch := s.dim("visual.conv1.weight", 3)
		v.PatchSize = Size{patch, patch}
		grid := side(s.dim("visual.positional_embedding", 0) - 1)
		v.ImageSize = Size{patch * grid, patch * grid}
	} else {
		v.Width = s.dim("visual.layer1.0.conv1.weight", 0)
		v.Layers, v.PatchSize = nil, Size{}
		for _, stage := range []string{"1", "2", "3", "4"} {
			v.Layers = append(v.Layers, s.count("visual.layer"+stage+"."))
		}
		grid := side(s.dim("visual.attnpool.positional_embedding", 0) - 1)
		v.ImageSize = Size{32 * grid, 32 * grid}
	}
	if s.missing != "" {
		return c, fmt.Errorf("the weights are not laid out as OpenAI's: tensor %s is missing or of another rank", s.missing)
	}
	if t.Width%64 != 0 {
		return c, fmt.Errorf("a text width of %d does not tell the number of heads, which OpenAI's models have one of for 64", t.Width)
	}
	return c, nil
}

// shapeReader reads off dimensions and keeps the first name that is not there.
type shapeReader struct {
	src     weights.StateDict
	missing string
}

func (s *shapeReader) dim(name string, axis int) int {
	t, ok := s.src.Tensor(name)
	if ok && axis < len(t.Shape) {
		return t.Shape[axis]
	}
	if s.missing == "" {
		s.missing = name
	}
	return 0
}

// count is how many numbered modules there are below a prefix.
func (s *shapeReader) count(prefix string) int {
	seen := map[int]bool{}
	for _, name := range s.src.Names() {
		rest, ok := strings.CutPrefix(name, prefix)
		number, _, _ := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(number); ok && err == nil {
			seen[n] = true
		}
	}
	return len(seen)
}

// side returns the number of patches along one side of a square of n patches.
func side(n int) int { return int(math.Round(math.Sqrt(float64(max(0, n))))) }

package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// naflexRun is pictures that are preprocessed alike.
type naflexRun struct {
	MaxLength     int                 `json:"max_seq_len"`
	PatchSize     int                 `json:"patch_size"`
	Interpolation string              `json:"interpolation"`
	Mean          preprocess.Channels `json:"mean"`
	Std           preprocess.Channels `json:"std"`
	Images        []struct {
		File    string `json:"file"`
		Resized [2]int `json:"resized_wh"`
		Grid    [2]int `json:"grid_hw"`
	} `json:"images"`
}

func (r *naflexRun) transform() (*preprocess.Transform, error) {
	cfg := preprocess.DefaultConfig()
	cfg.Interpolation, cfg.Mean, cfg.Std = r.Interpolation, r.Mean, r.Std
	t, err := preprocess.New(cfg)
	if err != nil {
		return nil, err
	}
	return t.WithSequence(preprocess.Sequence{PatchSize: [2]int{r.PatchSize, r.PatchSize}, MaxLength: r.MaxLength})
}

// verifyNaFlexPreprocess compares the sizes that pictures of any size are resized to, their
// patches in bytes (outputs_u8.safetensors, "RUN.FILE"), and batches of them
// (outputs_f32.safetensors, "RUN.patches" and so on).
func verifyNaFlexPreprocess(ctx context.Context, c *testCase) error {
	var more struct {
		Runs  []naflexRun         `json:"runs"`
		Sizes [][]json.RawMessage `json:"sizes"`
	}
	if err := c.decode("meta.json", &more); err != nil {
		return err
	}
	if err := c.compareSequenceSizes(more.Sizes); err != nil {
		return err
	}
	bytes, err := c.open("outputs_u8.safetensors")
	if err != nil {
		return err
	}
	defer bytes.Close()
	floats, err := c.open("outputs_f32.safetensors")
	if err != nil {
		return err
	}
	defer floats.Close()
	for i := range more.Runs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.compareNaFlexRun(fmt.Sprintf("%d.", i), &more.Runs[i], bytes, floats); err != nil {
			return fmt.Errorf("run %d: %w", i, err)
		}
	}
	return nil
}

// compareSequenceSizes makes a row of how many sizes are wrong. Each is the height and
// width of a picture, the side of patches, the most of them and, of what it becomes, the
// height and width or a text that says why there is none.
func (c *testCase) compareSequenceSizes(sizes [][]json.RawMessage) error {
	wrong := 0
	for _, s := range sizes {
		var n [6]int
		if len(s) < 5 {
			return fmt.Errorf("meta.json: sizes: %s, want [h, w, patch, max_seq_len, new_h, new_w]", s)
		}
		for i := range n[:4] {
			if err := json.Unmarshal(s[i], &n[i]); err != nil {
				return fmt.Errorf("meta.json: sizes: %w", err)
			}
		}
		h, w, err := preprocess.Sequence{PatchSize: [2]int{n[2], n[2]}, MaxLength: n[3]}.Size(n[0], n[1])
		fails := len(s) == 5
		for i := 4; i < 6 && !fails; i++ {
			fails = json.Unmarshal(s[i], &n[i]) != nil
		}
		if fails != (err != nil) || !fails && (h != n[4] || w != n[5]) {
			wrong++
		}
	}
	c.add("sizes", float64(wrong), 0, fmt.Sprintf("%d pictures", len(sizes)))
	return nil
}

// compareNaFlexRun compares the patches of a run's pictures one by one, and its batch.
func (c *testCase) compareNaFlexRun(prefix string, run *naflexRun, bytes, floats weights.StateDict) error {
	tolerance, err := c.tolerance()
	if err != nil {
		return err
	}
	t, err := run.transform()
	if err != nil {
		return err
	}
	width := 3 * run.PatchSize * run.PatchSize
	var pictures []preprocess.Patched
	for _, image := range run.Images {
		img, err := preprocess.DecodeFile(c.path("png/" + image.File))
		if err != nil {
			return err
		}
		p, err := t.Patches(img)
		if err != nil {
			return fmt.Errorf("%s: %w", image.File, err)
		}
		pictures = append(pictures, p)
		size, got := [2]int{p.Grid[1] * run.PatchSize, p.Grid[0] * run.PatchSize}, p.RGB
		c.check(prefix+image.File+" size", size == image.Resized && p.Grid == image.Grid, fmt.Sprintf("%v", size))
		shape, want, err := readInts(bytes, prefix+image.File)
		if err != nil {
			return err
		}
		if !slices.Equal(shape, []int{len(got) / width, width}) {
			c.check(prefix+image.File, false, fmt.Sprintf("shape %v, want %v", []int{len(got) / width, width}, shape))
			continue
		}
		c.add(prefix+image.File, levels(len(want), func(j int) int64 { return want[j] - int64(got[j]) }), 0, "levels of 255")
	}
	batch, err := clip.PatchInputs(t, pictures, run.MaxLength)
	if err != nil {
		return err
	}
	for _, name := range []string{towers.Patches, towers.PatchCoord, towers.PatchValid} {
		if _, ok := floats.Tensor(prefix + name); !ok {
			continue
		}
		want, err := readTensor(floats, prefix+name)
		if err != nil {
			return err
		}
		c.compare(prefix+name, batch[name], want, tolerance)
	}
	return nil
}

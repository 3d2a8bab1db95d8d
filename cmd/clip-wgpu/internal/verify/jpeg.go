package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// verifyJPEG compares decoded files with bytes [height, width, 3].
func verifyJPEG(ctx context.Context, c *testCase) error {
	more := struct {
		MaxLevels float64 `json:"suggested_max_level_difference"`
	}{MaxLevels: 3}
	if err := c.decode("meta.json", &more); err != nil {
		return err
	}
	want, err := c.open("outputs_u8.safetensors")
	if err != nil {
		return err
	}
	defer want.Close()
	for _, name := range want.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := findFile(c.path("files"), name)
		if err != nil {
			return err
		}
		shape, pixels, err := readInts(want, name)
		if err != nil {
			return err
		}
		img, err := preprocess.DecodeFile(file)
		if err != nil {
			return err
		}
		if got := []int{img.Height(), img.Width(), 3}; !slices.Equal(got, shape) {
			c.check(name, false, fmt.Sprintf("size %v, want %v", got, shape))
			continue
		}
		rgb := img.RGB()
		worst := levels(len(pixels), func(i int) int64 { return pixels[i] - int64(rgb[i]) })
		c.add(name, worst, more.MaxLevels, "levels of 255")
	}
	return nil
}

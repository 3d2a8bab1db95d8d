package verify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// verifyJPEG compares decoded files with bytes [height, width, 3]. NAME@S is a file
// decoded to 1/S of its size.
func verifyJPEG(ctx context.Context, c *testCase) error {
	more := struct {
		MaxLevels float64 `json:"suggested_max_level_difference"`
	}{MaxLevels: 3}
	if err := c.decode("meta.json", &more); err != nil {
		return err
	}
	err := c.verifyJPEGs(ctx, "outputs_u8.safetensors", more.MaxLevels)
	if scaled := "outputs_scaled_u8.safetensors"; err == nil && c.has(scaled) {
		err = c.verifyJPEGs(ctx, scaled, more.MaxLevels)
	}
	return err
}

func (c *testCase) verifyJPEGs(ctx context.Context, outputs string, maxLevels float64) error {
	want, err := c.open(outputs)
	if err != nil {
		return err
	}
	defer want.Close()
	for _, name := range want.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		base, text, scaled := strings.Cut(name, "@")
		scale := 1
		if scaled {
			if scale, err = strconv.Atoi(text); err != nil {
				return err
			}
		}
		file, err := findFile(c.path("files"), base)
		if err != nil {
			return err
		}
		shape, pixels, err := readInts(want, name)
		if err != nil {
			return err
		}
		img, err := preprocess.DecodeFile(file, preprocess.WithScale(scale))
		if err != nil {
			return err
		}
		if got := []int{img.Height(), img.Width(), 3}; !slices.Equal(got, shape) {
			c.check(name, false, fmt.Sprintf("size %v, want %v", got, shape))
			continue
		}
		rgb := img.RGB()
		worst := levels(len(pixels), func(i int) int64 { return pixels[i] - int64(rgb[i]) })
		c.add(name, worst, maxLevels, "levels of 255")
	}
	return nil
}

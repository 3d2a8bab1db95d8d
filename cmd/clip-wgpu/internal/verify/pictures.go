package verify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// verifyPictures goes the whole way from the files of the folder that meta.json
// names as pictures, in order of name, and its labels, with the tokenizer and
// the preprocessing that the weights come with.
func (c *testCase) verifyPictures(ctx context.Context) error {
	var more struct {
		Pictures string   `json:"pictures"`
		Labels   []string `json:"labels"`
	}
	if err := c.decode("meta.json", &more); err != nil || more.Pictures == "" || len(more.Labels) == 0 {
		return err
	}
	m, err := c.loadFrom(ctx, c.path(c.meta.ModelFrom), nil)
	if err != nil {
		return err
	}
	defer m.Close()
	files, err := filesIn(c.path(more.Pictures))
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return !slices.Contains(pictureTypes, strings.ToLower(filepath.Ext(f))) })
	const prefix = "pictures → "
	in, err := c.prepare(m, prefix, files, more.Labels)
	if err != nil || !c.has("outputs.safetensors") {
		return err
	}
	return c.compareOutputs(ctx, prefix, &forward{m: m, inputs: in})
}

// pictureTypes end the names of pictures.
var pictureTypes = []string{".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}

// filesIn lists a folder's files in order of name.
func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// findFile returns the file of a folder whose name without extension is stem.
func findFile(dir, stem string) (string, error) {
	files, err := filesIn(dir)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(files, func(f string) bool {
		base := filepath.Base(f)
		return strings.TrimSuffix(base, filepath.Ext(base)) == stem
	})
	if i < 0 {
		return "", fmt.Errorf("%s: there is no picture %q", dir, stem)
	}
	return files[i], nil
}

// prepare preprocesses pictures and tokenizes labels, and compares both with
// inputs.safetensors, which also stands in for those that there are none of.
func (c *testCase) prepare(m *clip.Model, prefix string, files, labels []string) (inputs, error) {
	var want inputs
	if c.has("inputs.safetensors") {
		var err error
		if want, err = c.inputs("inputs.safetensors"); err != nil {
			return inputs{}, err
		}
	}
	in := want
	if len(files) > 0 {
		images, err := pixels(m, files)
		if err != nil {
			return inputs{}, err
		}
		in.images = &images
		if want.images != nil {
			c.compare(prefix+"image", images, *want.images, pixelTolerance)
		}
	}
	if len(labels) > 0 {
		texts, err := m.Tokenizer().Tokenize(labels, m.Config().TextCfg.ContextLength)
		if err != nil {
			return inputs{}, err
		}
		in.texts = texts
		if want.texts != nil {
			c.compareTokens(prefix+"text", in.texts, want.texts)
		}
	}
	return in, nil
}

// pixels preprocesses files for a model.
func pixels(m *clip.Model, files []string) (clip.Array, error) {
	size := m.Config().VisionCfg.ImageSize
	images := clip.Array{Shape: []int{len(files), 3, size[0], size[1]}}
	for _, file := range files {
		img, err := preprocess.DecodeFile(file)
		if err != nil {
			return clip.Array{}, err
		}
		x, err := m.Preprocess().Apply(img)
		if err != nil {
			return clip.Array{}, fmt.Errorf("%s: %w", file, err)
		}
		images.Data = append(images.Data, x...)
	}
	return images, nil
}

// compareTokens makes one row; its error is the number of wrong rows of ids.
func (c *testCase) compareTokens(name string, got, want [][]int32) {
	wrong := max(len(got), len(want)) - min(len(got), len(want))
	for i := range min(len(got), len(want)) {
		if !slices.Equal(got[i], want[i]) {
			wrong++
		}
	}
	c.add(name, float64(wrong), 0, fmt.Sprintf("%d texts", len(want)))
}

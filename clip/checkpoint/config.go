package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const (
	openCLIPConfig       = "open_clip_config.json"
	huggingFaceConfig    = "config.json" // also the name of bare ones in open_clip's form
	huggingFaceProcessor = "preprocessor_config.json"
)

// configuration is what must be known of weights before they are a model.
type configuration struct {
	model      config.Config
	preprocess *preprocess.Config // nil where nothing says it
	guess      *preprocess.Config // what it is then, where something hints at it
	quick      string             // the name of the same model with QuickGELU, where a name without was given
	ignored    []string           // warnings about keys that open_clip ignores
}

// readConfig finds the model's and the preprocessing's configuration.
func (c *files) readConfig(o *Options) error {
	found, err := c.findConfig(o)
	if err != nil {
		return err
	}
	c.config = found.model
	c.warnings = append(c.warnings, found.ignored...)
	switch {
	case c.config.QuickGELU:
	case c.layout == weights.OpenAI:
		c.config.QuickGELU = true
		c.warn("quick_gelu is on, as in all of OpenAI's models, though the config has it off")
	case found.quick != "":
		c.warn("assumed quick_gelu off; weights that were trained with it want config %s", found.quick)
	}
	if lacksTokenizer(&c.config.TextCfg) {
		c.warn(tokenizerMissing)
	}
	c.stored = c.config
	o.Resize(&c.config)
	if err := models.Check(&c.config); err != nil {
		return err
	}
	if err := c.findPreprocessing(&found); err != nil {
		return err
	}
	c.transform, err = newTransform(*found.preprocess, &c.config)
	return err
}

func (c *files) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// findConfig takes an option's config, that beside the weights or, for OpenAI's
// weights, the one that their shapes tell.
func (c *files) findConfig(o *Options) (configuration, error) {
	switch {
	case o.ConfigFrom != "":
		return configFrom(o.ConfigFrom)
	case o.Config != nil:
		return configuration{model: *o.Config}, nil
	}
	for _, name := range []string{openCLIPConfig, huggingFaceConfig} {
		data, err := readSmall(c.dir, c.folder(), name, maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return configuration{}, err
		}
		return parseConfiguration(filepath.Join(c.folder(), name), data)
	}
	absent := fmt.Errorf("%s: %w: no open_clip_config.json in the folder of the weights, and no config given", c.name, fs.ErrNotExist)
	if c.layout != weights.OpenAI {
		return configuration{}, absent
	}
	model, err := config.FromOpenAI(c.src)
	if err == nil {
		err = models.Check(&model)
	}
	if err != nil {
		return configuration{}, fmt.Errorf("%w: %w", absent, err)
	}
	return configuration{model: model}, nil
}

// Bounds, in bytes, of the files that describe a model.
const (
	maxConfig        = 16 << 20 // open_clip's have less than 2 KB, Hugging Face's less than 20
	maxTokenizerFile = 64 << 20 // Gemma's has 34 MB
)

// readSmall reads a file that describes a model in dir, which is a folder.
func readSmall(dir fs.FS, folder, name string, limit int64) ([]byte, error) {
	data, err := smallfile.ReadFS(dir, name, limit)
	if err == nil {
		return data, nil
	}
	var pathErr *fs.PathError // which has the name without the folder
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return nil, fmt.Errorf("%s: %w", filepath.Join(folder, name), err)
}

// configFrom reads the config that Options.ConfigFrom names.
func configFrom(source string) (configuration, error) {
	if info, err := os.Stat(source); err == nil && !info.IsDir() {
		folder, name := filepath.Split(source)
		data, err := readSmall(os.DirFS(filepath.Clean(folder)), folder, name, maxConfig)
		if err != nil {
			return configuration{}, err
		}
		return parseConfiguration(source, data)
	}
	known, err := models.Find(source)
	if err != nil {
		return configuration{}, fmt.Errorf("config %s: no such file, and %w", source, err)
	}
	found := configuration{guess: known.Preprocess()}
	if found.model, err = known.Config(); err != nil {
		return found, err
	}
	if quick, err := models.Find(known.Name + "-quickgelu"); err == nil {
		found.quick = quick.Name
	}
	return found, nil
}

// parseConfiguration reads a config with its preprocess_cfg. A file of
// open_clip's name without one means its defaults.
func parseConfiguration(file string, data []byte) (configuration, error) {
	var found configuration
	pp := preprocess.DefaultConfig()
	model, ppJSON, err := models.Parse(data)
	if err == nil && ppJSON != nil {
		err = json.Unmarshal(ppJSON, &pp)
	}
	if err == nil {
		err = pp.Validate()
	}
	if err != nil {
		return configuration{model: model}, fmt.Errorf("%s: %w", file, err)
	}
	found.ignored = append(check.Ignored(filepath.Base(file), besideModel(data)), check.Ignored("preprocess_cfg", preprocess.UnknownKeys(ppJSON))...)
	found.model = model
	if ppJSON != nil || filepath.Base(file) == openCLIPConfig {
		found.preprocess = &pp
	}
	return found, nil
}

// besideModel returns the keys of an open_clip_config.json beside the two sections
// that open_clip reads, in ascending order. It returns none for other configs.
func besideModel(data []byte) []string {
	var sections map[string]json.RawMessage
	if json.Unmarshal(data, &sections) != nil || sections["model_cfg"] == nil {
		return nil
	}
	delete(sections, "model_cfg")
	delete(sections, "preprocess_cfg")
	return slices.Sorted(maps.Keys(sections))
}

// findPreprocessing takes Hugging Face's preprocessor_config.json, or what all of
// OpenAI's models have, where the config does not say it, or else assumes what
// most models have.
func (c *files) findPreprocessing(found *configuration) error {
	if found.preprocess != nil {
		return nil
	}
	data, err := readSmall(c.dir, c.folder(), huggingFaceProcessor, maxConfig)
	if err == nil {
		pp, err := preprocess.FromHuggingFace(data)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(c.folder(), huggingFaceProcessor), err)
		}
		found.preprocess = &pp
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	pp := preprocess.DefaultConfig()
	switch {
	case c.layout == weights.OpenAI:
		found.preprocess = &pp
		return nil
	case found.guess != nil:
		pp = *found.guess
	case c.layout.Preprocess != "":
		if err := json.Unmarshal([]byte(c.layout.Preprocess), &pp); err != nil {
			return err
		}
	}
	c.assumed = fmt.Sprintf("assumed preprocessing, which nothing beside the weights says: resize_mode %s, interpolation %s, mean %v, std %v",
		pp.ResizeMode, pp.Interpolation, pp.Mean, pp.Std)
	found.preprocess = &pp
	return nil
}

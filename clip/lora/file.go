package lora

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// The files of an adapter, as PEFT calls them.
const (
	configFile  = "adapter_config.json"
	weightsFile = "adapter_model.safetensors"
)

// maxConfig is the most bytes that adapter_config.json has.
const maxConfig = 16 << 20

// savedConfig is adapter_config.json. The fields but Config's are those that PEFT wants, and
// those that would change what an adapter does.
type savedConfig struct {
	Config
	Type         string         `json:"peft_type"`
	Base         string         `json:"base_model_name_or_path"`
	Bias         string         `json:"bias"`
	DoRA         bool           `json:"use_dora"`
	FanInFanOut  bool           `json:"fan_in_fan_out"`
	Inference    bool           `json:"inference_mode"`
	Init         any            `json:"init_lora_weights"` // true, or a name
	RankPattern  map[string]any `json:"rank_pattern"`
	AlphaPattern map[string]any `json:"alpha_pattern"`
	SavedModules []string       `json:"modules_to_save"`
}

// newBase tells whether PEFT changes the model's weights, too, when it makes or loads such
// an adapter: PiSSA, OLoRA, CorDA, LoftQ and the like.
func (c savedConfig) newBase() bool {
	name, _ := c.Init.(string)
	return !slices.Contains([]string{"", "gaussian", "eva", "orthogonal"}, name)
}

// unsupported names what of a config is not done here.
func (c savedConfig) unsupported() error {
	for name, is := range map[string]bool{
		"peft_type " + c.Type: c.Type != "LORA", "use_dora": c.DoRA, "bias " + c.Bias: c.Bias != "" && c.Bias != "none",
		"fan_in_fan_out": c.FanInFanOut, "rank_pattern": len(c.RankPattern) > 0, "alpha_pattern": len(c.AlphaPattern) > 0,
		"modules_to_save": len(c.SavedModules) > 0, fmt.Sprintf("init_lora_weights %v", c.Init): c.newBase(),
	} {
		if is {
			return fmt.Errorf("%w: %s is not supported", ErrAdapter, name)
		}
	}
	return nil
}

// Save writes the adapters in PEFT's layout into a folder that exists: adapter_model.safetensors
// in f32, then adapter_config.json. values gives a parameter's values; nil means its source.
// base is the model's name.
func (a *Adapter) Save(folder, base string, values func(p *graph.Param) graph.Source) error {
	var records []weights.Record
	for name, p := range a.Parameters() {
		source := p.Source
		if values != nil {
			source = values(p)
		}
		records = append(records, weights.Record{Name: name, DType: weights.F32, Shape: p.Shape, ReadF32: source.ReadF32})
	}
	if err := weights.Save(filepath.Join(folder, weightsFile), records, weights.SaveOptions{Metadata: map[string]string{"format": "pt"}}); err != nil {
		return err
	}
	content, err := json.MarshalIndent(savedConfig{Config: a.Config, Type: "LORA", Base: base, Bias: "none", Inference: true, Init: true}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(folder, configFile), append(content, '\n'), true)
}

// Load gives the weights below tree, the Tree of a model that has not computed yet, the
// adapters in a folder of PEFT's layout. Those of another model give ErrAdapter, which names
// the first tensor that differs; files that are damaged give the errors of package weights.
func Load(tree any, folder string) (*Adapter, error) {
	path := filepath.Join(folder, configFile)
	content, err := smallfile.Read(path, maxConfig)
	var c savedConfig
	if err == nil {
		err = json.Unmarshal(content, &c)
	}
	var system *fs.PathError
	if errors.As(err, &system) {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrAdapter, err)
	}
	a, err := load(tree, c, filepath.Join(folder, weightsFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return a, nil
}

func load(tree any, c savedConfig, path string) (*Adapter, error) {
	err := c.unsupported()
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, err
	}
	file, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	targets, _, err := choose(tree, c.Targets)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Config: c.Config}
	known := map[string]bool{}
	read := func(name string, shape ...int) (*graph.Param, error) {
		known[name] = true
		t, ok := file.Tensor(name)
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: it has no tensor %s", ErrAdapter, name)
		case !slices.Equal(t.Shape, shape):
			return nil, fmt.Errorf("%w: tensor %s is %v, and the model's is %v", ErrAdapter, name, t.Shape, shape)
		case !t.DType.IsFloat():
			return nil, fmt.Errorf("%w: tensor %s is %v, want a type of real numbers", ErrAdapter, name, t.DType)
		}
		values := make(layers.Values, t.Len()) // small, and so the file need not stay open
		return layers.NewParam(values, shape...), readFinite(values, name, t)
	}
	for _, t := range targets {
		out, in := t.weight.Matrix()
		p := &pair{module: t.module, weight: t.weight, scale: c.scale(t.module), dropout: c.Dropout}
		var errA, errB error
		p.A, errA = read(prefix+t.module+".lora_A.weight", c.Rank, in)
		p.B, errB = read(prefix+t.module+".lora_B.weight", out, c.Rank)
		if err := cmp.Or(errA, errB); err != nil {
			return nil, err
		}
		p.A.Name, p.B.Name = t.name+".lora_A", t.name+".lora_B"
		a.pairs = append(a.pairs, p)
	}
	for _, name := range file.Names() {
		if !known[name] {
			return nil, fmt.Errorf("%w: the model has no place for tensor %s", ErrAdapter, name)
		}
	}
	a.attach(tree)
	return a, nil
}

// readFinite reads a tensor, which may have no NaN and nothing infinite.
func readFinite(values layers.Values, name string, t weights.Stored) error {
	if err := t.ReadF32(values, 0); err != nil {
		return err
	}
	for _, v := range values {
		if v-v != 0 {
			return fmt.Errorf("%w: tensor %s has a value of %v, want numbers", ErrAdapter, name, v)
		}
	}
	return nil
}

// merged is a weight with what its adapter adds.
type merged struct {
	weight graph.Source
	a, b   []float32
	rank   int
	in     int
	scale  float64
}

// ReadF32 implements graph.Source.
func (m merged) ReadF32(dst []float32, offset int) error {
	if err := m.weight.ReadF32(dst, offset); err != nil {
		return err
	}
	for i := range dst {
		row, col := (offset+i)/m.in, (offset+i)%m.in
		sum := 0.0
		for r := range m.rank {
			sum += float64(m.b[row*m.rank+r]) * float64(m.a[r*m.in+col])
		}
		dst[i] += float32(m.scale * sum)
	}
	return nil
}

// Merged gives the values of a parameter of the model with what its adapter adds, for a
// checkpoint that needs no adapter: W + scale · B · A. values gives those of parameters; nil
// means their sources. Of the adapters' own parameters it gives nil.
func (a *Adapter) Merged(p *graph.Param, values func(p *graph.Param) graph.Source) (graph.Source, error) {
	if values == nil {
		values = func(p *graph.Param) graph.Source { return p.Source }
	}
	for _, q := range a.pairs {
		switch p {
		case q.A, q.B:
			return nil, nil
		case q.weight.Param:
			m := merged{weight: values(p), a: make([]float32, q.A.Shape.Elems()), b: make([]float32, q.B.Shape.Elems()), rank: a.Config.Rank, in: q.A.Shape[1], scale: q.scale}
			return m, cmp.Or(values(q.A).ReadF32(m.a, 0), values(q.B).ReadF32(m.b, 0))
		}
	}
	return values(p), nil
}

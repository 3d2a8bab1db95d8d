package verify

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
)

// tableMakers make the tables whose names start so, the first that fits. rest is what
// follows in the name.
var tableMakers = []struct {
	prefix string
	values func(rest string, t *table) ([]float32, error)
}{
	{"rope.modernbert.", modernBertRope},
	{"modernbert.layer_types", modernBertLayerTypes},
	{"rope.", trunkRope},
	{"sinusoid.nllb", nllbSinusoids},
	{"t5.buckets", t5Buckets},
	{"swin.relative_position_index", swinIndex},
	{"swin.attn_mask", swinMask},
	{"relpos.rel_coords_log", relPosCoords},
	{"relpos.index", relPosIndex},
	{"naflex_pos.", naflexPositions},
}

// The models whose tables have names of their own.
const (
	modernBertModel = "gte-modernbert-base-ViT-B-32-256"
	nllbModel       = "nllb-clip-base"
	mt5Model        = "mt5-base-ViT-B-32"
	swinModel       = "swin_base_patch4_window7_224"
	relPosModel     = "vit_relpos_medium_patch16_cls_224"
)

func buildModel(name string) (*towers.Model, error) {
	c, err := models.Config(name)
	if err != nil {
		return nil, err
	}
	return towers.Build(c)
}

// withTrunk is the config of the first of open_clip's models whose image tower is the trunk
// of timm's with that name.
func withTrunk(name string) (config.Config, error) {
	for _, model := range models.Names() {
		if c, err := models.Config(model); err == nil && c.VisionCfg.TimmName() == name {
			return c, nil
		}
	}
	return config.Config{}, fmt.Errorf("none of open_clip's models has the trunk %q", name)
}

// ofImages evaluates tensors that the image tower taps below visual.trunk, for a batch of
// one and with the values that parameters start with.
func ofImages(m *towers.Model, b towers.Batch, names ...string) ([]clip.Array, error) {
	g := graph.New()
	m.RecordImages(g, 1, b.Length)
	if err := g.Err(); err != nil {
		return nil, err
	}
	var wanted []graph.Tensor
	for _, name := range names {
		t, ok := g.Tapped("visual.trunk." + name)
		if !ok {
			return nil, fmt.Errorf("the tower of this model has no %s", name)
		}
		wanted = append(wanted, t)
	}
	p, err := g.Build(wanted...)
	if err != nil {
		return nil, err
	}
	state := map[*graph.State][]float64{}
	for s, param := range p.Params {
		values := make([]float32, s.Shape.Elems())
		if err := param.Source.ReadF32(values, 0); err != nil {
			return nil, err
		}
		state[s] = convert[float64](values)
	}
	inputs := map[string][]float64{}
	for name, values := range b.Feed(0, 1) {
		inputs[name] = convert[float64](values.([]float32))
	}
	values, err := g.Eval(inputs, state, wanted...)
	if err != nil {
		return nil, err
	}
	out := make([]clip.Array, len(values))
	for i, v := range values {
		out[i] = clip.Array{Shape: wanted[i].Shape(), Data: convert[float32](v)}
	}
	return out, nil
}

func convert[To, From float32 | float64](x []From) []To {
	y := make([]To, len(x))
	for i, v := range x {
		y[i] = To(v)
	}
	return y
}

// tapped is ofImages for a model as it is published.
func tapped(model string, names ...string) ([]clip.Array, error) {
	m, err := buildModel(model)
	if err != nil {
		return nil, err
	}
	return ofImages(m, m.Visual.Example(1), names...)
}

// maxText bounds the tokens of a text: of some inputs there is one for each pair of them.
const maxText = 4096

// textInput is what the text tower of a model is given as one of its inputs, for a text of
// length tokens without padding.
func textInput[T any](model, input string, length int) ([]T, error) {
	if length < 1 || length > maxText {
		return nil, fmt.Errorf("a text of %d tokens, want 1 to %d", length, maxText)
	}
	m, err := buildModel(model)
	if err != nil {
		return nil, err
	}
	const word = 2 // which no model takes for padding
	b, err := m.Text.Texts([][]int32{slices.Repeat([]int32{word}, length)}, false)
	if err != nil {
		return nil, err
	}
	values, ok := b.Feed(0, 1)[input].([]T)
	if !ok {
		return nil, fmt.Errorf("the text tower of %s takes no %s", model, input)
	}
	return values, nil
}

// trunkRope writes the angles of the patches, a cosine and a sine for each pair of columns,
// as timm has them: the sines of all columns, and then the cosines.
func trunkRope(trunk string, t *table) ([]float32, error) {
	c, err := withTrunk(trunk)
	if err != nil {
		return nil, err
	}
	m, err := towers.Build(c)
	if err != nil {
		return nil, err
	}
	x, err := ofImages(m, m.Visual.Example(1), "rope")
	if err != nil {
		return nil, err
	}
	head := x[0].Shape[1]
	patches := x[0].Data[max(0, x[0].Shape[0]-t.Shape[0])*head:] // behind the class token
	var out []float32
	for row := range slices.Chunk(patches, head) {
		for _, part := range []int{1, 0} {
			for i := range row {
				out = append(out, row[i&^1+part])
			}
		}
	}
	return out, nil
}

// modernBertRope writes the angles as transformers has them: the cosines of all pairs of
// columns twice, and then the sines.
func modernBertRope(attention string, t *table) ([]float32, error) {
	input, ok := map[string]string{"full_attention": "global_angles", "sliding_attention": "local_angles"}[attention]
	if !ok {
		return nil, fmt.Errorf("%q is neither full_attention nor sliding_attention", attention)
	}
	angles, err := textInput[float32](modernBertModel, input, t.Shape[0])
	if err != nil {
		return nil, err
	}
	var out []float32
	for row := range slices.Chunk(angles, len(angles)/t.Shape[0]) {
		for _, part := range []int{0, 0, 1, 1} {
			for i := part; i < len(row); i += 2 {
				out = append(out, row[i])
			}
		}
	}
	return out, nil
}

var inLayer = regexp.MustCompile(`transformer\.layers\.(\d+)\.`)

// modernBertLayerTypes has 1 for each layer that reads the angles of full attention.
func modernBertLayerTypes(string, *table) ([]float32, error) {
	m, err := buildModel(modernBertModel)
	if err != nil {
		return nil, err
	}
	g := graph.New()
	p, err := g.Build(m.RecordTexts(g, 1, m.Lengths().Text)[towers.Features])
	if err != nil {
		return nil, err
	}
	types := make([]float32, m.Text.Depth())
	for _, step := range p.Steps {
		layer := inLayer.FindStringSubmatch(step.Scope + ".")
		if layer == nil {
			continue
		}
		for _, slot := range step.Slots {
			if slot.Space == graph.SpaceInput && p.Inputs[slot.Index].Name == "global_angles" {
				i, _ := strconv.Atoi(layer[1])
				types[i] = 1
			}
		}
	}
	return types, nil
}

// nllbSinusoids puts the row of position 0, which no token takes, before those that a text
// is given: the angle 0.
func nllbSinusoids(_ string, t *table) ([]float32, error) {
	rows, err := textInput[float32](nllbModel, "sinusoids", t.Shape[0]-2)
	if err != nil {
		return nil, err
	}
	half := t.width() / 2
	return slices.Concat(make([]float32, half), slices.Repeat([]float32{1}, half), rows), nil
}

// t5Buckets has the buckets of distances of keys from a query.
func t5Buckets(_ string, t *table) ([]float32, error) {
	first, last, step := t.Relative[0], t.Relative[1], t.Relative[2]
	if step < 1 || first > last || first < -maxText || last > maxText {
		return nil, fmt.Errorf("relative is %v, want a first distance, a last and a step", t.Relative)
	}
	length := 1 + max(first, -first, last, -last)
	buckets, err := textInput[int32](mt5Model, "buckets", length)
	if err != nil {
		return nil, err
	}
	var out []float32
	for d := first; d <= last; d += step {
		query, key := max(0, -d), max(0, d)
		out = append(out, float32(buckets[query*length+key]))
	}
	return out, nil
}

func swinIndex(_ string, t *table) ([]float32, error) {
	const block = "layers.0.blocks.0.attn."
	x, err := tapped(swinModel, block+"relative_position_bias_table", block+"relative_position_bias")
	if err != nil {
		return nil, err
	}
	return biasIndex(x[0], x[1], t)
}

func relPosIndex(_ string, t *table) ([]float32, error) {
	const block = "blocks.0.attn."
	x, err := tapped(relPosModel, block+"rel_pos.mlp", block+"rel_pos")
	if err != nil {
		return nil, err
	}
	return biasIndex(x[0], x[1], t)
}

// biasIndex finds which row of a table [offsets, heads] each bias [1, heads, tokens, tokens]
// of the first head is. Tokens before the patches, of which there are as many more than t
// has, have no bias.
func biasIndex(offsets, biases clip.Array, t *table) ([]float32, error) {
	rows, heads := map[float32]float32{}, offsets.Shape[1]
	for i := range offsets.Shape[0] {
		rows[offsets.Data[i*heads]] = float32(i)
	}
	if len(rows) != offsets.Shape[0] {
		return nil, fmt.Errorf("two offsets of the tower start with the same bias")
	}
	tokens := biases.Shape[2]
	prefix := max(0, tokens-int(math.Sqrt(float64(t.elems()))))
	var out []float32
	for q := prefix; q < tokens; q++ {
		for k := prefix; k < tokens; k++ {
			row, ok := rows[biases.Data[q*tokens+k]]
			if !ok {
				return nil, fmt.Errorf("the bias of token %d for %d is in no row", k, q)
			}
			out = append(out, row)
		}
	}
	return out, nil
}

// swinMask is the mask of a shifted image's last window. The first window has the same
// biases and no mask, since the shift joins nothing in it: so the mask is the difference.
func swinMask(string, *table) ([]float32, error) {
	x, err := tapped(swinModel, "layers.0.blocks.1.attn.relative_position_bias")
	if err != nil {
		return nil, err
	}
	biases := x[0] // [windows, heads, tokens, tokens]
	window := biases.Shape[1] * biases.Shape[2] * biases.Shape[3]
	last := biases.Data[len(biases.Data)-window:]
	out := make([]float32, biases.Shape[2]*biases.Shape[3])
	for i := range out {
		out[i] = last[i] - biases.Data[i]
	}
	return out, nil
}

func relPosCoords(string, *table) ([]float32, error) {
	x, err := tapped(relPosModel, "blocks.0.attn.rel_pos.mlp.coords")
	if err != nil {
		return nil, err
	}
	return x[0].Data, nil
}

// sines is the table of positions of which naflex_pos tables are made.
type sines struct{}

// ReadF32 implements graph.Source.
func (sines) ReadF32(dst []float32, offset int) error {
	for i := range dst {
		dst[i] = float32(math.Sin(0.1 * float64(offset+i)))
	}
	return nil
}

const maxGrid = 128

// naflexPositions is what a trunk's embedding of a black picture whose patches have no bias
// adds to its patches: their positions. name ends in the picture's grid.
func naflexPositions(name string, t *table) ([]float32, error) {
	trunk, size, _ := strings.Cut(name, ".")
	var grid config.Size
	if n, _ := fmt.Sscanf(size, "%dx%d", &grid[0], &grid[1]); n != 2 || min(grid[0], grid[1]) < 1 || max(grid[0], grid[1]) > maxGrid {
		return nil, fmt.Errorf("want the name of a trunk and a grid HxW of up to %d rows and columns", maxGrid)
	}
	c, _, err := models.Parse(fmt.Appendf(nil, `{"embed_dim": %d, "text_cfg": {}, "vision_cfg": {"timm_model_name": %q, "timm_proj": "linear",
		"timm_model_kwargs": {"embed_dim": %[1]d, "num_heads": 1, "depth": 1}}}`, t.width(), trunk))
	if err != nil {
		return nil, err
	}
	m, err := towers.Build(c)
	if err != nil {
		return nil, err
	}
	for name, p := range m.Parameters() {
		switch name {
		case "visual.trunk.embeds.pos_embed":
			p.Source = sines{}
		case "visual.trunk.embeds.proj.bias":
			p.Source = layers.Constant(0)
		}
	}
	patch, _, ok := towers.Sequence(&c)
	if !ok {
		return nil, fmt.Errorf("trunk %q takes images of one size", trunk)
	}
	shape := []int{1, 3, grid[0] * patch[0], grid[1] * patch[1]}
	b, err := m.Visual.Images(map[string]towers.Array{towers.Image: {Shape: shape, Data: make([]float32, 3*shape[2]*shape[3])}})
	if err != nil {
		return nil, err
	}
	x, err := ofImages(m, b, "embeds")
	if err != nil {
		return nil, err
	}
	return x[0].Data[max(0, len(x[0].Data)-grid[0]*grid[1]*t.width()):], nil // behind the registers
}

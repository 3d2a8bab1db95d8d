package towers

import (
	"math"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
)

// allOptions is a model with every kind of parameter, wide enough for statistics.
const allOptions = `{"embed_dim": 96, "custom_text": true, "init_logit_scale": 2.5, "init_logit_bias": -10,
	"vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "head_width": 32, "patch_size": 8, "ls_init_value": 0.1, "attentional_pool": true,
		"attn_pooler_queries": 40, "attn_pooler_heads": 4, "scaled_cosine_attn": true, "scale_heads": true, "scale_attn_inner": true, "scale_attn": true, "scale_fc": true},
	"text_cfg": {"context_length": 24, "vocab_size": 300, "width": 128, "heads": 4, "layers": 3, "embed_cls": true, "proj_bias": true, "qk_norm": true}}`

// values reads all parameters as New initialises them from seed.
func values(t *testing.T, c config.Config, seed uint64) map[string][]float32 {
	t.Helper()
	m, err := Build(c)
	require.NoError(t, err)
	all := map[string][]float32{}
	for name, p := range m.Parameters() {
		layers.Seed(p, seed)
		all[name] = make([]float32, p.Shape.Elems())
		require.NoError(t, p.Source.ReadF32(all[name], 0))
	}
	return all
}

// The distributions that init_parameters of open_clip's transformer.py and the
// defaults of torch's modules give, by the shortest pattern that tells them apart.
func TestInitialisationIsOpenCLIPs(t *testing.T) {
	const width, embed, textLayers = 128., 96., 3.
	kaiming := func(fanIn float64) rule { return uniform(1 / math.Sqrt(fanIn)) }
	xavier := func(out, in float64) rule { return uniform(math.Sqrt(6 / (out + in))) }
	attn, proj := math.Pow(width, -0.5), math.Pow(width, -0.5)*math.Pow(2*textLayers, -0.5)
	block := "transformer.resblocks.*."
	rules := []struct {
		pattern string
		want    rule
	}{
		{"logit_scale", constant(2.5)},
		{"logit_bias", constant(-10)},
		{"visual.class_embedding", normal(attn)},
		{"visual.positional_embedding", normal(attn)},
		{"visual.proj", normal(attn)},
		{"visual.conv1.weight", kaiming(3 * 8 * 8)},
		{"visual.attn_pool.query", normal(1)},
		{"visual.attn_pool.attn.q_proj_weight", xavier(embed, embed)},
		{"visual.attn_pool.attn.[kv]_proj_weight", xavier(embed, width)},
		{"visual.attn_pool.attn.out_proj.weight", kaiming(embed)},
		{"visual." + block + "attn.in_proj_weight", xavier(3*width, width)},
		{"visual." + block + "attn.out_proj.weight", kaiming(width)},
		{"visual." + block + "attn.logit_scale", constant(math.Log(10))},
		{"visual." + block + "attn.head_scale", constant(1)},
		{"visual." + block + "ls_[12].gamma", constant(0.1)},
		{"text.token_embedding.weight", normal(0.02)},
		{"text.positional_embedding", normal(0.01)},
		{"text.cls_emb", normal(0.01)},
		{"text.text_projection.weight", normal(attn)},
		{"text.text_projection.bias", constant(0)},
		{"text." + block + "attn.in_proj_weight", normal(attn)},
		{"text." + block + "attn.out_proj.weight", normal(proj)},
		{"text." + block + "mlp.c_fc.weight", normal(math.Pow(2*width, -0.5))},
		{"text." + block + "mlp.c_proj.weight", normal(proj)},
		{"*." + block + "mlp.c_fc.*", kaiming(width)},
		{"*." + block + "mlp.c_proj.*", kaiming(4 * width)},
		{"*attn.in_proj_bias", constant(0)},
		{"*attn.out_proj.bias", constant(0)},
		{"*ln*.weight", constant(1)},
		{"*ln*.bias", constant(0)},
	}
	checkInitialisation(t, allOptions, rules)
}

// The same of open_clip's modified_resnet.py, whose image tower alone is checked.
func TestModifiedResNetInitialisation(t *testing.T) {
	const members = `{"embed_dim": 96, "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "head_width": 64, "patch_size": null},
		"text_cfg": {"context_length": 8, "vocab_size": 90, "width": 64, "heads": 1, "layers": 1}}`
	kaiming := func(fanIn float64) rule { return uniform(1 / math.Sqrt(fanIn)) }
	checkInitialisation(t, members, []struct {
		pattern string
		want    rule
	}{
		{"visual.conv1.weight", kaiming(3 * 9)},
		{"visual.conv[23].weight", kaiming(4 * 9)},
		{"visual.layer1.0.conv1.weight", kaiming(8)},
		{"visual.layer4.0.conv2.weight", kaiming(64 * 9)},
		{"visual.layer4.0.conv3.weight", kaiming(64)},
		{"visual.layer4.0.downsample.0.weight", kaiming(128)},
		{"visual.layer[1-4].[01].*conv?.weight", rule{std: -1}},
		{"visual.layer[1-4].0.downsample.0.weight", rule{std: -1}},
		{"visual.layer[1-4].[01].bn3.weight", constant(0)},
		{"visual.*bn?.weight", constant(1)},
		{"visual.layer[1-4].0.downsample.1.weight", constant(1)},
		{"visual.*running_var", constant(1)},
		{"visual.*running_mean", constant(0)},
		{"visual.*num_batches_tracked", constant(0)},
		{"visual.*bn?.bias", constant(0)},
		{"visual.*downsample.1.bias", constant(0)},
		{"visual.attnpool.positional_embedding", normal(1 / 16.)},
		{"visual.attnpool.[qkvc]_proj.weight", normal(1 / 16.)},
		{"visual.attnpool.[qkvc]_proj.bias", kaiming(256)},
		{"[^v]*", rule{std: -1}},
	})
}

// checkInitialisation tries the rules in their order; those of a negative
// deviation pass everything.
func checkInitialisation(t *testing.T, members string, rules []struct {
	pattern string
	want    rule
}) {
	t.Helper()
	used := map[string]bool{}
	for name, x := range values(t, parse(t, []byte(members)), 7) {
		found := false
		for _, r := range rules {
			if ok, err := path.Match(r.pattern, name); ok && err == nil {
				if r.want.std >= 0 {
					r.want.check(t, name, x)
				}
				used[r.pattern], found = true, true
				break
			}
		}
		assert.True(t, found, "no rule for %s", name)
	}
	for _, r := range rules {
		assert.True(t, used[r.pattern], "%s matches no parameter", r.pattern)
	}
}

// rule is a distribution by its standard deviation, its largest magnitude and
// its kurtosis, E[x⁴]/std⁴. A constant has its value as bound.
type rule struct{ std, bound, kurtosis float64 }

func constant(v float64) rule  { return rule{bound: v} }
func normal(std float64) rule  { return rule{std, math.Inf(1), 3} }
func uniform(max float64) rule { return rule{max / math.Sqrt(3), max, 1.8} }

func (r rule) check(t *testing.T, name string, x []float32) {
	t.Helper()
	if r.std == 0 {
		for _, v := range x {
			require.Equal(t, float32(r.bound), v, name)
		}
		return
	}
	var mean, square, fourth, most float64
	for _, v := range x {
		v := float64(v)
		mean += v
		square += v * v
		fourth += v * v * v * v
		most = max(most, math.Abs(v))
	}
	n := float64(len(x))
	mean, square, fourth = mean/n, square/n, fourth/n
	// Five standard errors: of the mean, of the variance, and of the kurtosis
	// (96/n for a normal distribution, less for a uniform one).
	assert.InDelta(t, 0, mean/r.std, 5/math.Sqrt(n), "mean of %s", name)
	assert.InDelta(t, 1, square/(r.std*r.std), 5*math.Sqrt((r.kurtosis-1)/n), "variance of %s", name)
	assert.InDelta(t, r.kurtosis, fourth/math.Pow(r.std, 4), 5*math.Sqrt(96/n), "kurtosis of %s", name)
	assert.LessOrEqual(t, most, r.bound*(1+1e-7), name)
}

func TestSeedsDecideAllValues(t *testing.T) {
	c := parse(t, []byte(allOptions))
	a, b, other := values(t, c, 1), values(t, c, 1), values(t, c, 2)
	assert.Equal(t, a, b)
	firsts := map[float32]string{}
	for name, x := range a {
		if x[0] == x[len(x)-1] {
			continue // a constant
		}
		assert.NotEqual(t, x, other[name], name)
		assert.Empty(t, firsts[x[0]], "%s starts like another parameter", name)
		firsts[x[0]] = name
	}
	assert.Greater(t, len(firsts), 30)

	// Another number of layers leaves the parameters that both models have.
	c.VisionCfg.Layers = config.Layers{1}
	for name, x := range values(t, c, 1) {
		if strings.HasPrefix(name, "visual.") {
			assert.Equal(t, a[name], x, name)
		}
	}
}

func TestInitialisationStreams(t *testing.T) {
	m, err := Build(parse(t, []byte(allOptions)))
	require.NoError(t, err)
	for name, p := range m.Parameters() {
		layers.Seed(p, 3)
		whole := make([]float32, p.Shape.Elems())
		require.NoError(t, p.Source.ReadF32(whole, 0))
		tail := make([]float32, len(whole)-len(whole)/3)
		require.NoError(t, p.Source.ReadF32(tail, len(whole)/3))
		assert.Equal(t, whole[len(whole)/3:], tail, name)
	}
}

func TestSinCosTable(t *testing.T) {
	m, err := Build(parse(t, cliptest.With(t, "vision_cfg", `{"pos_embed_type": "sin_cos_2d", "image_size": 24}`)))
	require.NoError(t, err)
	frozen := map[string]*graph.Param{}
	for name, p := range m.Parameters() {
		if p.Frozen {
			frozen[name] = p
		}
	}
	require.Len(t, frozen, 1)
	p := frozen["visual.positional_embedding"]
	table := make([]float32, 10*24)
	require.NoError(t, p.Source.ReadF32(table, 0))
	assert.Equal(t, make([]float32, 24), table[:24])
	row := table[(1+5)*24:][:24] // patch (1, 2): the column first
	for j := range 6 {
		w := math.Pow(10000, -float64(j)/6)
		assert.InDelta(t, math.Sin(2*w), float64(row[j]), 1e-6)
		assert.InDelta(t, math.Cos(2*w), float64(row[6+j]), 1e-6)
		assert.InDelta(t, math.Sin(w), float64(row[12+j]), 1e-6)
		assert.InDelta(t, math.Cos(w), float64(row[18+j]), 1e-6)
	}
	assert.Error(t, p.Source.ReadF32(table, 1))
}

package towers

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/timm"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// timmArgs are what both classes' constructors take. The rates act in training only.
type timmArgs struct {
	ImgSize        config.Size `json:"img_size"`
	PatchSize      config.Size `json:"patch_size"`
	InChans        int         `json:"in_chans"`
	EmbedDim       int         `json:"embed_dim"`
	Depth          int         `json:"depth"`
	NumHeads       int         `json:"num_heads"`
	MLPRatio       float64     `json:"mlp_ratio"`
	QKVBias        bool        `json:"qkv_bias"`
	InitValues     *float64    `json:"init_values"`
	ClassToken     bool        `json:"class_token"`
	NoEmbedClass   bool        `json:"no_embed_class"`
	GlobalPool     string      `json:"global_pool"`
	NormLayer      string      `json:"norm_layer"`
	DynamicImgSize bool        `json:"dynamic_img_size"` // changes nothing at one size
	DropRate       float64     `json:"drop_rate"`
	PosDropRate    float64     `json:"pos_drop_rate"`
	PatchDropRate  float64     `json:"patch_drop_rate"`
	ProjDropRate   float64     `json:"proj_drop_rate"`
	AttnDropRate   float64     `json:"attn_drop_rate"`
	DropPathRate   float64     `json:"drop_path_rate"`
}

// timmViTArgs are those of VisionTransformer (vision_transformer.py).
type timmViTArgs struct {
	timmArgs
	RegTokens         int    `json:"reg_tokens"`
	PreNorm           bool   `json:"pre_norm"`
	FinalNorm         bool   `json:"final_norm"`
	FCNorm            *bool  `json:"fc_norm"` // nil: with global_pool avg
	ProjBias          bool   `json:"proj_bias"`
	PoolIncludePrefix bool   `json:"pool_include_prefix"`
	ActLayer          string `json:"act_layer"`
}

// timmTrunk is what they come to.
type timmTrunk struct {
	timmArgs
	block, pooler         layers.TimmConfig
	registers             int
	preNorm, norm, fcNorm bool
	attnPool              bool // global_pool map
	poolPrefix            bool // pooling sees the class token and registers
	rope                  *timmEvaArgs
	tokenInit, headInit   float64 // standard deviations; headInit 0: torch's initialisation
	eva                   bool    // attention pooling sees all tokens, and the last layers of blocks start smaller from block to block

	embed    func(*timmTrunk) patchEmbed                       // makes its layer
	newBlock func(t *timmTrunk, c layers.TimmConfig) timmBlock // makes one; c is block with the rates of its place
	stride   config.Size                                       // pixels from one patch to the next
	ceil     bool                                              // the last patches of an image may be cut off
	noPos    bool                                              // no position embedding
}

// prefix is the number of tokens before those of the patches.
func (t *timmTrunk) prefix() int {
	if t.ClassToken {
		return 1 + t.registers
	}
	return t.registers
}

func (t *timmTrunk) grid() config.Size {
	size := t.ImgSize
	if t.ceil {
		size = config.Size{size[0] + t.stride[0] - 1, size[1] + t.stride[1] - 1}
	}
	return config.Size{size[0] / t.stride[0], size[1] / t.stride[1]}
}

func isTimmViT(v *config.VisionConfig) bool {
	_, ok := timm.Models[v.TimmName()]
	return ok
}

// timmOwnHead tells that the projection is the trunk's own head, or none, and not
// one that open_clip adds.
func timmOwnHead(v *config.VisionConfig) bool {
	proj := config.Value(v.TimmProj)
	return proj != "linear" && proj != "mlp"
}

// timmDefaults are the constructors' defaults.
func timmDefaults() timmArgs {
	return timmArgs{
		ImgSize: config.Size{224, 224}, PatchSize: config.Size{16, 16}, InChans: 3, EmbedDim: 768, Depth: 12, NumHeads: 12, MLPRatio: 4,
		QKVBias: true, ClassToken: true, GlobalPool: "token", NormLayer: "layernorm",
	}
}

// readTimmTrunk reads the description of a VisionTransformer as TimmModel of
// open_clip's timm_model.py creates it.
func readTimmTrunk(v *config.VisionConfig) (timmTrunk, error) {
	a := timmViTArgs{timmArgs: timmDefaults(), FinalNorm: true, ProjBias: true, ActLayer: "gelu"}
	if err := timmKwargs(v, &a, &a.timmArgs); err != nil {
		return timmTrunk{}, err
	}
	return a.trunk(v)
}

// kwargsSection holds what a config passes to timm's constructors.
const kwargsSection = "vision_cfg.timm_model_kwargs"

// timmKwargs decodes the arguments of a VisionTransformer or Eva.
func timmKwargs(v *config.VisionConfig, dst any, common *timmArgs) error {
	if err := decodeKwargs(v, timm.Find(v.TimmName()), dst); err != nil {
		return err
	}
	if timmOwnHead(v) && v.TimmPool != nil {
		common.GlobalPool = *v.TimmPool
	}
	return common.check(kwargsSection)
}

// classArgs are the arguments of a model's constructor of a class of timm's.
func classArgs(v *config.VisionConfig, class string) (map[string]json.RawMessage, error) {
	models := timm.Classes[class]
	args, ok := models[v.TimmName()]
	if !ok {
		return nil, fmt.Errorf("timm_model_name %q is %w; supported are %q", v.TimmName(), config.ErrUnsupported, slices.Sorted(maps.Keys(models)))
	}
	return args, nil
}

// decodeKwargs decodes the model's arguments and those of the config over them.
// As in timm, null leaves an argument alone.
func decodeKwargs(v *config.VisionConfig, args map[string]json.RawMessage, dst any) error {
	const section = kwargsSection
	kwargs, err := kwargsOf(v)
	if err != nil {
		return fmt.Errorf("%w: %w", config.ErrConfig, strictjson.At(section, v.TimmModelKwargs, err))
	}
	if err := addRates(kwargs, v); err != nil {
		return err
	}
	maps.DeleteFunc(kwargs, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	known := strictjson.Keys(dst)
	for _, k := range slices.Sorted(maps.Keys(kwargs)) {
		if !slices.Contains(known, k) {
			return fmt.Errorf("%s.%s of %s is %w", section, k, v.TimmName(), config.ErrUnsupported)
		}
	}
	if _, ok := kwargs["global_pool"]; ok && timmOwnHead(v) {
		return fmt.Errorf("%w: %s.global_pool beside timm_pool; with timm_proj %q open_clip gives it itself", config.ErrConfig, section, config.Value(v.TimmProj))
	}
	all := map[string]json.RawMessage{}
	maps.Copy(all, args)
	maps.Copy(all, kwargs)
	data, err := json.Marshal(all)
	if err == nil {
		err = strictjson.Struct(data, dst)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", config.ErrConfig, strictjson.At(section, data, err))
	}
	return nil
}

// kwargsOf are v's timm_model_kwargs, none where they are missing or null.
func kwargsOf(v *config.VisionConfig) (map[string]json.RawMessage, error) {
	kwargs := map[string]json.RawMessage{}
	if len(v.TimmModelKwargs) == 0 || string(v.TimmModelKwargs) == "null" {
		return kwargs, nil
	}
	return kwargs, strictjson.Unmarshal(v.TimmModelKwargs, &kwargs)
}

// fixedArgs decodes those arguments of a model that dst has and no config can give, and
// returns the others.
func fixedArgs(model string, dst any) (map[string]json.RawMessage, error) {
	args := maps.Clone(timm.Find(model))
	data, err := json.Marshal(args)
	if err == nil {
		err = json.Unmarshal(data, dst)
	}
	for _, key := range strictjson.Keys(dst) {
		delete(args, key)
	}
	return args, err
}

// addRates adds the arguments that open_clip's own options are. Those that the config
// gives itself count, null too.
func addRates(kwargs map[string]json.RawMessage, v *config.VisionConfig) (err error) {
	add := func(name string, rate float64) {
		if _, given := kwargs[name]; !given && err == nil {
			kwargs[name], err = json.Marshal(rate)
		}
	}
	if v.TimmDropPath != nil {
		add("drop_path_rate", *v.TimmDropPath)
	}
	if v.PatchDropout > 0 {
		add("patch_drop_rate", v.PatchDropout)
	}
	return err
}

// check bounds what is divided, multiplied or allocated.
func (a *timmArgs) check(section string) error {
	err := check.First(
		check.InRange(section+".img_size", a.ImgSize[0], 1, check.MaxSide), check.InRange(section+".img_size", a.ImgSize[1], 1, check.MaxSide),
		check.InRange(section+".patch_size", a.PatchSize[0], 1, a.ImgSize[0]), check.InRange(section+".patch_size", a.PatchSize[1], 1, a.ImgSize[1]),
		check.InRange(section+".in_chans", a.InChans, 3, 3),
		check.InRange(section+".embed_dim", a.EmbedDim, 1, check.MaxWidth),
		check.InRange(section+".depth", a.Depth, 1, check.MaxLayers),
		check.InRange(section+".num_heads", a.NumHeads, 1, a.EmbedDim),
		check.Divisible(section+".embed_dim", a.EmbedDim, section+".num_heads", a.NumHeads),
		check.Ratio(section+".mlp_ratio", a.MLPRatio, a.EmbedDim),
		check.DropRate(section+".drop_rate", a.DropRate), check.DropRate(section+".pos_drop_rate", a.PosDropRate),
		check.DropRate(section+".patch_drop_rate", a.PatchDropRate), check.DropRate(section+".proj_drop_rate", a.ProjDropRate),
		check.DropRate(section+".attn_drop_rate", a.AttnDropRate), check.DropRate(section+".drop_path_rate", a.DropPathRate),
	)
	if a.DynamicImgSize && err == nil {
		err = check.First(
			check.Divisible(section+".img_size", a.ImgSize[0], section+".patch_size", a.PatchSize[0]),
			check.Divisible(section+".img_size", a.ImgSize[1], section+".patch_size", a.PatchSize[1]),
		)
	}
	if a.InitValues != nil && *a.InitValues == 0 {
		a.InitValues = nil // as Python sees it
	}
	return err
}

// timmNorms are the eps of timm's norms. The second is not a name that timm knows.
var timmNorms = map[string]float64{"layernorm": 1e-6, "LayerNorm(eps=1e-05)": 1e-5}

var timmActivations = map[string]ops.Function{
	"gelu": ops.GELU, "gelu_tanh": ops.GELUTanh, "quick_gelu": ops.QuickGELU,
	"relu": ops.ReLU, "silu": ops.SiLU, "swish": ops.SiLU, "sigmoid": ops.Sigmoid, "tanh": ops.Tanh,
}

// block describes the trunk's blocks, whose activation timm calls act.
func (a *timmArgs) block(act string) (layers.TimmConfig, error) {
	eps, norm := timmNorms[a.NormLayer]
	f, known := timmActivations[act]
	switch {
	case !norm:
		return layers.TimmConfig{}, fmt.Errorf("timm's norm_layer %q is %w; supported is \"layernorm\"", a.NormLayer, config.ErrUnsupported)
	case !known:
		return layers.TimmConfig{}, fmt.Errorf("timm's act_layer %q is %w; supported are %q", act, config.ErrUnsupported, slices.Sorted(maps.Keys(timmActivations)))
	}
	return layers.TimmConfig{
		Width: a.EmbedDim, Heads: a.NumHeads, MLPWidth: int(float64(a.EmbedDim) * a.MLPRatio),
		QKVBias: a.QKVBias, ProjBias: true, Activation: f, Eps: eps, LSInit: a.InitValues,
		ProjDrop: a.ProjDropRate, AttnDrop: a.AttnDropRate,
	}, nil
}

func (a *timmViTArgs) trunk(v *config.VisionConfig) (timmTrunk, error) {
	block, err := a.block(a.ActLayer)
	if err != nil {
		return timmTrunk{}, err
	}
	block.ProjBias = a.ProjBias
	fc := slices.Contains([]string{"avg", "avgmax", "max"}, a.GlobalPool)
	if a.FCNorm != nil {
		fc = *a.FCNorm
	}
	t := timmTrunk{
		timmArgs: a.timmArgs, block: block, pooler: block, registers: a.RegTokens, attnPool: a.GlobalPool == "map",
		preNorm: a.PreNorm, norm: a.FinalNorm && !fc, fcNorm: a.FinalNorm && fc, poolPrefix: a.PoolIncludePrefix,
		tokenInit: 1e-6, headInit: 0.02, embed: newTimmPatches, newBlock: newTimmBlock, stride: a.PatchSize,
	}
	err = check.First(check.InRange("timm's reg_tokens", a.RegTokens, 0, check.MaxSide), t.resetPool(v))
	return t, err
}

// resetPool changes the pooling to what timm_pool asks for and leaves the norms as they
// are. open_clip does so only to a trunk under a projection of its own: the constructor of
// any other has been given timm_pool.
func (t *timmTrunk) resetPool(v *config.VisionConfig) error {
	pool := config.Value(v.TimmPool)
	switch {
	case timmOwnHead(v) || pool == "":
		return t.checkPool(v.TimmName(), t.GlobalPool)
	case pool == "map" && !t.attnPool:
		return fmt.Errorf("%w: timm_pool \"map\" wants a model that has attention pooling; %s has not", config.ErrConfig, v.TimmName())
	case t.GlobalPool == "token" && !t.ClassToken: // which its constructor refuses
		return t.checkPool(v.TimmName(), t.GlobalPool)
	}
	t.GlobalPool, t.attnPool = pool, pool == "map"
	return t.checkPool(v.TimmName(), pool)
}

func (t *timmTrunk) checkPool(model, pool string) error {
	switch pool {
	case "token":
		if !t.ClassToken {
			return fmt.Errorf("%w: timm's global_pool \"token\" wants a class token; %s has none", config.ErrConfig, model)
		}
	case "", "avg", "map":
	case "abs_attn", "rot_attn":
		return fmt.Errorf("%w: timm_pool %q wants a convolutional model", config.ErrConfig, pool)
	default:
		return fmt.Errorf("timm's global_pool %q is %w; supported are \"\", avg, token and map", pool, config.ErrUnsupported)
	}
	return nil
}

// resize sets img_size in v's timm_model_kwargs to size. A v that read refuses stays as it
// is: check will say what is wrong.
func (read trunkReader) resize(v *config.VisionConfig, size config.Size) {
	t, err := read(v)
	if err != nil || t.ImgSize == size {
		return
	}
	setKwarg(v, "img_size", size)
}

// setKwarg sets one of v's timm_model_kwargs. What cannot be read stays as it is: the
// check will say what is wrong.
func setKwarg(v *config.VisionConfig, name string, value any) {
	kwargs, err := kwargsOf(v)
	if err != nil {
		return
	}
	kwargs[name], _ = json.Marshal(value) // numbers, which cannot fail
	v.TimmModelKwargs, _ = json.Marshal(kwargs)
}

package towers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// families are the kinds of towers, in the order of tables. Of several that take
// a config the last counts, so what is more special comes later.
var families = []Family{
	clipText,
	vit, clipa, modifiedResNet,
	planned("other timm", Visual, timmNamed(""), timmName),
	timmViT, siglip, siglip2, peCore,
	mobileCLIPB, timmResNet,
	convNeXt,
	eva,
	viTamin,
	fastViT,
	relPosViT, swin,
	modernText,
	naflex,
	planned("Hugging Face text", Text, func(c *config.Config) bool { return hfModelName(c) != "" }, func(c *config.Config) string { return fmt.Sprintf("hf_model_name %q", hfModelName(c)) }),
	bert, roberta, mt5, nllb, modernBert,
	coca,
}

// Family is a kind of tower.
type Family struct {
	Name string // as tables and errors list it
	Part Part
	// Recording names the folder in tests/testdata/oracle with the numbers that open_clip
	// computed for such a tower. A family without one counts as not supported, even if its
	// towers can be built.
	Recording string
	// Models are the names by which configs ask for such towers, where the hub's names do.
	Models  []string
	Matches func(c *config.Config) bool  // whether a config asks for such a tower
	Check   func(c *config.Config) error // what its own rules say of a config that matches
	Image   func(c *config.Config) ImageTower
	Text    func(c *config.Config) TextTower
	Decoder func(c *config.Config) *Decoder
	// Tokens is the width of the tokens that a tower gives where output_tokens asks for
	// them, 0 where it has none of this config; that of those that a decoder takes. Nil:
	// the tower gives none.
	Tokens func(c *config.Config) int
	// Layouts are those, but for open_clip's own, in which its models' weights come.
	Layouts []*weights.Layout
	// Keys are those of vision_cfg, text_cfg or multimodal_cfg that a saved config always has. Others are
	// left out where they have open_clip's defaults.
	Keys []string
	// CustomText tells that the towers are those of CustomTextCLIP, whatever the config says.
	CustomText bool
	// Sequence is what the function of that name returns, of towers that vision_cfg.image_seq_len
	// is of. Nil: the tower takes images of one size.
	Sequence func(c *config.Config) (patch config.Size, most int)
	// Vocabulary is the number of token ids of a text tower. Nil: text_cfg.vocab_size.
	Vocabulary func(c *config.Config) int
	// Resize changes what else of a config, but image_size, an image size decides. Nil: nothing.
	Resize func(v *config.VisionConfig, size config.Size)
	// Ignored warns of what a config that Check has passed says without effect. Nil: nothing.
	Ignored func(c *config.Config) []string
	// NoDecay lists the matrices that weight decay leaves alone, by their names within the
	// tower (no_weight_decay in open_clip and timm). Vectors and scalars never decay.
	NoDecay []string
	// Groups are the parts of a tower that LockImageTower and LockTextTower freeze, from
	// the input to the output (layer_groups in open_clip). An entry lists parameters and
	// modules by their names within the tower. A * in a name, two at most, stands for a
	// number, and there is one group for each number. Names without a * belong to the
	// last group of their entry. The first name that fits a parameter counts. A
	// parameter that no name fits is never locked.
	Groups [][]string
	// ChannelsLast tells that the image tower's feature maps have the channels last in
	// timm, too.
	ChannelsLast bool
	// UnlockedStats names the batch norms that freezeBNStats of LockImageTower misses.
	UnlockedStats []string
	// LayerNorm is the last part of the names of the layer norms that LockTextTower can
	// leave trainable. Empty: it can not.
	LayerNorm string

	// Of planned families: what asks for them, and what may be asked for instead.
	key   func(c *config.Config) string
	offer string // "": the families of towers of the same part
}

// Part is what a Family is the family of.
type Part string

const (
	Visual Part = "visual" // image towers
	Text   Part = "text"   // text towers
	Whole  Part = "whole"  // models that are more than two towers
)

// named returns a family of some of f's configs: of those that matches accepts, too. It
// has its own name and recording, and the layouts of f where none are given.
func (f Family) named(name, recording string, matches func(*config.Config) bool, layouts ...*weights.Layout) Family {
	all := f.Matches
	f.Name, f.Recording = name, recording
	if layouts != nil {
		f.Layouts = layouts
	}
	f.Matches = func(c *config.Config) bool { return all(c) && matches(c) }
	return f
}

// planned is a family that open_clip has and this package does not build. key is
// what asks for it in a config, and its value.
func planned(name string, part Part, matches func(*config.Config) bool, key func(*config.Config) string) Family {
	return Family{Name: name, Part: part, Matches: matches, key: key}
}

// offering returns f with a text that its error offers instead of the family.
func (f Family) offering(text string) Family {
	f.offer = text
	return f
}

// timmNamed takes towers of timm's by how their names start, but for those whose
// class is VisionTransformer whatever the name, such as eva_large_patch14_196.
func timmNamed(prefix string) func(*config.Config) bool {
	return func(c *config.Config) bool {
		name := c.VisionCfg.TimmName()
		return name != "" && strings.HasPrefix(name, prefix) && !isTimmViT(&c.VisionCfg)
	}
}

func timmName(c *config.Config) string {
	return fmt.Sprintf("timm_model_name %q", c.VisionCfg.TimmName())
}

func hfModelName(c *config.Config) string { return config.Value(c.TextCfg.HFModelName) }

// built reports whether the package builds towers of the family.
func (f *Family) built() bool { return f.Image != nil || f.Text != nil || f.Decoder != nil }

// refuse returns nil for a family that is built, and for a planned one the error that
// says what c asks for and what is offered instead.
func (f *Family) refuse(c *config.Config) error {
	if f.built() {
		return nil
	}
	offer := f.offer
	if offer == "" {
		offer = "supported are " + strings.Join(supported(f.Part), ", ")
	}
	return fmt.Errorf("%s is %w; %s", f.key(c), config.ErrUnsupported, offer)
}

// supported names the families of a part that can be built, or their models.
func supported(part Part) (names []string) {
	for _, f := range Families() {
		switch {
		case f.Part != part || !f.built():
		case f.Models != nil:
			names = append(names, f.Models...)
		default:
			names = append(names, f.Name)
		}
	}
	return names
}

// Families lists the families that models are known by, in the order of tables. The
// text tower of CLIP is part of nearly all models, and none is known by it.
func Families() []Family { return slices.Clone(families[1:]) }

// Of returns the family that a model is known by: the most special of those of its parts.
func Of(c *config.Config) Family {
	f, _ := lastOf(c, Visual, Text, Whole)
	return f
}

// lastOf returns the last family of some parts that matches c.
func lastOf(c *config.Config, parts ...Part) (Family, bool) {
	for _, f := range slices.Backward(families) {
		if slices.Contains(parts, f.Part) && f.Matches(c) {
			return f, true
		}
	}
	return Family{}, false
}

// Layouts are those of all families, each once: what weights.Canonical is asked for.
func Layouts() (all []*weights.Layout) {
	for _, f := range families {
		for _, l := range f.Layouts {
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all
}

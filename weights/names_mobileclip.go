package weights

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The layouts of MobileCLIP-B, and of MobileCLIP S0 to S2, as Apple published them.
var (
	MobileCLIPB = &Layout{"MobileCLIP-B", isMobileCLIPB, fromMobileCLIPB, ""}
	MobileCLIPS = &Layout{"MobileCLIP-S", isMobileCLIPS, fromMobileCLIPS, ""}
)

const (
	mobileCLIPImage = "image_encoder.model."
	mobileCLIPText  = "text_encoder."
)

func isMobileCLIPB(src StateDict) bool {
	return has(src, mobileCLIPImage+"patch_emb.0.block.conv.weight")
}

func isMobileCLIPS(src StateDict) bool {
	const stem = mobileCLIPImage + "patch_embed.0."
	return has(src, stem+"rbr_conv.0.conv.weight") || has(src, stem+"reparam_conv.weight")
}

var (
	mobileCLIPBImageNames = strings.NewReplacer(
		"patch_emb.", "patch_embed.backbone.", "block.conv.", "conv.", "block.norm.", "bn.",
		"pos_embed.pos_embed.pos_embed", "pos_embed", "post_transformer_norm.", "norm.", "transformer.", "blocks.",
		"pre_norm_mha.0.", timmBlock.norm1, "pre_norm_mha.1.qkv_proj.", timmBlock.fused, "pre_norm_mha.1.out_proj.", timmBlock.out,
		"pre_norm_ffn.0.", timmBlock.norm2, "pre_norm_ffn.1.", timmBlock.fc1, "pre_norm_ffn.4.", timmBlock.fc2,
		"classifier.proj", "head.weight",
	)
	mobileCLIPTextNames = strings.NewReplacer(
		"embedding_layer.", "token_embedding.", "positional_embedding.pos_embed.pos_embed", "positional_embedding",
		"projection_layer", "text_projection", "final_layer_norm.", "ln_final.", "transformer.", "transformer.resblocks.",
		"pre_norm_mha.0.", openCLIPBlock.norm1, "pre_norm_mha.1.qkv_proj.", openCLIPBlock.fused, "pre_norm_mha.1.out_proj.", openCLIPBlock.out,
		"pre_norm_ffn.0.", openCLIPBlock.norm2, "pre_norm_ffn.1.", openCLIPBlock.fc1, "pre_norm_ffn.4.", openCLIPBlock.fc2,
	)
)

// fromMobileCLIPB renames the tensors of MobileCLIP-B as Apple published it to those
// of open_clip's CustomTextCLIP over timm's tower (convert_mobile_clip_state_dict of
// open_clip's convert.py and _convert_mobileclip of timm's vision_transformer_hybrid.py).
func fromMobileCLIPB(src StateDict) (Map, error) {
	return fromMobileCLIP(src, mobileCLIPBImageNames.Replace, "visual.trunk.head")
}

// fromMobileCLIPS does that for MobileCLIP-S (checkpoint_filter_fn of timm's fastvit.py).
// Its convolutions are in branches, as they were trained, or fused for inference
// (reparameterize_model of Apple's mobileclip).
func fromMobileCLIPS(src StateDict) (Map, error) {
	return fromMobileCLIP(src, mobileCLIPStages(src), "visual.trunk.head.fc")
}

func fromMobileCLIP(src StateDict, image func(string) string, head string) (Map, error) {
	m := Map{}
	for _, old := range src.Names() {
		t, _ := src.Tensor(old)
		name := old
		if rest, ok := strings.CutPrefix(old, mobileCLIPImage); ok {
			name = "visual.trunk." + image(rest)
		} else if rest, ok := strings.CutPrefix(old, mobileCLIPText); ok {
			name = "text." + mobileCLIPTextNames.Replace(rest)
		}
		t.Name = name
		m[name] = t
	}
	// Apple's positions have leading dimensions of 1.
	for name, axes := range map[string]int{"visual.trunk.pos_embed": 3, "text.positional_embedding": 2} {
		t, ok := m[name]
		if !ok {
			continue // for Bind to report
		}
		if len(t.Shape) < axes {
			return nil, t.fail(ErrMalformed, "shape %v, %d dimensions expected", t.Shape, axes)
		}
		var err error
		if m[name], err = t.reshape(t.Shape[len(t.Shape)-axes:]...); err != nil {
			return nil, err
		}
	}
	return m, addHead(m, head)
}

var mobileCLIPSImageNames = strings.NewReplacer(
	"patch_embed.", "stem.", "rbr_conv.", "conv_kxk.", "rbr_scale.", "conv_scale.", "rbr_skip.", "identity.",
	"conv_exp.", "final_conv.", "lkb_origin.", "large_conv.", "lkb_reparam.", "reparam_conv.", "convffn.", "mlp.", "se.reduce.", "se.fc1.", "se.expand.", "se.fc2.",
	"head.proj", "head.fc.weight",
)

// mobileCLIPStages names the tensors of the image tower. Apple's is one network of parts
// by number; with each downsampling, which has a proj, a stage begins.
func mobileCLIPStages(src StateDict) func(string) string {
	const network = "network."
	part := func(name string) (number int, rest string, ok bool) {
		name, ok = strings.CutPrefix(name, network)
		first, rest, _ := strings.Cut(name, ".")
		number, err := strconv.Atoi(first)
		return number, rest, ok && err == nil
	}
	var begins []int
	for _, name := range src.Names() {
		if n, rest, ok := part(strings.TrimPrefix(name, mobileCLIPImage)); ok && strings.HasPrefix(rest, "proj.") && !slices.Contains(begins, n) {
			begins = append(begins, n)
		}
	}
	return func(name string) string {
		if n, rest, ok := part(name); ok {
			stage := 0
			for _, first := range begins {
				if first <= n {
					stage++
				}
			}
			if proj, ok := strings.CutPrefix(rest, "proj."); ok {
				rest = "downsample.proj." + proj
			} else if positions, ok := strings.CutPrefix(rest, "pe."); ok {
				rest = "pos_emb.pos_enc." + positions
			} else if strings.HasPrefix(rest, "reparam_conv.") { // fused positions
				rest = "pos_emb." + rest
			} else {
				rest = "blocks." + rest
			}
			name = fmt.Sprintf("stages.%d.%s", stage, rest)
		}
		if last := name[strings.LastIndex(name, ".")+1:]; strings.HasPrefix(last, "layer_scale") {
			name += ".gamma"
		}
		return mobileCLIPSImageNames.Replace(name)
	}
}

// addHead turns Apple's projection [width, embed_dim] into a Linear with a bias of zeros.
func addHead(m Map, head string) error {
	weight, bias := head+".weight", head+".bias"
	t, ok := m[weight]
	if !ok {
		return nil // for Bind to report
	}
	t, err := t.permute(1, 0)
	if err != nil || t.Len() == 0 {
		return err
	}
	m[weight] = t
	m[bias], err = FromF32(bias, t.Shape[:1], make([]float32, t.Shape[0]))
	return err
}

package weights

import "strings"

// MobileCLIPB is the layout of MobileCLIP-B as Apple published it.
var MobileCLIPB = &Layout{"MobileCLIP-B", isMobileCLIPB, fromMobileCLIPB, ""}

const (
	mobileCLIPImage = "image_encoder.model."
	mobileCLIPText  = "text_encoder."
)

func isMobileCLIPB(src StateDict) bool {
	return has(src, mobileCLIPImage+"patch_emb.0.block.conv.weight")
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
	m := Map{}
	for _, old := range src.Names() {
		t, _ := src.Tensor(old)
		name := old
		if rest, ok := strings.CutPrefix(old, mobileCLIPImage); ok {
			name = "visual.trunk." + mobileCLIPBImageNames.Replace(rest)
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
	return m, addHead(m)
}

// addHead turns Apple's projection [width, embed_dim] into a Linear with a bias of zeros.
func addHead(m Map) error {
	const weight, bias = "visual.trunk.head.weight", "visual.trunk.head.bias"
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

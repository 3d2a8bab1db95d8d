package weights

// The layouts of SigLIP's models.
var (
	HuggingFaceSigLIP = &Layout{"Hugging Face SigLIP", isHuggingFaceSigLIP, fromHuggingFaceSigLIP, siglipPreprocess} // SiglipModel of transformers
	BigVision         = &Layout{"big_vision", isBigVision, fromBigVision, siglipPreprocess}                          // as Google published them
)

// siglipPreprocess is that of big_vision's SigLIP models (_slpcfg in open_clip's
// pretrained.py).
const siglipPreprocess = `{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}`

func isHuggingFaceSigLIP(src StateDict) bool {
	return has(src, "text_model.embeddings.token_embedding.weight", "vision_model.head.probe", "text_model.head.weight")
}

// fromHuggingFaceSigLIP renames SiglipModel's tensors (modeling_siglip.py of
// transformers) to those of open_clip's CustomTextCLIP over timm's tower.
func fromHuggingFaceSigLIP(src StateDict) (Map, error) {
	m, err := renaming{prefixes: [][2]string{
		{hfTextBlocks, "text.transformer.resblocks."},
		{hfVisionBlocks, "visual.trunk.blocks."},
		{"text_model.embeddings.token_embedding.", "text.token_embedding."},
		{"text_model.embeddings.position_embedding.weight", "text.positional_embedding"},
		{"text_model.final_layer_norm.", "text.ln_final."},
		{"text_model.head.", "text.text_projection."},
		{"vision_model.embeddings.patch_embedding.", "visual.trunk.patch_embed.proj."},
		{"vision_model.embeddings.position_embedding.weight", "visual.trunk.pos_embed"},
		{"vision_model.post_layernorm.", "visual.trunk.norm."},
		{"vision_model.head.probe", "visual.trunk.attn_pool.latent"},
		{"vision_model.head.attention.out_proj.", "visual.trunk.attn_pool.proj."},
		{"vision_model.head.layernorm.", "visual.trunk.attn_pool.norm."},
		{"vision_model.head.mlp.", "visual.trunk.attn_pool.mlp."},
	}, text: openCLIPBlock, vision: timmBlock}.apply(src)
	if err != nil {
		return nil, err
	}
	if t, ok := m["visual.trunk.pos_embed"]; ok {
		if m[t.Name], err = t.reshape(append([]int{1}, t.Shape...)...); err != nil {
			return nil, err
		}
	}
	for _, kind := range []string{"weight", "bias"} {
		if err := splitPooler(m, kind); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// splitPooler cuts the pooling head's projection into timm's q and kv.
func splitPooler(m Map, kind string) error {
	from, to := "vision_model.head.attention.in_proj_"+kind, "visual.trunk.attn_pool."
	t, ok := m[from]
	if !ok || len(t.Shape) == 0 || t.Shape[0]%3 != 0 {
		return fail(ErrMalformed, from, "three projections in one expected")
	}
	delete(m, from)
	n := t.Shape[0] / 3
	for name, rows := range map[string][2]int{to + "q." + kind: {0, n}, to + "kv." + kind: {n, 3 * n}} {
		part, err := t.rows(rows[0], rows[1])
		if err != nil {
			return err
		}
		part.Name = name
		m[name] = part
	}
	return nil
}

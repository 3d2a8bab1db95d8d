package weights

import "strings"

// renaming is how Hugging Face's names of a model become open_clip's. Prefixes
// are tried in order; block has the endings of names in a transformer's blocks.
type renaming struct {
	prefixes [][2]string
	text     blockNames
	vision   blockNames
}

// blockNames are the names, within a block, of what transformers calls
// layer_norm1, layer_norm2, self_attn.out_proj, mlp.fc1 and mlp.fc2; fused is
// where q_proj, k_proj and v_proj lie one after the other.
type blockNames struct{ fused, norm1, norm2, out, fc1, fc2 string }

var (
	openCLIPBlock = blockNames{"attn.in_proj_", "ln_1.", "ln_2.", "attn.out_proj.", "mlp.c_fc.", "mlp.c_proj."}
	timmBlock     = blockNames{"attn.qkv.", "norm1.", "norm2.", "attn.proj.", "mlp.fc1.", "mlp.fc2."}
)

const (
	hfTextBlocks   = "text_model.encoder.layers."
	hfVisionBlocks = "vision_model.encoder.layers."
)

func isHuggingFaceCLIP(src StateDict) bool {
	return has(src, "text_model.embeddings.token_embedding.weight", "visual_projection.weight", "text_projection.weight")
}

// fromHuggingFaceCLIP renames CLIPModel's tensors (modeling_clip.py of
// transformers). Its projections are transposed.
func fromHuggingFaceCLIP(src StateDict) (Map, error) {
	m, err := renaming{prefixes: [][2]string{
		{hfTextBlocks, "transformer.resblocks."},
		{hfVisionBlocks, "visual.transformer.resblocks."},
		{"text_model.embeddings.token_embedding.", "token_embedding."},
		{"text_model.embeddings.position_embedding.weight", "positional_embedding"},
		{"text_model.final_layer_norm.", "ln_final."},
		{"text_projection.weight", "text_projection"},
		{"vision_model.embeddings.class_embedding", "visual.class_embedding"},
		{"vision_model.embeddings.patch_embedding.", "visual.conv1."},
		{"vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"},
		{"vision_model.pre_layrnorm.", "visual.ln_pre."}, // as upstream spells it
		{"vision_model.post_layernorm.", "visual.ln_post."},
		{"visual_projection.weight", "visual.proj"},
	}, text: openCLIPBlock, vision: openCLIPBlock}.apply(src)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"text_projection", "visual.proj"} {
		if m[name], err = m[name].permute(1, 0); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (r renaming) apply(src StateDict) (Map, error) {
	m := Map{}
	for _, old := range src.Names() {
		t, _ := src.Tensor(old)
		if strings.HasSuffix(old, ".position_ids") && !t.DType.IsFloat() {
			continue
		}
		name := old
		switch {
		case strings.HasPrefix(old, hfTextBlocks):
			name = r.text.rename(old)
		case strings.HasPrefix(old, hfVisionBlocks):
			name = r.vision.rename(old)
		}
		if name == "" {
			continue // a part of what q_proj stands for
		}
		var err error
		if strings.Contains(old, ".self_attn.q_proj.") {
			if t, err = fuse(src, old); err != nil {
				return nil, err
			}
		}
		for _, p := range r.prefixes {
			if rest, ok := strings.CutPrefix(name, p[0]); ok {
				name = p[1] + rest
				break
			}
		}
		t.Name = name
		m[name] = t
	}
	return m, nil
}

// rename replaces the ending of a name in a block; k_proj and v_proj go with
// q_proj and give "".
func (b blockNames) rename(name string) string {
	for _, e := range [][2]string{
		{".self_attn.q_proj.", b.fused}, {".self_attn.k_proj.", ""}, {".self_attn.v_proj.", ""}, {".self_attn.out_proj.", b.out},
		{".layer_norm1.", b.norm1}, {".layer_norm2.", b.norm2}, {".mlp.fc1.", b.fc1}, {".mlp.fc2.", b.fc2},
	} {
		if before, after, ok := strings.Cut(name, e[0]); ok {
			if e[1] == "" {
				return ""
			}
			return before + "." + e[1] + after
		}
	}
	return name
}

// fuse joins a block's q, k and v.
func fuse(src StateDict, q string) (Stored, error) {
	var parts []Stored
	for _, letter := range []string{"q", "k", "v"} {
		name := strings.Replace(q, ".q_proj.", "."+letter+"_proj.", 1)
		t, ok := src.Tensor(name)
		if !ok {
			return t, fail(ErrMalformed, name, "is missing beside %s", quote(q))
		}
		parts = append(parts, t)
	}
	return concat(q, parts...)
}

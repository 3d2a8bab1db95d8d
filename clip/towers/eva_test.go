package towers_test

import "testing"

func TestEvaConfigs(t *testing.T) {
	for _, c := range []badConfig{
		{`{}`, `{}`, ""},
		{`{"timm_model_name": "eva02_tiny_patch14_224"}`, `{"mlp_ratio": 1.3}`, ""}, // halves of a weight that are no multiples of four
		{`{"timm_model_name": "eva_giant_patch14_224", "timm_pool": "avg"}`, `{"qkv_bias": false}`, ""},
		{`{"timm_model_name": "eva02_enormous_patch14_clip_224", "timm_proj": "mlp"}`, `{"swiglu_mlp": true, "qkv_fused": false}`, ""},
		{`{"timm_pool": "map"}`, `{"num_reg_tokens": 2, "no_embed_class": true}`, ""},
		{`{}`, `{"swiglu_mlp": false, "use_abs_pos_emb": false}`, ""},

		{`{"timm_model_name": "eva03_base_patch16_224"}`, `{}`, `timm_model_name "eva03_base_patch16_224" is not supported`},
		{`{"image_size": 32}`, `{}`, "timm_model_kwargs.img_size changes that"},
		{`{}`, `{"attn_type": "rope"}`, `attn_type "rope" of eva02_base_patch16_clip_224 is not supported`},
		{`{}`, `{"init_values": 0.1}`, "init_values"},
		{`{}`, `{"num_heads": 3}`, "num_heads"},
		{`{}`, `{"num_heads": 4}`, "head width divisible by 4"},
		{`{}`, `{"rope_type": "mixed"}`, `rope_type "mixed" is not supported`},
		{`{}`, `{"qk_norm": true}`, "timm_model_kwargs.qk_norm of eva02_base_patch16_clip_224 is not supported"},
		{`{"timm_pool": "rot_attn"}`, `{}`, "convolutional"},
		{`{}`, `{"class_token": false}`, "class token"},
		{`{"timm_model_name": "vit_pe_core_base_patch16_224"}`, `{"swiglu_mlp": true}`, "swiglu_mlp"},
	} {
		c.check(t, `{"image_size": 16, "timm_model_name": "eva02_base_patch16_clip_224", "timm_pool": "token", "timm_proj": null}`,
			`{"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 2}`)
	}
}

package weights

import (
	"fmt"
	"strings"
)

func isBigVision(src StateDict) bool {
	return has(src, "params/img/embedding/kernel", "params/txt/Embed_0/embedding") || has(src, "img/embedding/kernel", "txt/Embed_0/embedding")
}

// bigVision converts the arrays of Google's big_vision, which are JAX's: a
// dense kernel is [in, out], one of attention [in, heads, width] or, on the way
// out, [heads, width, in], a convolution's [height, width, in, out]
// (load_big_vision_weights of open_clip's convert.py).
type bigVision struct {
	src  StateDict
	m    Map
	used map[string]bool
	err  error
}

// fromBigVision makes the tensors of open_clip's CustomTextCLIP over timm's tower.
func fromBigVision(src StateDict) (Map, error) {
	c := &bigVision{src: src, m: Map{}, used: map[string]bool{}}
	root := ""
	if has(src, "params/img/embedding/kernel") {
		root = "params/"
	}
	img, trunk := root+"img/", "visual.trunk."
	c.put(trunk+"patch_embed.proj.weight", c.get(img+"embedding/kernel", -1), 3, 2, 0, 1)
	c.put(trunk+"patch_embed.proj.bias", c.get(img+"embedding/bias", -1))
	if has(src, img+"cls") {
		c.put(trunk+"cls_token", c.get(img+"cls", -1))
	}
	c.put(trunk+"pos_embed", c.get(img+"pos_embedding", -1))
	c.blocks(img+"Transformer/", trunk+"blocks.", timmBlock)
	c.pair(img+"Transformer/encoder_norm", -1, trunk+"norm.")
	if has(src, img+"MAPHead_0/probe") {
		c.pooler(img+"MAPHead_0/", trunk+"attn_pool.")
	}

	txt := root + "txt/"
	c.put("text.token_embedding.weight", c.get(txt+"Embed_0/embedding", -1))
	c.put("text.positional_embedding", c.squeezed(txt+"pos_embedding"))
	c.blocks(txt+"Encoder_0/", "text.transformer.resblocks.", openCLIPBlock)
	c.pair(txt+"Encoder_0/encoder_norm", -1, "text.ln_final.")
	if has(src, txt+"head/kernel") {
		c.dense(txt+"head", -1, "text.text_projection.")
	}
	c.put("logit_bias", c.squeezed(root+"b"))
	c.put("logit_scale", c.squeezed(root+"t"))
	c.rest()
	return c.m, c.err
}

// get is an array or, from block 0 up, one block's of an array of all blocks'.
func (c *bigVision) get(name string, block int) Stored {
	t, ok := c.src.Tensor(name)
	if !ok && c.err == nil {
		c.err = fail(ErrMalformed, name, "is missing from a checkpoint of big_vision")
	}
	c.used[name] = true
	if c.err != nil || block < 0 {
		return t
	}
	if t, c.err = t.rows(block, block+1); c.err != nil {
		return t
	}
	if t.strided != nil {
		c.err = t.fail(ErrMalformed, "stacked arrays in Fortran's order cannot be read")
		return t
	}
	t, c.err = t.reshape(t.Shape[1:]...)
	return t
}

// put stores a tensor with its axes in the given order, if there is one.
func (c *bigVision) put(name string, t Stored, axes ...int) {
	if c.err == nil && len(axes) > 0 {
		t, c.err = t.permute(axes...)
	}
	t.Name = name
	c.m[name] = t
}

// squeezed returns the named array without its first axis, which has the size 1.
func (c *bigVision) squeezed(name string) Stored {
	t := c.get(name, -1)
	if c.err == nil && len(t.Shape) > 0 {
		t, c.err = t.reshape(t.Shape[1:]...)
	}
	return t
}

// pair puts a norm's weight and bias.
func (c *bigVision) pair(from string, block int, to string) {
	c.put(to+"weight", c.get(from+"/scale", block))
	c.put(to+"bias", c.get(from+"/bias", block))
}

func (c *bigVision) dense(from string, block int, to string) {
	c.put(to+"weight", c.get(from+"/kernel", block), 1, 0)
	c.put(to+"bias", c.get(from+"/bias", block))
}

// into is the projection into heads: [in, heads, width] to [heads·width, in].
func (c *bigVision) into(from string, block int, kind string) Stored {
	t := c.get(from+"/"+kind, block)
	if c.err != nil {
		return t
	}
	if kind == "bias" {
		t, c.err = t.reshape(t.Len())
		return t
	}
	if t, c.err = t.permute(1, 2, 0); c.err == nil {
		t, c.err = t.reshape(t.Shape[0]*t.Shape[1], t.Shape[2])
	}
	return t
}

// attention is what goes into heads by the names of its parts, and out.
func (c *bigVision) attention(from string, block int, into map[string][]string, out string) {
	for _, kind := range []string{"weight", "bias"} {
		source := map[string]string{"weight": "kernel", "bias": "bias"}[kind]
		for to, parts := range into {
			var list []Stored
			for _, part := range parts {
				list = append(list, c.into(from+part, block, source))
			}
			if c.err == nil {
				var t Stored
				t, c.err = concat(to+kind, list...)
				c.put(to+kind, t)
			}
		}
	}
	t := c.get(from+"out/kernel", block) // [heads, width, out]
	if c.err == nil {
		if t, c.err = t.permute(2, 0, 1); c.err == nil {
			t, c.err = t.reshape(t.Shape[0], t.Shape[1]*t.Shape[2])
		}
	}
	c.put(out+"weight", t)
	c.put(out+"bias", c.get(from+"out/bias", block))
}

// blocks converts a transformer, whose blocks are arrays of their own or rows
// of common ones.
func (c *bigVision) blocks(from, to string, names blockNames) {
	stacked, ok := c.src.Tensor(from + "encoderblock/LayerNorm_0/scale")
	for i := 0; c.err == nil; i++ {
		prefix, block := fmt.Sprintf("%sencoderblock_%d/", from, i), -1
		switch {
		case ok && len(stacked.Shape) > 0 && i < stacked.Shape[0]:
			prefix, block = from+"encoderblock/", i
		case !has(c.src, prefix+"LayerNorm_0/scale"):
			return
		}
		b := fmt.Sprintf("%s%d.", to, i)
		c.pair(prefix+"LayerNorm_0", block, b+names.norm1)
		c.attention(prefix+"MultiHeadDotProductAttention_0/", block, map[string][]string{b + names.fused: {"query", "key", "value"}}, b+names.out)
		c.pair(prefix+"LayerNorm_1", block, b+names.norm2)
		c.dense(prefix+"MlpBlock_0/Dense_0", block, b+names.fc1)
		c.dense(prefix+"MlpBlock_0/Dense_1", block, b+names.fc2)
	}
}

// pooler converts the pooling by attention with one learned query.
func (c *bigVision) pooler(from, to string) {
	c.put(to+"latent", c.get(from+"probe", -1))
	c.attention(from+"MultiHeadDotProductAttention_0/", -1, map[string][]string{to + "q.": {"query"}, to + "kv.": {"key", "value"}}, to+"proj.")
	c.pair(from+"LayerNorm_0", -1, to+"norm.")
	c.dense(from+"MlpBlock_0/Dense_0", -1, to+"mlp.fc1.")
	c.dense(from+"MlpBlock_0/Dense_1", -1, to+"mlp.fc2.")
}

// rest keeps what no rule has used, to be reported as unexpected; the
// optimizer's state is not of the model.
func (c *bigVision) rest() {
	for _, name := range c.src.Names() {
		if !c.used[name] && !strings.HasPrefix(name, "opt/") {
			c.m[name], _ = c.src.Tensor(name)
		}
	}
}

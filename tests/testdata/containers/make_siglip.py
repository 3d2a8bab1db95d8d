"""Writes a tiny SigLIP as big_vision (npz, blocks apart and blocks stacked) and transformers (siglip_hf/) store it, and
siglip.safetensors, the state dict that open_clip makes of it. What open_clip computes is in siglip_outputs.safetensors.

    python make_siglip.py    # needs torch, numpy, safetensors, open_clip_torch 3.3, timm, transformers
"""
import os

import numpy as np
import open_clip
import timm
import torch
from open_clip.convert import load_big_vision_weights
from safetensors.torch import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
rng = np.random.RandomState(7)
W, T, HEADS, E, DEPTH, TEXT_DEPTH, PATCH, GRID, CONTEXT, VOCAB = 16, 16, 2, 16, 2, 2, 8, 2, 6, 30


def norm(a, name, n):
    a[name + '/scale'], a[name + '/bias'] = rng.randn(n), rng.randn(n)


def attention(a, name, w):
    for part in ('query', 'key', 'value'):
        a[f'{name}/{part}/kernel'], a[f'{name}/{part}/bias'] = rng.randn(w, HEADS, w // HEADS), rng.randn(HEADS, w // HEADS)
    a[f'{name}/out/kernel'], a[f'{name}/out/bias'] = rng.randn(HEADS, w // HEADS, w), rng.randn(w)


def mlp(a, name, w):
    a[f'{name}/Dense_0/kernel'], a[f'{name}/Dense_0/bias'] = rng.randn(w, 4 * w), rng.randn(4 * w)
    a[f'{name}/Dense_1/kernel'], a[f'{name}/Dense_1/bias'] = rng.randn(4 * w, w), rng.randn(w)


def blocks(a, name, depth, w):
    for i in range(depth):
        b = f'{name}/encoderblock_{i}'
        norm(a, b + '/LayerNorm_0', w)
        attention(a, b + '/MultiHeadDotProductAttention_0', w)
        norm(a, b + '/LayerNorm_1', w)
        mlp(a, b + '/MlpBlock_0', w)
    norm(a, name + '/encoder_norm', w)


a = {'params/b': rng.randn(1), 'params/t': rng.randn(1)}
img, txt = 'params/img', 'params/txt'
a[img + '/embedding/kernel'], a[img + '/embedding/bias'] = rng.randn(PATCH, PATCH, 3, W), rng.randn(W)
a[img + '/pos_embedding'] = rng.randn(1, GRID * GRID, W)
blocks(a, img + '/Transformer', DEPTH, W)
a[img + '/MAPHead_0/probe'] = rng.randn(1, 1, W)
attention(a, img + '/MAPHead_0/MultiHeadDotProductAttention_0', W)
norm(a, img + '/MAPHead_0/LayerNorm_0', W)
mlp(a, img + '/MAPHead_0/MlpBlock_0', W)
a[txt + '/Embed_0/embedding'], a[txt + '/pos_embedding'] = rng.randn(VOCAB, T), rng.randn(1, CONTEXT, T)
blocks(a, txt + '/Encoder_0', TEXT_DEPTH, T)
a[txt + '/head/kernel'], a[txt + '/head/bias'] = rng.randn(T, E), rng.randn(E)
a = {k: (v / 4).astype(np.float16) for k, v in a.items()}
np.savez('siglip.npz', **a)

stacked = {}
for k, v in a.items():
    if '/encoderblock_' not in k:
        stacked[k] = v
    elif '/encoderblock_0/' in k:
        stacked[k.replace('encoderblock_0', 'encoderblock')] = np.stack([v, a[k.replace('encoderblock_0', 'encoderblock_1')]])
np.savez('siglip_stacked.npz', **stacked)

model = open_clip.CustomTextCLIP(
    embed_dim=E, init_logit_bias=-10,
    vision_cfg=dict(image_size=GRID * PATCH, timm_model_name='vit_base_patch16_siglip_224', timm_model_pretrained=False, timm_pool='map', timm_proj='none'),
    text_cfg=dict(context_length=CONTEXT, vocab_size=VOCAB, width=T, heads=HEADS, layers=TEXT_DEPTH, no_causal_mask=True, pool_type='last',
                  proj_bias=True, norm_kwargs=dict(eps=1e-6))).eval()
model.visual.trunk = timm.create_model('vit_base_patch16_siglip_224', img_size=GRID * PATCH, patch_size=PATCH, embed_dim=W, depth=DEPTH,
                                       num_heads=HEADS, num_classes=0).eval()
load_big_vision_weights(model, 'siglip.npz')
state = model.state_dict()
save_file({k: v.contiguous().half() for k, v in state.items()}, 'siglip.safetensors')

# transformers' names, by its own model: what it computes must be what open_clip computes.
from transformers import SiglipConfig, SiglipModel

tower = dict(hidden_size=W, intermediate_size=4 * W, num_hidden_layers=2, num_attention_heads=HEADS)
hf = SiglipModel(SiglipConfig(text_config=dict(tower, vocab_size=VOCAB, max_position_embeddings=CONTEXT, projection_size=E),
                              vision_config=dict(tower, image_size=GRID * PATCH, patch_size=PATCH))).eval()
new = {}
for k in hf.state_dict():
    side, rest = k.split('.', 1) if '.' in k else (k, '')
    if side in ('logit_scale', 'logit_bias'):
        new[k] = state[k].reshape(1)
        continue
    text = side == 'text_model'
    trunk = 'text.' if text else 'visual.trunk.'
    rest = rest.replace('embeddings.token_embedding', 'token_embedding')
    rest = rest.replace('embeddings.position_embedding.weight', 'positional_embedding' if text else 'pos_embed')
    rest = rest.replace('embeddings.patch_embedding', 'patch_embed.proj').replace('post_layernorm', 'norm').replace('final_layer_norm', 'ln_final')
    rest = rest.replace('encoder.layers', 'transformer.resblocks' if text else 'blocks')
    rest = rest.replace('layer_norm', 'ln_' if text else 'norm')
    if text:
        rest = rest.replace('mlp.fc1', 'mlp.c_fc').replace('mlp.fc2', 'mlp.c_proj').replace('head.', 'text_projection.').replace('self_attn', 'attn')
    else:
        rest = rest.replace('self_attn.out_proj', 'attn.proj').replace('head.', 'attn_pool.').replace('layernorm', 'norm')
        rest = rest.replace('attention.out_proj', 'proj').replace('attn_pool.probe', 'attn_pool.latent').replace('self_attn', 'attn')
    third = {'q': 0, 'k': 1, 'v': 2}
    if '_proj.' in rest and rest.split('.')[-2][0] in third and rest.split('.')[-2][1:] == '_proj':
        part, kind = rest.split('.')[-2:]
        base = rest[:-len(part + '.' + kind)]
        whole = state[trunk + base + ('in_proj_' + kind if text else 'qkv.' + kind)]
        new[k] = whole.chunk(3)[third[part[0]]]
    elif 'attention.in_proj_' in rest:
        kind = rest.split('in_proj_')[1]
        new[k] = torch.cat([state[f'{trunk}attn_pool.q.{kind}'], state[f'{trunk}attn_pool.kv.{kind}']])
    else:
        new[k] = state[trunk + rest].reshape(hf.state_dict()[k].shape)
hf.load_state_dict(new)
torch.manual_seed(1)
image, text = torch.randn(2, 3, GRID * PATCH, GRID * PATCH), torch.randint(0, VOCAB, (2, CONTEXT))
with torch.no_grad():
    out = hf(input_ids=text, pixel_values=image)
    i, t = model.encode_image(image, normalize=True), model.encode_text(text, normalize=True)
# transformers uses the tanh form of GELU throughout; timm and open_clip the one their configs say.
print('image', (out.image_embeds - i).abs().max().item(), 'text', (out.text_embeds - t).abs().max().item())
save_file({k: v.contiguous().half() for k, v in hf.state_dict().items()}, 'siglip_hf.safetensors')
save_file(dict(image=image, text=text, image_features=i, text_features=t), 'siglip_outputs.safetensors')

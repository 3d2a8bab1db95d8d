"""Writes a tiny MobileCLIP-B under the names of Apple's checkpoints (mobileclip_b_apple.safetensors) and
mobileclip_b.safetensors, the state dict that open_clip makes of it.

    PYTHONPATH=open_clip/src python make_mobileclip.py    # open_clip 4.2.0.dev0; needs torch, timm 1.0.31, safetensors
"""
import os

import open_clip
import timm.models.vision_transformer_hybrid as hybrid
import torch
from open_clip.convert import convert_state_dict
from safetensors.torch import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(1)
W, E, VOCAB, CONTEXT = 8, 4, 10, 3
conv_stem = hybrid.ConvStem
hybrid.ConvStem = lambda channels, **kwargs: conv_stem(channels=(W // 4, W // 4, W), **kwargs)  # timm's is 768 wide
model = open_clip.CustomTextCLIP(
    embed_dim=E,
    vision_cfg=dict(image_size=32, timm_model_name='vit_base_mci_224', timm_pool='token', timm_proj=None,
                    timm_model_kwargs=dict(img_size=32, embed_dim=W, depth=1, num_heads=2, mlp_ratio=2)),
    text_cfg=dict(context_length=CONTEXT, vocab_size=VOCAB, width=W, heads=2, layers=1))

apple = {'logit_scale': torch.tensor(2.5)}


def put(name, *shape):
    apple[name] = torch.randn(shape)


def pair(name, out, *more):
    put(name + '.weight', out, *more)
    put(name + '.bias', out)


def block(name, width, hidden):
    pair(name + '.pre_norm_mha.0', width)
    pair(name + '.pre_norm_mha.1.qkv_proj', 3 * width, width)
    pair(name + '.pre_norm_mha.1.out_proj', width, width)
    pair(name + '.pre_norm_ffn.0', width)
    pair(name + '.pre_norm_ffn.1', hidden, width)
    pair(name + '.pre_norm_ffn.4', width, hidden)


image, text = 'image_encoder.model.', 'text_encoder.'
for i, shape in enumerate([(W // 4, 3, 4, 4), (W // 4, W // 4, 2, 2)]):
    put(f'{image}patch_emb.{i}.block.conv.weight', *shape)
    pair(f'{image}patch_emb.{i}.block.norm', shape[0])
    put(f'{image}patch_emb.{i}.block.norm.running_mean', shape[0])
    apple[f'{image}patch_emb.{i}.block.norm.running_var'] = torch.rand(shape[0]) + 0.5
    apple[f'{image}patch_emb.{i}.block.norm.num_batches_tracked'] = torch.tensor(100 + i)
pair(image + 'patch_emb.2.block.conv', W, W // 4, 2, 2)
put(image + 'cls_token', 1, 1, W)
put(image + 'pos_embed.pos_embed.pos_embed', 1, 1, 4, W)
block(image + 'transformer.0', W, 2 * W)
pair(image + 'post_transformer_norm', W)
put(image + 'classifier.proj', W, E)
put(text + 'embedding_layer.weight', VOCAB, W)
put(text + 'positional_embedding.pos_embed.pos_embed', 1, 1, CONTEXT, W)
block(text + 'transformer.0', W, 4 * W)
pair(text + 'final_layer_norm', W)
put(text + 'projection_layer', W, E)

converted = convert_state_dict(model, dict(apple))
model.load_state_dict(converted)
for path, tensors in [('mobileclip_b_apple', apple), ('mobileclip_b', converted)]:
    save_file({k: v.contiguous() for k, v in tensors.items()}, path + '.safetensors')

"""Writes a tiny MobileCLIP-S under the names of Apple's checkpoints (mobileclip_s_apple.safetensors),
mobileclip_s.safetensors, the state dict that open_clip makes of it, and mobileclip_s_fused.safetensors, that of the
model fused for inference by timm.

    PYTHONPATH=open_clip/src python make_mobileclip_s.py    # open_clip 4.2.0.dev0; needs torch, timm 1.0.31, safetensors
"""
import os
import re

import open_clip
import torch
from open_clip.convert import convert_state_dict
from safetensors.torch import save_file
from timm.utils import reparameterize_model

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(1)
model = open_clip.CustomTextCLIP(
    embed_dim=4,
    vision_cfg=dict(image_size=32, timm_model_name='fastvit_mci0', timm_pool='avg', timm_proj=None,
                    timm_model_kwargs=dict(layers=[1, 1, 1, 1], embed_dims=[4, 4, 8, 32], mlp_ratios=[1, 1, 1, 1])),
    text_cfg=dict(context_length=3, vocab_size=10, width=8, heads=2, layers=1, no_causal_mask=True))

IMAGE = [  # in this order
    (r'^stem', 'patch_embed'), (r'conv_kxk', 'rbr_conv'), (r'conv_scale', 'rbr_scale'), (r'\bidentity', 'rbr_skip'),
    (r'^final_conv', 'conv_exp'), (r'large_conv', 'lkb_origin'), (r'se\.fc1', 'se.reduce'), (r'se\.fc2', 'se.expand'),
    (r'layer_scale(_\d)?\.gamma', r'layer_scale\1'), (r'\.mlp\.', '.convffn.'), (r'head\.fc\.weight', 'head.proj'),
]
TEXT = [
    (r'^token_embedding', 'embedding_layer'), (r'^positional_embedding', 'positional_embedding.pos_embed.pos_embed'),
    (r'^ln_final', 'final_layer_norm'), (r'^text_projection', 'projection_layer'), (r'transformer\.resblocks', 'transformer'),
    (r'ln_1', 'pre_norm_mha.0'), (r'attn\.in_proj_', 'pre_norm_mha.1.qkv_proj.'), (r'attn\.out_proj', 'pre_norm_mha.1.out_proj'),
    (r'ln_2', 'pre_norm_ffn.0'), (r'mlp\.c_fc', 'pre_norm_ffn.1'), (r'mlp\.c_proj', 'pre_norm_ffn.4'),
]
# One network of Apple's holds what timm has in stages: blocks, and before those of a later stage its downsampling and
# positions.
PLACES = {('0', 'blocks'): 0}
for stage in '1', '2', '3':
    for part in ('downsample', 'pos_emb', 'blocks') if stage == '3' else ('downsample', 'blocks'):
        PLACES[stage, part] = len(PLACES)


def apple_name(name):
    if name == 'logit_scale':
        return name
    tower, name = name.split('.', 1)
    if tower == 'text':
        for pattern, to in TEXT:
            name = re.sub(pattern, to, name)
        return 'text_encoder.' + name
    name = name.removeprefix('trunk.')
    if m := re.match(r'stages\.(\d)\.(\w+)\.(.*)', name):
        rest = {'pos_emb': 'pe.' + m[3].removeprefix('pos_enc.')}.get(m[2], m[3])
        name = f'network.{PLACES[m[1], m[2]]}.{rest}'
    for pattern, to in IMAGE:
        name = re.sub(pattern, to, name)
    return 'image_encoder.model.' + name


apple = {}
for name, x in model.state_dict().items():
    x = torch.rand(x.shape) + 0.5 if 'running_var' in name else torch.tensor(7) if 'tracked' in name else torch.randn(x.shape)
    if name == 'visual.trunk.head.fc.bias':
        continue
    if name == 'visual.trunk.head.fc.weight':
        x = x.T
    if name == 'text.positional_embedding':
        x = x[None, None]
    apple[apple_name(name)] = x
converted = convert_state_dict(model, dict(apple))
model.load_state_dict(converted)
fused = reparameterize_model(model.eval()).state_dict()
for path, tensors in [('mobileclip_s_apple', apple), ('mobileclip_s', converted), ('mobileclip_s_fused', fused)]:
    save_file({k: v.contiguous() for k, v in tensors.items()}, path + '.safetensors')

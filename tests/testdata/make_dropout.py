"""Writes dropout.json: losses and gradients of open_clip's models in training mode, with masks from the random words of
shaders/lib/random.wgsl in the place of torch's. Operations that drop have a stream of words each, numbered in the order in
which they run.

    PYTHONPATH=open_clip/src python make_dropout.py    # open_clip 4.2.0.dev0; needs torch, timm 1.0.31, transformers 5.24.0
"""
import json
import math
import os
import zlib

os.environ['TIMM_FUSED_ATTN'] = '0'  # whose dropout is none of torch's functions

import numpy as np
import timm.layers.drop
import torch
from open_clip import CLIP, CustomTextCLIP, hf_model
from open_clip.loss import ClipLoss
from transformers import RobertaConfig

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.set_num_threads(1)
SEED = [123456789, -42]
TEXT = dict(context_length=8, vocab_size=60, width=20, heads=2, layers=1)
TEXTS = [[58, 3, 4, 5, 6, 59, 0, 0], [58, 7, 59, 0, 0, 0, 0, 0], [58, 9, 10, 11, 12, 13, 14, 59]]
VIT = dict(image_size=32, layers=2, width=24, head_width=12, patch_size=8)


def timm_tower(name, proj, kwargs, **vision):
    kwargs = dict(dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2), **kwargs)
    return dict(dict(image_size=32, timm_model_name=name, timm_pool='avg', timm_proj=proj, timm_model_kwargs=kwargs), **vision)


ALL = dict(drop_rate=0.1, pos_drop_rate=0.15, proj_drop_rate=0.2, attn_drop_rate=0.25, drop_path_rate=0.4)
CASES = {
    'native': dict(vision_cfg=dict(VIT, patch_dropout=0.3, timm_drop=0.5), text_cfg=TEXT),
    'ResNet': dict(vision_cfg=dict(image_size=64, layers=[1, 1, 1, 1], width=8, head_width=32, patch_dropout=0.3), text_cfg=TEXT),
    'linear': dict(vision_cfg=timm_tower('vit_tiny_patch16_224', 'linear', {}, timm_drop=0.3, timm_drop_path=0.5, patch_dropout=0.4), text_cfg=TEXT),
    'mlp': dict(vision_cfg=timm_tower('vit_tiny_patch16_224', 'mlp', ALL, timm_drop=0.3, timm_drop_path=0.9), text_cfg=TEXT),
    'own head': dict(vision_cfg=timm_tower('vit_medium_patch16_reg4_gap_256', '', dict(ALL, patch_drop_rate=0.3), timm_drop=0.3, patch_dropout=0.7), text_cfg=TEXT),
    'null': dict(vision_cfg=timm_tower('vit_tiny_patch16_224', 'none', dict(embed_dim=20, drop_path_rate=None), timm_drop_path=0.9), text_cfg=TEXT),
    'SigLIP': dict(vision_cfg=timm_tower('vit_base_patch16_siglip_224', 'none', dict(ALL, embed_dim=20), timm_pool='map', patch_dropout=0.5), text_cfg=TEXT),
    'PE-Core': dict(vision_cfg=timm_tower('vit_pe_core_base_patch16_224', '', dict(ALL, attn_pool_num_heads=3), timm_pool='map', patch_dropout=0.5), text_cfg=TEXT),
    'MobileCLIP-B': dict(vision_cfg=timm_tower('vit_base_mci_224', '', dict(ALL, patch_size=1, embed_dim=768, depth=1, num_heads=2, mlp_ratio=0.1), timm_pool='token', patch_dropout=0.5), text_cfg=TEXT),
    'EVA-02': dict(vision_cfg=timm_tower('eva02_base_patch16_clip_224', '', ALL, timm_pool='token', patch_dropout=0.5), text_cfg=TEXT),
    'EVA with norms behind': dict(vision_cfg=timm_tower('eva02_enormous_patch14_clip_224', 'linear', dict(ALL, swiglu_mlp=True)), text_cfg=TEXT),
    'relative positions': dict(vision_cfg=timm_tower('vit_relpos_medium_patch16_cls_224', '', dict({k: v for k, v in ALL.items() if k != 'pos_drop_rate'}, rel_pos_dim=6), timm_pool='token'), text_cfg=TEXT),
    # not proj_drop_rate, whose mask is by windows in timm
    'Swin': dict(vision_cfg=dict(image_size=32, timm_model_name='swin_tiny_patch4_window7_224', timm_pool='avg', timm_proj='', timm_model_kwargs=dict(
        img_size=32, patch_size=4, window_size=4, embed_dim=8, depths=[2, 2], num_heads=[1, 2], drop_rate=0.1, attn_drop_rate=0.25, drop_path_rate=0.4)), text_cfg=TEXT),
    'RoBERTa': dict(vision_cfg=dict(VIT, layers=1), text_cfg=dict(
        hf_model_name='roberta-base', hf_pooler_type='cls_pooler', hf_proj_type='mlp', hf_model_pretrained=False, hf_model_config=dict(
            vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=36, max_position_embeddings=12,
            hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3))),
}


def words(stream, n):
    """Words 0 to n of a stream: the first of threefry2x32 with 20 rounds."""
    with np.errstate(over='ignore'):
        key = np.array(SEED).astype(np.uint32)
        key = [key[0], key[1], np.uint32(0x1bd11bda) ^ key[0] ^ key[1]]
        x, y = np.full(n, stream, np.uint32) + key[0], np.arange(n, dtype=np.uint32) + key[1]
        for group in range(5):
            for distance in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
                x = x + y
                y = (y << np.uint32(distance) | y >> np.uint32(32 - distance)) ^ x
            x, y = x + key[(group + 1) % 3], y + key[(group + 2) % 3] + np.uint32(group + 1)
    return x


streams = 0


def next_stream():
    global streams
    streams += 1
    return streams - 1


def mask(shape, rate):
    kept = words(next_stream(), math.prod(shape)) > round(rate * 2**32) - 1
    return torch.tensor(kept.reshape(shape), dtype=torch.float32) / (1 - rate)


def dropout(x, p=0.5, training=True, inplace=False):
    return x * mask(x.shape, p) if training and p > 0 else x


def drop_path(x, drop_prob=0.0, training=False, scale_by_keep=True):
    return x * mask((x.shape[0],) + (1,) * (x.ndim - 1), drop_prob) if training and drop_prob > 0 else x


def randn(batch, patches, device=None):
    """What patch dropout sorts: open_clip takes the greatest, timm, which names the device, the least."""
    w = torch.tensor(words(next_stream(), batch * patches).reshape(batch, patches).astype(np.float64))
    return w if device is None else -w


def numbers(name, shape):
    i = np.arange(math.prod(shape))
    return (((7 * i + 13) * i + zlib.crc32(name.encode())) % 1009 / 504 - 1).reshape(shape)


def build(config):
    text = config['text_cfg']
    if 'hf_model_name' not in text:
        return CLIP(**config)
    attention = dict(_attn_implementation='eager')
    hf_model.AutoConfig.from_pretrained = lambda name: RobertaConfig(layer_norm_eps=1e-5, **attention)
    return CustomTextCLIP(**config)


def run(name, config):
    global streams
    config = dict(embed_dim=20, **config)
    model = build(json.loads(json.dumps(config))).train()
    for n, p in model.named_parameters():
        value = numbers(n, p.shape) / 4 + (p.ndim == 1 and n.endswith('weight'))
        p.data = torch.tensor(value + 2 * (n == 'logit_scale'), dtype=torch.float32)
    side = config['vision_cfg']['image_size']
    streams, torch.randn = 0, randn
    image, text, scale = model(torch.tensor(numbers('image', (3, 3, side, side)), dtype=torch.float32), torch.tensor(TEXTS))[:3]
    torch.randn = torch_randn
    loss = ClipLoss()(image, text, scale)
    loss.backward()
    digests = {}
    for n, p in model.named_parameters():
        if p.requires_grad:
            g = (torch.zeros_like(p) if p.grad is None else p.grad).flatten().double()
            digests[n] = [g.norm().item(), (g * torch.cos(0.37 * torch.arange(len(g)).double() + 1)).sum().item()]
    print(name, streams, loss.item())
    tolerance = 1e-4 if name == 'ResNet' else 1e-5  # of the norm; batch norms of 12 values enlarge what is rounded
    return dict(name=name, config=config, streams=streams, loss=loss.item(), tolerance=tolerance, digests=digests)


torch_randn = torch.randn
torch.nn.functional.dropout, timm.layers.drop.drop_path = dropout, drop_path
with open('dropout.json', 'w') as f:
    json.dump(dict(seed=SEED, texts=TEXTS, cases=[run(*c) for c in CASES.items()]), f)
    f.write('\n')

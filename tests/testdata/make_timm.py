"""Writes the cases of timm's towers that open_clip's recordings lack, in their form, into oracle/.

    PYTHONPATH=open_clip/src python make_timm.py    # open_clip 4.2.0.dev0; needs torch, timm, safetensors
"""
import json
import math
import os

import numpy as np
import open_clip
import torch
from open_clip.loss import ClipLoss
from safetensors.torch import save_file

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'oracle'))
torch.set_num_threads(1)
TEXT = dict(context_length=8, vocab_size=60, width=20, heads=2, layers=1)
SIGLIP_TEXT = dict(TEXT, no_causal_mask=True, pool_type='last', proj_bias=True, norm_kwargs=dict(eps=1e-6))


def tower(name, pool, proj, size, bias=False, **kwargs):
    kwargs = dict(dict(img_size=size, patch_size=8, embed_dim=24, depth=2, num_heads=2), **kwargs)
    return dict(image_size=size, timm_model_name=name, timm_model_pretrained=False, timm_pool=pool, timm_proj=proj, timm_proj_bias=bias, timm_model_kwargs=kwargs)


CASES = {
    'pe_core': (
        'PE-Core: rotary positions on a grid of 3 by 5 (offset 1, scaled to 14 by 14, xy), norm_pre, no bias of the patches; attention pooling of 8 heads sees the class token; own head',
        dict(embed_dim=20, custom_text=True, vision_cfg=tower('vit_pe_core_base_patch16_224', 'map', None, [24, 40], embed_dim=32), text_cfg=TEXT)),
    'pe_core_no_class_token': (
        'PE-Core bigG: no class token, no offset of the rotary grid, mlp_ratio 35/6',
        dict(embed_dim=20, custom_text=True, vision_cfg=tower('vit_pe_core_gigantic_patch14_448', 'map', None, [40, 24], num_heads=3, embed_dim=24), text_cfg=TEXT)),
    'pe_core_avg': (
        'PE-Core: average of the patches in place of attention pooling, linear head; grid indexing ij, another temperature, offset and reference grid',
        dict(embed_dim=16, custom_text=True, vision_cfg=tower('vit_pe_core_tiny_patch16_384', 'avg', 'linear', [24, 40], embed_dim=16, depth=1,
                                                              rope_grid_indexing='ij', rope_temperature=100, rope_grid_offset=0.5, ref_feat_shape=[4, 7]), text_cfg=TEXT)),
    'siglip2_timm_map': (
        'SigLIP2: tanh form of GELU in the image tower and, by act_kwargs, in the text tower; a width that is no multiple of 4',
        dict(embed_dim=26, init_logit_bias=-10, custom_text=True, vision_cfg=tower('vit_base_patch32_siglip_256', 'map', 'none', 24, embed_dim=26),
             text_cfg=dict(SIGLIP_TEXT, act_kwargs=dict(approximate='tanh')))),
    'timm_vit_clip_quickgelu': (
        "timm's ViT as CLIP has it: norm_pre, no bias of the patches, QuickGELU, eps 1e-5; mlp head without bias",
        dict(embed_dim=18, vision_cfg=tower('vit_base_patch16_clip_quickgelu_224', 'token', 'mlp', [24, 40]), text_cfg=TEXT)),
    'timm_vit_reg4_gap': (
        'registers without class token, positions of the patches only, LayerScale, fc_norm after the average of the patches, own head',
        dict(embed_dim=18, vision_cfg=tower('vit_medium_patch16_reg4_gap_256', 'avg', '', 24), text_cfg=TEXT)),
    'timm_vit_medium_gap': (
        "the model's own average pooling (timm_pool ''), no bias of q, k and v, LayerScale, norm before the pool, linear head with bias",
        dict(embed_dim=18, vision_cfg=tower('vit_medium_patch16_gap_256', '', 'linear', 24, bias=True, depth=1, patch_size=[8, 6]), text_cfg=TEXT)),
    'eva_options': (
        'Eva: queries, keys and values by maps without biases, a norm before the last map of the attention and of an MLP without gates, rotary positions '
        'but no learned ones, registers, a grid of 3 by 5, fc_norm after the average of the patches, own head',
        dict(embed_dim=18, vision_cfg=tower('eva_giant_patch14_224', 'avg', '', [24, 40], qkv_fused=False, qkv_bias=False, scale_attn_inner=True, scale_mlp=True,
                                            use_abs_pos_emb=False, use_rot_pos_emb=True, num_reg_tokens=2, mlp_ratio=2.1), text_cfg=TEXT)),
    'swin_odd': (
        'Swin: a grid of 15 by 23 that windows of 4 by 3 do not fit, a shift that differs by axis, merged patches beyond the grid, own head',
        dict(embed_dim=18, vision_cfg=dict(tower('swin_tiny_patch4_window7_224', 'avg', '', [30, 46]), timm_model_kwargs=dict(
            img_size=[30, 46], patch_size=2, window_size=[4, 3], embed_dim=6, depths=[2, 2], num_heads=[1, 2], mlp_ratio=3)), text_cfg=TEXT)),
    'vit_relpos_gap': (
        'biases by relative positions in a grid of 3 by 5 without class token, fc_norm after the average of the patches, mlp head',
        dict(embed_dim=18, vision_cfg=tower('vit_relpos_small_patch16_224', '', 'mlp', [24, 40], rel_pos_dim=6), text_cfg=TEXT)),
}
HOOKED = ('patch_embed', 'norm_pre', 'blocks.0', 'blocks.1', 'layers.0', 'layers.1', 'norm', 'attn_pool', 'fc_norm', 'head')
COMBOS = [
    dict(image_indices=[-1, 0], image_output_extra_tokens=True), dict(image_indices=1, normalize_intermediates=True, image_output_fmt='NLC'),
    dict(image_indices=[0], stop_early=True, normalize=False, image_output_extra_tokens=True), dict(intermediates_only=True, image_output_fmt='NLC', only='image'),
    dict(image_indices=[0], stop_early=True, intermediates_only=True, image_output_extra_tokens=True, normalize_intermediates=True),
    dict(image_indices=3), dict(image_output_fmt='NHWC'),
]


def randomise(model):
    for name, p in model.named_parameters():
        with torch.no_grad():
            if name in ('logit_scale', 'logit_bias'):
                p.copy_(torch.randn(()) / 4 + (2.2 if name == 'logit_scale' else 1))
            elif p.ndim == 1:
                p.copy_(torch.randn(p.shape) / 3 + (1 if 'norm' in name or 'ln_' in name else 0) + (0.5 if 'gamma' in name else 0))
            elif 'token' in name or 'pos' in name or 'latent' in name:
                p.copy_(torch.randn(p.shape))
            else:
                p.copy_(torch.randn(p.shape) * 2 / math.sqrt(p[0].numel()))


def compute(model, image, text, double):
    """All outputs, with hooks on the modules."""
    model, image = (model.double(), image.double()) if double else (model.float(), image.float())
    out, hooks = {}, []
    for name, module in model.named_modules():
        short = name.removeprefix('visual.trunk.')
        if name == 'visual.head' or name != short and short in HOOKED:
            hooks.append(module.register_forward_hook(lambda m, i, o, name=name: acts.__setitem__('act.' + name, o)))
    with torch.no_grad():
        acts = {}
        i, t = model.encode_image(image), model.encode_text(text)
        out.update(image_features=i, text_features=t, **acts)
        i, t = (x / x.norm(dim=-1, keepdim=True) for x in (i, t))
        logits = model.logit_scale.exp() * i @ t.T + (0 if model.logit_bias is None else model.logit_bias)
        out.update(image_features_norm=i, text_features_norm=t, image_logits=logits, text_logits=logits.T, logit_scale_exp=model.logit_scale.exp())
        if model.logit_bias is not None:
            out['logit_bias'] = model.logit_bias
        extra = getattr(model.visual.trunk, 'num_prefix_tokens', 0) > 0
        for key, value in flat(model.forward_intermediates(image, text, image_output_extra_tokens=extra)).items():
            out['fi.' + key] = value
    for h in hooks:
        h.remove()
    return {k: v.detach().clone().contiguous() for k, v in out.items()}


def flat(d):
    one = {}
    for k, v in d.items():
        one.update({f'{k}.{i}': x for i, x in enumerate(v)} if isinstance(v, list) else {k: v})
    return one


def gradients(model, image, text, double):
    model, image = (model.double(), image.double()) if double else (model.float(), image.float())
    model.zero_grad()
    i, t = model.encode_image(image, normalize=True), model.encode_text(text, normalize=True)
    loss = ClipLoss()(i, t, model.logit_scale.exp(), **({} if model.logit_bias is None else {'logit_bias': model.logit_bias}))
    loss.backward()
    digests = {}
    for name, p in model.named_parameters():
        g = p.grad.flatten().double().numpy()
        digests[name] = [float(np.sqrt((g * g).sum())), float(np.abs(g).max()), float((g * np.cos(0.37 * np.arange(g.size) + 1)).sum())]
    return loss.item(), digests


def round_up(v):
    """To 1, 2 or 5 times a power of ten."""
    p = 10.0 ** math.floor(math.log10(v))
    return float(f'{next(f for f in (1, 2, 5, 10) if f * p >= v) * p:.0e}')


def save(path, tensors):
    save_file({k: v.float().contiguous() if v.is_floating_point() else v for k, v in tensors.items()}, path)


def write_json(path, data):
    with open(path, 'w') as f:
        json.dump(data, f, indent=1)
        f.write('\n')


def meta(case, kind, exercises, single, double, **more):
    error = max((single[k].double() - double[k]).abs().max().item() for k in double)
    write_json(f'{case}/meta.json', dict(case=case, kind=kind, exercises=exercises, f32_vs_f64_max_abs=error, suggested_abs_tolerance=round_up(8 * error), **more))


def inputs(config):
    size = config['vision_cfg']['image_size']
    h, w = (size, size) if isinstance(size, int) else size
    return torch.randn(3, 3, h, w), torch.randint(1, TEXT['vocab_size'], (3, TEXT['context_length']))


def build(config):
    config = json.loads(json.dumps(config))
    kind = open_clip.CustomTextCLIP if config.pop('custom_text', False) else open_clip.CLIP
    if 'init_logit_bias' in config:
        config['init_logit_bias'] = float(config['init_logit_bias'])
    return kind(**config).eval()


for seed, (case, (exercises, config)) in enumerate(CASES.items()):
    torch.manual_seed(seed)
    os.makedirs(case, exist_ok=True)
    model = build(config)
    randomise(model)
    image, text = inputs(config)
    save(f'{case}/model.safetensors', model.state_dict())
    save(f'{case}/inputs.safetensors', dict(image=image, text=text))
    write_json(f'{case}/config.json', config)
    single, single_grads = compute(model, image, text, False), gradients(model, image, text, False)
    double, (loss, digests) = compute(model, image, text, True), gradients(model, image, text, True)
    save(f'{case}/outputs.safetensors', single)
    meta(case, 'forward', exercises, single, double)
    deviation = max(abs(a - b) for n in digests for a, b in zip(digests[n], single_grads[1][n]))
    write_json(f'{case}/grads.json', dict(objective='ClipLoss(image_features, text_features, logit_scale[, logit_bias]) on the case inputs, eval mode',
                                          loss=loss, f32_vs_f64_max_dev_of_any_digest=deviation, params=digests))
    if case != 'pe_core':
        continue
    name, combos, tensors = 'intermediates_timm', [], [{}, {}]
    os.makedirs(name, exist_ok=True)
    for number, flags in enumerate(COMBOS):
        combo, args = dict(flags=flags), {k: v for k, v in flags.items() if k != 'only'}
        for double in (False, True):
            m, x = (model.double(), image.double()) if double else (model.float(), image.float())
            try:
                with torch.no_grad():
                    out = flat(m.forward_intermediates(x, None if flags.get('only') == 'image' else text, **args))
            except AssertionError as e:
                combo['error'] = str(e)
                continue
            combo['tensors'] = {k: f'{number:02d}.{k}' for k in out}
            tensors[double].update({f'{number:02d}.{k}': v.detach().clone() for k, v in out.items()})
        combos.append(combo)
    save(f'{name}/inputs.safetensors', dict(image=image, text=text))
    save(f'{name}/outputs.safetensors', tensors[0])
    write_json(f'{name}/config.json', config)
    write_json(f'{name}/combos.json', combos)
    meta(name, 'intermediates', 'forward_intermediates of a timm tower with a class token: flags', *tensors, model_from='../pe_core/model.safetensors', text_prefix='text.')

"""Writes the locks.json of cases in oracle/: a part of open_clip's recordings, and the models that those lack.

    PYTHONPATH=open_clip/src python make_locks.py RECORDINGS    # open_clip 4.2.0.dev0; needs torch, timm 1.0.31
"""
import json
import os
import sys

import open_clip

RECORDED = ('modified_resnet', 'opt_attn_pool_cascade', 'opt_embed_cls', 'opt_no_ln_pre', 'opt_proj_bias', 'opt_proj_none', 'opt_sincos',
            'siglip_timm_map', 'timm_vit_avg', 'vit_openai_tiny', 'mobileclip_b_mci', 'hf_roberta_quick', 'coca_tiny', 'coca_roberta_tokens',
            'convnext_base_linear', 'fastvit_mci0', 'vitamin_small', 'eva02_base_clip', 'timm_resnet18',
            'eva02_enormous', 'timm_eva02', 'swin_base', 'vit_relpos_cls')
LACKING = ('pe_core', 'siglip2_timm_map', 'timm_vit_clip_quickgelu')
HUGGING_FACE = ('hf_bert_cls_linear', 'hf_mt5_mean_mlp', 'hf_nllb_cls_linear', 'hf_modernbert_cls_linear', 'moderntext_vit_b32')
RUNS = {
    'train_vit': ('lock_image_tower(0) then (2): later call overrides', 'lock_text_tower(unlocked_layers=1,freeze_layer_norm=True)'),
    'train_resnet': ('lock_image_tower(0, freeze_bn_stats=False)', 'lock_image_tower(3, freeze_bn_stats=True)'),
}


def read(path):
    with open(path) as f:
        return json.load(f)


def write(case, entries):
    with open(f'{case}/locks.json', 'w') as f:
        f.write('{\n' + ',\n'.join(f'{json.dumps(k)}: {json.dumps(v, separators=(",", ":"))}' for k, v in entries.items()) + '\n}\n')


def fresh(case):
    config = read(f'{case}/config.json')
    kind = open_clip.CustomTextCLIP if config.pop('custom_text', False) else open_clip.CLIP
    if 'init_logit_bias' in config:
        config['init_logit_bias'] = float(config['init_logit_bias'])
    return kind(**config)


def record(case):
    model = fresh(case)
    skipped = model.no_weight_decay()
    lists = {'no_decay_with_ndim_over_1': [n for n, p in model.named_parameters() if p.ndim > 1 and n in skipped]}
    for tower, most in ('image', 4), ('text', 3):
        for unlocked in range(most):
            model = fresh(case)
            getattr(model, f'lock_{tower}_tower')(unlocked)
            lists[f'lock_{tower}_tower({unlocked})'] = [
                n for n, p in model.named_parameters()
                if p.requires_grad and n not in ('logit_scale', 'logit_bias') and n.startswith('visual.') == (tower == 'image')]
    return lists


recordings = os.path.abspath(sys.argv[1])
os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'oracle'))
recorded = read(f'{recordings}/locks_and_wd/locks.json') | read(f'{recordings}/locks_and_wd2/locks.json')
for case in 'vit_openai_tiny', 'timm_vit_avg':  # what is computed here is what was recorded
    assert {k: set(v) for k, v in record(case).items()} == {k: set(v) for k, v in recorded[case].items()}, case
write('locks_and_wd', {case: recorded[case] for case in HUGGING_FACE + RECORDED} | {case: record(case) for case in LACKING})
for case, names in RUNS.items():
    runs = read(f'{recordings}/{case}/locks.json')
    write(case, {name: runs[name] for name in names})

"""Writes layer_decay.json: the groups of parameters that open_clip_train makes for
layer-wise decay, of models of tests/testdata/oracle.

    PYTHONPATH=open_clip/src python make_layer_decay.py > layer_decay.json    # torch 2.6, timm 1.0.31
"""

import json
from pathlib import Path

from open_clip import CLIP, CustomTextCLIP
from open_clip_train.optim import layer_decay_param_groups

CASES = ["train_vit", "train_resnet", "opt_custom_text", "opt_attn_pool", "opt_embed_cls", "timm_vit_token_mlp", "siglip_timm_map"]
ORACLE = Path(__file__).parents[2] / "tests/testdata/oracle"
SETTINGS = dict(text_layer_decay=0.7, image_layer_decay=0.85)

all_groups = {}
for case in CASES:
    config = json.loads((ORACLE / case / "config.json").read_text())
    config = config.get("model_cfg", config)
    make = CustomTextCLIP if config.pop("custom_text", False) else CLIP
    model = make(**config)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = layer_decay_param_groups(model, 1.0, **SETTINGS)
    all_groups[case] = [
        dict(lr_scale=g["lr_scale"], decays=g["weight_decay"] > 0, names=[names[id(p)] for p in g["params"]]) for g in groups
    ]
print(json.dumps(dict(settings=SETTINGS, groups=all_groups), indent=1))

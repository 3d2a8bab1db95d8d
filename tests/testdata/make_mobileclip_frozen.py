"""Writes mobileclip_frozen.json: the image features of oracle/mobileclip_b_mci after
lock_image_tower(0, freeze_bn_stats=True) of open_clip 4.2.0.dev0 (timm 1.0.31).

    python make_mobileclip_frozen.py oracle/mobileclip_b_mci
"""
import json
import sys

import timm.models.vision_transformer_hybrid as hybrid
import torch
from open_clip.model import CustomTextCLIP
from safetensors.torch import load_file

init = hybrid.ConvStem.__init__


def small(self, *args, **kwargs):
    init(self, *args, **dict(kwargs, channels=(6, 6, 24)))


hybrid.ConvStem.__init__ = small
folder = sys.argv[1]
with open(folder + "/config.json") as f:
    model = CustomTextCLIP(**json.load(f))
model.load_state_dict(load_file(folder + "/model.safetensors"))
model.eval()
model.lock_image_tower(0, freeze_bn_stats=True)
with torch.no_grad():
    features = model.encode_image(load_file(folder + "/inputs.safetensors")["image"])
with open("mobileclip_frozen.json", "w") as f:
    json.dump([round(x, 7) for x in features.flatten().tolist()], f)

"""Writes the cases of Hugging Face text towers that open_clip's recordings lack, in their form, into oracle/.

    PYTHONPATH=open_clip/src python make_hf.py    # open_clip 4.2.0.dev0; needs torch, transformers 5.24.0, safetensors
"""
import json
import math
import os

import torch
from open_clip import CustomTextCLIP, hf_model
from open_clip.loss import ClipLoss
from safetensors.torch import save_file
from transformers import RobertaConfig

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'oracle'))
torch.set_num_threads(1)
# The hub's roberta-base, but for what every case below replaces.
hf_model.AutoConfig.from_pretrained = lambda name: RobertaConfig(layer_norm_eps=1e-5)

PAD = 5
CASES = {
    'hf_roberta_max_linear': (
        'max_pooler over what is not padding; two token types, of which the first counts; another pad_token_id; padding inside a row',
        dict(hf_pooler_type='max_pooler', hf_proj_type='linear'), dict(type_vocab_size=2, hidden_act='gelu_new'),
        [[7, 8, 9, 10, 11, 12], [7, PAD, 9, PAD, PAD, PAD], [PAD, PAD, PAD, PAD, PAD, 30]]),
    'hf_roberta_cls_odd_rows': (
        'cls_pooler is the encoder\'s own pooling layer; rows that start with padding, whose embeddings have no gradient, and one of nothing else, which sees no key',
        dict(hf_pooler_type='cls_pooler', hf_proj_type='clap_mlp'), dict(type_vocab_size=1, hidden_act='relu'),
        [[7, 8, 9, 10, 11, 12], [PAD, 7, 9, PAD, PAD, 8], [PAD] * 6]),
    'hf_roberta_no_pooler_no_proj': (
        'hf_pooler_type null: the mean, without a pooling layer; hf_proj_type null with embed_dim equal to the width; rows as long as there are positions',
        dict(hf_pooler_type=None, hf_proj_type=None), dict(type_vocab_size=1, layer_norm_eps=0.1, max_position_embeddings=12),
        [[7, 8, 9, 10, 11, 12], [30, 30, 30, 30, 30, PAD], [29, PAD, 28, 27, 26, 25]]),
}


def randomise(model):
    for name, p in model.named_parameters():
        with torch.no_grad():
            if name == 'logit_scale':
                p.fill_(2.2)
            elif p.ndim == 1:
                p.copy_(torch.randn(p.shape) / 3 + ('orm.weight' in name or 'ln_' in name and 'weight' in name))
            else:
                p.copy_(torch.randn(p.shape) * (1 if 'embedding' in name else 2 / math.sqrt(p[0].numel())))


def compute(model, image, text):
    """Outputs, with hooks on the modules of the text tower, the loss and digests of its gradients."""
    out, hooks = {}, []
    for name, module in model.text.named_modules():
        if name in ('pooler', 'proj', 'transformer.pooler', 'transformer.embeddings') or name.startswith('transformer.encoder.layer.') and name.count('.') == 3:
            hooks.append(module.register_forward_hook(lambda m, i, o, name=name: out.__setitem__('act.text.' + name, o)))
    i, t = model.encode_image(image), model.encode_text(text)
    for h in hooks:
        h.remove()
    out.update(image_features=i, text_features=t)
    i, t = (x / x.norm(dim=-1, keepdim=True) for x in (i, t))
    out.update(image_features_norm=i, text_features_norm=t, image_logits=model.logit_scale.exp() * i @ t.T)
    loss = ClipLoss()(i, t, model.logit_scale.exp())
    loss.backward()
    digests = {}
    for name, p in model.named_parameters():
        g = p.grad.flatten().double()
        digests[name] = [g.norm().item(), g.abs().max().item(), (g * torch.cos(0.37 * torch.arange(len(g)) + 1)).sum().item()]
    model.zero_grad()
    return {k: v.detach().clone().contiguous() for k, v in out.items()}, loss.item(), digests


def round_up(v):
    """To 1, 2 or 5 times a power of ten."""
    p = 10.0 ** math.floor(math.log10(v))
    return float(f'{next(f for f in (1, 2, 5, 10) if f * p >= v) * p:.0e}')


def write_json(path, data):
    with open(path, 'w') as f:
        json.dump(data, f, indent=1)
        f.write('\n')


for seed, (case, (exercises, text_cfg, model_config, rows)) in enumerate(CASES.items()):
    torch.manual_seed(seed)
    os.makedirs(case, exist_ok=True)
    config = dict(
        embed_dim=12, vision_cfg=dict(image_size=8, layers=1, width=8, head_width=4, patch_size=4),
        text_cfg=dict(hf_model_name='roberta-base', **text_cfg, hf_model_pretrained=False, hf_model_config=dict(dict(
            vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, max_position_embeddings=14, pad_token_id=PAD), **model_config)))
    model = CustomTextCLIP(**json.loads(json.dumps(config))).eval()
    randomise(model)
    image, text = torch.randn(len(rows), 3, 8, 8), torch.tensor(rows)
    save_file(model.state_dict(), f'{case}/model.safetensors')
    save_file(dict(image=image, text=text), f'{case}/inputs.safetensors')
    write_json(f'{case}/config.json', config)
    single, _, single_digests = compute(model, image, text)
    double, loss, digests = compute(model.double(), image.double(), text)
    save_file(single, f'{case}/outputs.safetensors')
    error = max((single[k].double() - double[k]).abs().max().item() for k in double)
    write_json(f'{case}/meta.json', dict(case=case, kind='forward', exercises=exercises, f32_vs_f64_max_abs=error, suggested_abs_tolerance=round_up(8 * error)))
    deviation = max(abs(a - b) for n in digests for a, b in zip(digests[n], single_digests[n]))
    write_json(f'{case}/grads.json', dict(objective='ClipLoss(image_features, text_features, logit_scale) on the case inputs, eval mode',
                                          loss=loss, f32_vs_f64_max_dev_of_any_digest=deviation, params=digests))

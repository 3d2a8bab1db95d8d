"""Writes this folder's files of PyTorch and NumPy, and values.safetensors with what is in them.

    python make.py        # needs torch (made with 2.15), numpy, safetensors
"""
import collections
import os

import numpy as np
import torch
from safetensors.torch import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(3)
base = torch.randn(6, 8)
awkward = collections.OrderedDict(
    f32=torch.randn(3, 5),
    f16=torch.randn(3, 5).half(),
    bf16=torch.randn(3, 5).bfloat16(),
    f64=torch.randn(3, 5).double(),
    i64=torch.tensor([[-(2 ** 40), 7]]),
    i32=torch.tensor([-5, 2 ** 31 - 1], dtype=torch.int32),
    i16=torch.tensor([-300, 300], dtype=torch.int16),
    i8=torch.tensor([-128, 127], dtype=torch.int8),
    u8=torch.tensor([0, 255], dtype=torch.uint8),
    bool=torch.tensor([True, False, True]),
    scalar=torch.tensor(4.25),
    none=torch.zeros(0, 7),
    whole=base,
    rows=base[2:4],                                  # the same storage, at an offset
    column=base[:, 3],                               # strided
    transposed=base.t(),
    channels_last=torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    expanded=torch.randn(4, 1).expand(4, 3),         # a stride of 0
    parameter=torch.nn.Parameter(torch.randn(2, 2)),
)
torch.save(awkward, 'zip.pt')
torch.save(awkward, 'legacy.pt', _use_new_zipfile_serialization=False)
save_file({k: v.detach().contiguous().clone() for k, v in awkward.items()}, 'values.safetensors')


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(awkward['f16'].clone(), requires_grad=False)

    def forward(self, x):
        return x + self.weight


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Inner()
        self.blocks = torch.nn.Sequential(Inner(), Inner())
        self.scale = torch.nn.Parameter(awkward['scalar'].clone())
        self.register_buffer('input_resolution', torch.tensor(224))
        self.steps, self.rate, self.label = 3, 0.5, 'a'

    def forward(self, x):
        return self.blocks(self.first(x)) * self.scale


model = Outer()
torch.jit.save(torch.jit.script(model), 'torchscript.pt')
torch.save(model, 'module.pt')
torch.save(model, 'module_legacy.pt', _use_new_zipfile_serialization=False)
optimizer = torch.optim.AdamW([model.scale], lr=1e-3)
model(torch.zeros(3, 5)).sum().backward()
optimizer.step()
with torch.no_grad():
    model.scale.copy_(awkward['scalar'])
torch.save({'epoch': 3, 'name': 'run', 'state_dict': {'module.' + k: v for k, v in model.state_dict().items()},
            'optimizer': optimizer.state_dict(), 'scaler': {'scale': 65536.0, '_growth_tracker': 0}}, 'training.pt')

a = np.arange(12, dtype=np.float32).reshape(3, 4)
np.savez('arrays.npz', **{'params/f32': a, 'fortran': np.asfortranarray(a), 'f16': a.astype(np.float16), 'scalar': np.float32(2.5),
                          'i64': np.arange(3), 'f64': a.astype(np.float64)})

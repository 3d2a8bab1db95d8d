"""Checkpoints that hold everything that torch.load(weights_only=True) reads, and NumPy's scalars and arrays.

Made with torch 2.15.0, numpy 2.4.6 and safetensors 0.8.0: python make_kinds.py
"""
import collections
import os

import numpy as np
import torch
from safetensors.torch import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
bytes_ = torch.arange(48, dtype=torch.uint8)
attributed = torch.ones(3)
attributed.note = 'kept in a _rebuild_from_type_v2'
parameter = torch.nn.Parameter(torch.ones(2, 2))
parameter.note = 'kept in a _rebuild_parameter_with_state'
empty = torch.zeros(0)
tensors = {
    'f32': torch.arange(6.).reshape(2, 3),
    'u16': bytes_.view(torch.uint16)[3:15:2],
    'u32': bytes_.view(torch.uint32).reshape(3, 4).t(),
    'u64': bytes_.view(torch.uint64)[2:],
    'f8_e4m3': torch.arange(6.).to(torch.float8_e4m3fn).reshape(2, 3).t(),
    'f8_e5m2': torch.arange(4.).to(torch.float8_e5m2),
    'f8_e8m0': torch.tensor([1., 2., 4.]).to(torch.float8_e8m0fnu),
    'c64': torch.complex(torch.ones(2), torch.arange(2.)),
    'attributed': attributed,
    'buffer': torch.nn.Buffer(torch.arange(2.)),
    'parameter': parameter,
    'empty': empty,
    'empty_of_the_same_storage': empty.view(torch.int32),
}
tensors = {k: v if 'u' != k[0] else v.clone(memory_format=torch.preserve_format) for k, v in tensors.items()}
sparse = torch.sparse_coo_tensor([[0, 1], [1, 0]], [1., 2.], (2, 2))
complexes = tensors['c64']
others = {
    'size': torch.Size([2, 3]), 'set': {1, 'a', ()}, 'empty set': set(), 'bytes': b'\x00\xff', 'bytearray': bytearray(b'ab'), 'device': torch.device('cuda:0'),
    'complex': 1 + 2j, 'counter': collections.Counter('abca'), 'ordered': collections.OrderedDict(a=1), 'big': -2 ** 70, 'path': 'a\udcff.png',
    'dtypes': [torch.float16, torch.float8_e4m3fn, torch.uint1, torch.qint8, torch.complex128], 'layouts': [torch.strided, torch.sparse_coo], 'scheme': torch.per_tensor_affine,
    'classes': [torch.Tensor, torch.nn.Parameter, torch.FloatTensor, torch.sparse.FloatTensor], 'storages': [torch.ones(2).untyped_storage(), torch.ones(2).to(torch.complex128).storage()],
    'not read': [sparse, sparse.to_sparse_csr(), torch.empty(2, device='meta'), complexes.to(torch.complex128), complexes.conj(), complexes.clone().conj().imag,
                 torch.zeros(2).to(torch.float8_e4m3fnuz), torch.zeros(2, dtype=torch.complex32),
                 torch.quantize_per_tensor(torch.ones(3), 0.1, 3, torch.quint8),
                 torch.quantize_per_channel(torch.ones(1, 2), torch.tensor([.1]), torch.zeros(1, dtype=torch.long), 0, torch.qint8)],
}
numpys = {
    'scalars': [np.float64(.5), np.float32(.5), np.int64(3), np.bool_(True), np.str_('a'), np.datetime64('2020-01-01')], 'dtype': np.dtype('f4'),
    'arrays': [np.arange(3), np.zeros((0, 2)), np.ones((2, 2), np.float32).T, np.zeros(2, dtype=[('a', 'f4'), ('b', 'i2')]), np.array([1, 'a'], dtype=object)],
    'generator': np.random.RandomState(1).get_state()[:1],
}
torch.save({'state_dict': {**tensors, '_extra_state': others['set']}, 'others': others}, 'kinds.pt')
torch.load('kinds.pt', weights_only=True)
torch.save({'state_dict': tensors, 'others': others, 'numpy': numpys}, 'kinds_numpy.pt')
legacy = {k: v for k, v in tensors.items() if k[:2] not in ('u1', 'u3', 'u6', 'f8')}
without = {k: v for k, v in others.items() if k not in ('storages', 'not read')}
torch.save({'state_dict': legacy, 'others': without, 'numpy': numpys}, 'kinds_legacy.pt', _use_new_zipfile_serialization=False)
save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, 'kinds.safetensors')

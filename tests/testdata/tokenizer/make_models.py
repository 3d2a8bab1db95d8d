"""Copies the recorded rows of tokenizers that are made of a sentencepiece model alone into subword/.

    python make_models.py RECORDINGS     # the folder hf_tokenizers: HFTokenizer of open_clip with transformers 5.24.0
"""
import gzip
import json
import os
import sys

source = sys.argv[1]
target = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'subword')


def write(name, data):
    with open(os.path.join(target, name + '.gz'), 'wb') as f:
        f.write(gzip.compress(data, 9, mtime=0))


recorded = json.load(gzip.open(os.path.join(source, 'rows.json.gz')))
cases = []
for folder, file in ('mt5', 'spiece.model'), ('xlm_roberta', 'sentencepiece.bpe.model'):
    with open(os.path.join(source, folder, file), 'rb') as f:
        write(folder + '.only.model', f.read())
    case = next(c for c in recorded['cases'] if c['folder'] == folder and not c['kwargs'])
    with open(os.path.join(source, folder, 'tokenizer_config.json')) as f:
        cases.append({'model': folder, 'file': file, 'config': json.load(f)} | {k: case[k] for k in ('context_length', 'pad_id', 'vocab_size', 'ids')})
write('only_models.json', json.dumps({'texts': recorded['texts'], 'cases': cases}, ensure_ascii=False, separators=(',', ':')).encode())

"""Copies the recorded rows of tokenizers that are made of a sentencepiece model alone into subword/,
and a part of the recording, each tokenizer in the form that is smallest, into ../oracle/hf_tokenizers.

    python make_models.py RECORDINGS     # the folder hf_tokenizers: HFTokenizer of open_clip with transformers 5.24.0
"""
import gzip
import json
import os
import shutil
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

# the part: every fourth text and those with special tokens, controls and odd blanks
part = os.path.join(os.path.dirname(target), '..', 'oracle', 'hf_tokenizers')
texts = sorted(set(range(0, 200, 4)) | {14, 33, 35, 42, 47, 54, 71, 114, 168, 173, 180, 182, 195})
for folder, files in {
        'roberta': ['vocab.json', 'merges.txt', 'tokenizer_config.json', 'config.json'],
        'xlm_roberta': ['sentencepiece.bpe.model', 'tokenizer_config.json', 'config.json'],
        'mt5': ['spiece.model', 'tokenizer_config.json', 'special_tokens_map.json', 'config.json'],
        'nllb': ['sentencepiece.bpe.model', 'tokenizer_config.json', 'special_tokens_map.json', 'config.json'],
        'gte_modernbert': ['tokenizer.json', 'tokenizer_config.json', 'config.json'],
        'tiktoken_r50k': ['r50k_base.tiktoken']}.items():
    os.makedirs(os.path.join(part, folder), exist_ok=True)
    for file in files:
        shutil.copyfile(os.path.join(source, folder, file), os.path.join(part, folder, file))
shutil.copyfile(os.path.join(source, 'meta.json'), os.path.join(part, 'meta.json'))
for case in recorded['cases']:
    case['ids'] = [case['ids'][i] for i in texts]
    case['ids_transformers_4'] = {str(texts.index(int(i))): ids for i, ids in case['ids_transformers_4'].items() if int(i) in texts}
rows = {'texts': [recorded['texts'][i] for i in texts], 'cases': recorded['cases']}
with open(os.path.join(part, 'rows.json.gz'), 'wb') as f:
    f.write(gzip.compress(json.dumps(rows, ensure_ascii=False, separators=(',', ':')).encode(), 9, mtime=0))

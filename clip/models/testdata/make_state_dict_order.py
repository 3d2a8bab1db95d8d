"""Writes state_dict_order.txt: of each model the SHA-256, cut to 8 bytes, of the names in open_clip's state dict, a line
each, as torch lists them.

    python make_state_dict_order.py SHAPES    # shapes.json.gz: {"models": {model: {"state": {name: shape}}}}
"""
import gzip
import hashlib
import json
import sys

with gzip.open(sys.argv[1]) as shapes, open('state_dict_order.txt', 'w') as out:
    for model, recorded in json.load(shapes)['models'].items():
        order = hashlib.sha256('\n'.join(recorded['state']).encode()).hexdigest()[:16]
        out.write(f'{model} {order}\n')

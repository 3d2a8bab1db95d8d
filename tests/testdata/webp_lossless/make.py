"""Writes cases.txt.gz: damaged and random VP8L chunks, and what Pillow 13 makes of them.

A line is the chunk in hexadecimal and the SHA-256 of its pixels, [height, width, 4], or "refused".
Each chunk has alpha, so that Pillow gives all four bands.

    python make.py        # needs pillow>=13
"""
import glob
import gzip
import hashlib
import io
import os
import random
import struct

from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
EACH = 500  # chunks that Pillow opens, and that it refuses
rng = random.Random(7)


def samples():
    for path in sorted(glob.glob(os.path.join(HERE, '../formats/webp_lossless*.webp'))):
        with open(path, 'rb') as f:
            data = f.read()
        at = data.index(b'VP8L')
        yield data[at + 8:at + 8 + struct.unpack_from('<I', data, at + 4)[0]]


def damaged(sample):
    chunk = bytearray(sample)
    chunk[4] |= 0x10
    for _ in range(rng.randint(1, 3)):
        chunk[5 + rng.randrange(min(len(chunk) - 5, rng.choice([20, 200, 2000])))] ^= 1 << rng.randrange(8)
    return bytes(chunk[:rng.randrange(6, len(chunk))] if rng.random() < 0.1 else chunk)


def made_up():
    body = rng.randbytes(rng.randint(1, 60)) if rng.random() < 0.5 else bytes(rng.choices(b'0123456789ABC', k=rng.randint(1, 60)))
    if rng.random() < 0.5:
        body += bytes(a & b for a, b in zip(rng.randbytes(200), rng.randbytes(200)))
    return b'\x2f' + struct.pack('<I', rng.randrange(40) | rng.randrange(24) << 14 | 1 << 28) + body


def result(chunk):
    head = b'RIFF' + struct.pack('<I', 12 + len(chunk)) + b'WEBPVP8L' + struct.pack('<I', len(chunk))
    try:
        image = Image.open(io.BytesIO(head + chunk))
        image.load()
    except Exception:
        return 'refused'
    assert image.mode == 'RGBA'
    return hashlib.sha256(image.tobytes()).hexdigest()


files, kept, lines, tries = list(samples()), {True: 0, False: 0}, [], 0
while min(kept.values()) < EACH:
    tries += 1
    chunk = damaged(rng.choice(files)) if tries % 16 == 0 else made_up()
    chunk = chunk[:len(chunk) // 2 * 2]  # an odd one has a byte of padding, which libwebp reads too
    line = result(chunk)
    if kept[line != 'refused'] < EACH:
        kept[line != 'refused'] += 1
        lines.append(f'{chunk.hex()} {line}\n')
with open(os.path.join(HERE, 'cases.txt.gz'), 'wb') as f:
    f.write(gzip.compress(''.join(lines).encode(), 9, mtime=0))

"""Writes files.zip, small JPEGs of random kinds, and hashes.txt: name, scale, mode, size and SHA-256 of the pixels that
Pillow gives each, whole and by draft. What Pillow refuses has the hash "refused".

    python make.py    # Pillow 13.0.0 with libjpeg-turbo 3
"""
import hashlib
import io
import random
import zipfile

import numpy as np
from PIL import Image

random.seed(18)
COUNT = 320


def picture(mode, w, h):
    """Gradients, edges and noise, each as much as chance has it."""
    bands = {'L': 1, 'RGB': 3, 'CMYK': 4}[mode]
    rng = np.random.default_rng(random.getrandbits(32))
    y, x = np.mgrid[:h, :w]
    planes = []
    for _ in range(bands):
        p = 128 + 90 * np.sin(x * rng.uniform(0, .4) + y * rng.uniform(0, .4) + rng.uniform(0, 6))
        p = np.where((x + y * rng.uniform(-1, 1)) % rng.integers(5, 40) < 3, rng.uniform(0, 255), p)
        planes.append(p + rng.normal(0, rng.choice([0, 2, 30]), (h, w)))
    data = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return Image.fromarray(data[..., 0] if bands == 1 else data, mode)


def one():
    mode = random.choices(['RGB', 'L', 'CMYK'], [8, 2, 1])[0]
    w, h = random.choice([1, 7, 8, 9, 15, 16, 17, 31, 33, 40, 64, 90]), random.choice([1, 3, 8, 13, 16, 24, 33, 47, 70])
    options = {'quality': random.choice([1, 10, 30, 50, 75, 90, 95, 100])}
    if mode == 'RGB':
        options['subsampling'] = random.choice(['4:4:4', '4:2:2', '4:2:0', '4:1:1'])
        options['keep_rgb'] = random.random() < .1
        if options['keep_rgb']:
            del options['subsampling']
    for name in 'progressive', 'optimize':
        options[name] = random.random() < .4
    kind = random.random()
    if kind < .3:
        options['restart_marker_rows'] = random.randint(1, 3)
    elif kind < .5:
        options['restart_marker_blocks'] = random.randint(1, 9)
    if random.random() < .2:
        del options['quality']
        options['qtables'] = [[random.randint(1, 255) for _ in range(64)] for _ in range(2)]
    out = io.BytesIO()
    picture(mode, w, h).save(out, 'JPEG', **options)
    return out.getvalue()


with zipfile.ZipFile('files.zip', 'w') as files, open('hashes.txt', 'w') as hashes:
    for i in range(COUNT):
        data = one()
        if i % 16 == 0:  # a few with damage
            data = bytearray(data)
            for _ in range(random.randint(1, 3)):
                data[random.randrange(len(data) // 2, len(data) - 2)] ^= 1 << random.randrange(8)
            data = bytes(data)
        name = f'{i:03}.jpg'
        files.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
        for scale in 1, 2, 4, 8:
            try:
                image = Image.open(io.BytesIO(data))
                if scale > 1:
                    image.draft(image.mode, (max(1, image.width // scale), max(1, image.height // scale)))
                    if image.tile[0][3] and image.decoderconfig[0] != scale:
                        continue  # the image is too small for the scale
                image.load()
                line = f'{image.mode} {image.width}x{image.height} {hashlib.sha256(image.tobytes()).hexdigest()}'
            except OSError:
                line = 'refused'
            hashes.write(f'{name} {scale} {line}\n')

"""Makes pictures ready for a model of 224 pixels by Pillow, and prints CPU milliseconds of each: the least of RUNS runs.

    python pillow_bench.py [--draft] FOLDER    # needs Pillow
"""
import os
import sys
import time

from PIL import Image

RUNS = 9


def ready(path, draft):
    image = Image.open(path)
    size = 224
    resized = tuple(size if side == min(image.size) else int(size * side / min(image.size)) for side in image.size)
    if draft:
        image.draft(None, resized)
    image = image.resize(resized, Image.BICUBIC)
    left, top = round((resized[0] - size) / 2), round((resized[1] - size) / 2)
    return image.crop((left, top, left + size, top + size)).convert('RGB').tobytes()


draft, folder = '--draft' in sys.argv, sys.argv[-1]
for name in sorted(os.listdir(folder)):
    path = os.path.join(folder, name)
    runs = []
    for _ in range(RUNS):
        start = time.process_time()
        ready(path, draft)
        runs.append(time.process_time() - start)
    print(f'{name} {1000 * min(runs):.2f} cpu-ms')

"""Writes lossy WebP pictures of one colour: about as few bytes as their size can have.

    python make.py        # needs pillow
"""
import os

from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
Image.new("RGB", (2000, 2000), (9, 120, 200)).save(os.path.join(HERE, "lossy.webp"), quality=0, method=6)
Image.new("RGBA", (1000, 1000), (9, 120, 200, 77)).save(os.path.join(HERE, "lossy_alpha.webp"), quality=0, method=6)

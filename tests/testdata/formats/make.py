"""Writes the image files of this folder and what Pillow 13 reads from them.

outputs_u8.safetensors holds for each file, by name: `NAME` the whole image as
RGB [H, W, 3], `NAME|upright` the same after ImageOps.exif_transpose where the
file has an orientation, and `NAME|longest` open_clip's resize_mode "longest"
at 24x20 (height x width), bicubic, fill_color 127. meta.json has their modes
("I" for "I;16", as Pillow 9.4 has it).

    python make.py files        # needs pillow==9.4.0, numpy
    python make.py              # needs pillow==13.0.0, numpy, safetensors
"""
import json
import os
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
W, H = 37, 22
rng = np.random.RandomState(5)


def picture(bands):
    y, x = np.mgrid[0:H, 0:W]
    smooth = np.stack([(x * (7 - b) + y * (3 + 2 * b)) % 256 for b in range(bands)], -1)
    noise = rng.randint(-20, 21, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


rgb = Image.fromarray(picture(3))
rgba = Image.fromarray(picture(4))
gray = Image.fromarray(picture(1)[..., 0])
bilevel = gray.point(lambda v: 255 * (v > 90)).convert("1")
palette = gray.point(lambda v: v % 13)
palette = Image.frombytes("P", palette.size, palette.tobytes())
palette.putpalette(rng.randint(0, 256, 39).astype(np.uint8).tolist())
gray16 = Image.fromarray(rng.randint(0, 600, (H, W)).astype(np.uint16))


def exif(orientation):
    e = Image.Exif()
    e[0x0112] = orientation
    return e.tobytes()


def png(depth, colour_type, interlaced, extra=()):
    """A PNG of random samples, for the depths that Pillow does not write."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    raw = b""
    for x0, y0, dx, dy in passes:
        for _ in range(y0, H, dy):
            raw += bytes([rng.randint(5)]) + rng.bytes((len(range(x0, W, dx)) * bits + 7) // 8)
    header = struct.pack(">IIBBBBB", W, H, depth, colour_type, 0, 0, int(interlaced))
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def bmp(bits, compression, pixels, colours=b"", masks=(), height=H):
    size = 108 if masks else 40
    header = struct.pack("<IiiHHIIiiII", size, W, height, 1, bits, compression, len(pixels), 0, 0, len(colours) // 4, 0)
    header = (header + b"".join(struct.pack("<I", m) for m in masks)).ljust(size, b"\0")
    offset = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + colours + pixels


def run_lengths(per_byte):
    """Rows of a run, literal indices (their number even) and a short row."""
    out = b""
    for y in range(H):
        n = 8 + 2 * (y % 5)
        literal = rng.bytes(n // per_byte)
        literal += b"\0" * (len(literal) % 2)
        out += bytes([9, rng.randint(256), 0, n]) + literal + bytes([5, rng.randint(256), 0, 0])
    return out + b"\0\1"


def rows(bits):
    return rng.bytes((W * bits + 31) // 32 * 4 * H)


def table(n):
    return rng.bytes(4 * n)


RAW = {
    "png_gray2.png": png(2, 0, True),
    "png_gray4_transparent.png": png(4, 0, False, [(b"tRNS", b"\0\5")]),
    "png_gray16_transparent.png": png(16, 0, True, [(b"tRNS", b"\0\5")]),
    "png_gray_alpha16.png": png(16, 4, True),
    "png_rgb16.png": png(16, 2, False),
    "png_rgba16_interlaced.png": png(16, 6, True),
    "png_palette_short.png": png(4, 3, True, [(b"PLTE", rng.bytes(3 * 11))]),
    "bmp_palette4.bmp": bmp(4, 0, rows(4), table(16)),
    "bmp_rgb15_top_down.bmp": bmp(16, 0, rows(16), height=-H),
    "bmp_rgb16_masks.bmp": bmp(16, 3, rows(16), masks=(0xF800, 0x7E0, 0x1F, 0)),
    "bmp_rgba_masks.bmp": bmp(32, 3, rows(32), masks=(0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "bmp_rle8.bmp": bmp(8, 1, run_lengths(1), table(256)),
    "bmp_rle4.bmp": bmp(4, 2, run_lengths(2), table(16)),
}

FILES = [
    ("gif_palette_transparent.gif", palette, dict(transparency=3)),
    ("gif_gray.gif", gray, dict(interlace=0)),
    ("gif_animated.gif", palette, dict(save_all=True, append_images=[palette.rotate(90)])),
    ("webp_lossy.webp", rgb, dict(quality=60)),
    ("webp_lossy_alpha.webp", rgba, dict(quality=60)),
    ("webp_lossless.webp", rgb, dict(lossless=True)),
    ("webp_lossless_alpha.webp", rgba, dict(lossless=True, exact=True)),
    ("webp_animated.webp", rgba, dict(save_all=True, append_images=[rgba.rotate(180)], duration=40)),
    ("webp_exif_8.webp", rgb, dict(quality=80, exif=exif(8))),
    ("bmp_bilevel.bmp", bilevel, {}),
    ("bmp_gray.bmp", gray, {}),
    ("bmp_palette.bmp", palette, {}),
    ("bmp_rgb.bmp", rgb, {}),
    ("bmp_rgba.bmp", rgba, {}),
    ("tiff_bilevel_g4.tif", bilevel, dict(compression="group4")),
    ("tiff_gray_packbits.tif", gray, dict(compression="packbits")),
    ("tiff_palette.tif", palette, {}),
    ("tiff_rgb_lzw.tif", rgb, dict(compression="tiff_lzw")),
    ("tiff_rgba_deflate_turned.tif", rgba, dict(compression="tiff_adobe_deflate", tiffinfo={0x0112: 6})),
    ("png_palette_transparent.png", palette, dict(transparency=2, bits=4)),
    ("png_rgb_transparent.png", rgb, dict(transparency=rgb.getpixel((0, 0)))),
    ("png_exif_5.png", rgb, dict(exif=exif(5))),
    ("png_gray16_exif_7.png", gray16, dict(exif=exif(7))),
    ("jpeg_exif_2.jpg", rgb, dict(quality=90, exif=exif(2))),
    ("jpeg_exif_3.jpg", rgb, dict(quality=90, exif=exif(3))),
    ("jpeg_exif_4.jpg", rgb, dict(quality=90, exif=exif(4))),
    ("jpeg_exif_6.jpg", rgb, dict(quality=90, exif=exif(6))),
]


def longest(im):
    h, w, fill = 24, 20, 127
    ratio = max(im.height / h, im.width / w)
    im = im.resize((round(im.width / ratio), round(im.height / ratio)), Image.Resampling.BICUBIC)
    dx, dy = w - im.width, h - im.height
    bands = len(im.getbands())
    colours = im.getpalette() if im.mode == "P" else None
    im = ImageOps.expand(im, (dx // 2, dy // 2, (dx + 1) // 2, (dy + 1) // 2), fill if bands == 1 else (fill,) * bands)
    if colours:
        if len(colours) <= 3 * fill:  # gray, as with Pillow 9.4
            colours += [0] * (3 * fill - len(colours)) + [fill] * 3
        im.putpalette(colours)
    return im


def array(im):
    return np.array(im.convert("RGB"))


def write_files():
    for name, im, kw in FILES:
        im.save(os.path.join(HERE, name), **kw)
    for name, data in RAW.items():
        with open(os.path.join(HERE, name), "wb") as f:
            f.write(data)


def record():
    from safetensors.numpy import save_file

    outputs, modes = {}, {}
    for name in [f[0] for f in FILES] + list(RAW):
        im = Image.open(os.path.join(HERE, name))
        im.load()
        modes[name] = "I" if im.mode == "I;16" else im.mode
        outputs[name] = array(im)
        outputs[name + "|longest"] = array(longest(im))
        if "exif_" in name:
            outputs[name + "|upright"] = array(ImageOps.exif_transpose(im))
    save_file(outputs, os.path.join(HERE, "outputs_u8.safetensors"))
    with open(os.path.join(HERE, "meta.json"), "w") as f:
        json.dump({"pillow": Image.__version__, "modes": modes}, f, indent=1)


write_files() if sys.argv[1:] == ["files"] else record()

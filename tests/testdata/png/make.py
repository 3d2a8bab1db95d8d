"""Writes cases.json.gz: PNGs of every layout and with every disorder that a
reader meets, and what Pillow 13 makes of them.

A case is {name, file, mode, width, height, rgb} or {name, file, refused}: bytes
in hexadecimal, rgb is [height, width, 3]. 16-bit gray is recorded as mode I whose
levels saturate at 255, as Pillow 9.4 has it.

    python make.py        # needs pillow>=13, numpy
"""
import gzip
import io
import json
import os
import random
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
W, H = 11, 6
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
LAYOUTS = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)]
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
rng = random.Random(11)


class Png:
    """Chunks as lists of [name, body, checksum or None, length or None]."""

    def __init__(self, depth=8, kind=2, interlaced=0, flat=False, w=W, h=H):
        self.depth, self.kind, self.w, self.h = depth, kind, w, h
        self.rows = []  # filtered
        rng = random.Random(depth + kind)  # the same for every case, so that all together are small when packed
        for x0, y0, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
            n = len(range(x0, w, dx))
            for _ in range(y0, h, dy) if n else []:
                size = (n * depth * CHANNELS[kind] + 7) // 8
                self.rows.append(bytes([0]) + b"\x55" * size if flat else bytes([rng.randrange(5)]) + rng.randbytes(size))
        self.lead, self.pre, self.post = [], [], []
        self.head = [[b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlaced), None, None]]
        if kind == 3:
            self.pre.append(chunk(b"PLTE", rng.randbytes(3 << depth)))
        self.end = [chunk(b"IEND")]
        self.split(zlib.compress(b"".join(self.rows)))

    def split(self, packed, *at):
        """Makes packed the data, in chunks that end at the given places."""
        at = [0, *at, len(packed)]
        self.packed = packed
        self.data = [chunk(b"IDAT", packed[a:b]) for a, b in zip(at, at[1:])]

    def file(self):
        out = b"\x89PNG\r\n\x1a\n"
        for name, body, checksum, length in self.lead + self.head + self.pre + self.data + self.post + self.end:
            checksum = zlib.crc32(name + body) if checksum is None else checksum
            out += struct.pack(">I", len(body) if length is None else length) + name + body + struct.pack(">I", checksum)
        return out


def chunk(name, body=b"", checksum=None, length=None):
    return [name, body, checksum, length]


def header(p, **fields):
    """Another IHDR with some fields changed, by their offset: b8=2 sets depth."""
    body = bytearray(p.head[0][1])
    for k, v in fields.items():
        body[int(k[1:])] = v
    return chunk(b"IHDR", bytes(body))


def frame(n, w=W, h=H, x=0, y=0):
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", n, w, h, x, y, 1, 10, 1, 0))


def animated(p, frames, with_frame=True):
    p.pre += [chunk(b"acTL", struct.pack(">II", frames, 0))] + ([frame(0)] if with_frame else [])


def more_frames(p, first):
    p.post += [frame(first), chunk(b"fdAT", struct.pack(">I", first + 1) + p.packed)]


def as_frame_data(p, first=1):
    for i, c in enumerate(p.data):
        c[0], c[1] = b"fdAT", struct.pack(">I", first + i) + c[1]


def partial_frame(p, w, h, x, y):
    small = Png(p.depth, p.kind, p.head[0][1][12], w=w, h=h)
    p.data = small.data
    animated(p, 2, with_frame=False)
    p.pre.append(frame(0, w, h, x, y))


ICC = zlib.compress(b"profile" * 30)
ANCILLARY = {  # chunks that Pillow reads, right and wrong
    "tEXt": b"key\0text", "tEXt_no_nul": b"text", "zTXt": b"key\0\0" + ICC, "zTXt_bad": b"key\0\0junk", "zTXt_method": b"key\0\1junk",
    "zTXt_bomb": b"key\0\0" + zlib.compress(bytes(1 << 21), 9), "iTXt": b"key\0\0\0en\0key\0text", "iTXt_packed": b"key\0\1\0en\0key\0" + ICC,
    "iTXt_bomb": b"key\0\1\0\0\0" + zlib.compress(bytes(1 << 21), 9), "iTXt_short": b"key\0\1", "iCCP": b"name\0\0" + ICC, "iCCP_method": b"name\0\1" + ICC,
    "iCCP_no_nul": b"name", "iCCP_empty": b"", "sRGB": b"\0", "sRGB_empty": b"", "gAMA": b"\0\0\xb1\x8f", "gAMA_short": b"\0", "cHRM": bytes(32),
    "cHRM_short": bytes(31), "pHYs": bytes(9), "pHYs_short": bytes(8), "eXIf": b"MM\0\x2a", "bKGD": bytes(6), "CgBI": bytes(4), "ABCD": b"unknown", "a_1b": b"",
    "PLTE": bytes(9), "PLTE_257": bytes(771), "tRNS": bytes(6), "tRNS_short": bytes(5),
}

MUTATIONS = {  # of a Png and its zlib data
    "checksum_idat": lambda p, z: p.data[0].__setitem__(2, 1),
    "checksum_ihdr": lambda p, z: p.head[0].__setitem__(2, 1),
    "checksum_iend": lambda p, z: p.end[0].__setitem__(2, 1),
    "checksum_before": lambda p, z: p.pre.append(chunk(b"tIME", bytes(7), 1)),
    "checksum_after": lambda p, z: p.post.append(chunk(b"tIME", bytes(7), 1)),
    "no_iend": lambda p, z: p.end.clear(),
    "no_idat": lambda p, z: p.data.clear(),
    "no_ihdr": lambda p, z: p.head.clear(),
    "iend_first": lambda p, z: p.pre.append(chunk(b"IEND")),
    "no_sum": lambda p, z: p.split(z[:-4]),
    "half_sum": lambda p, z: p.split(z[:-2]),
    "bad_sum": lambda p, z: p.split(z[:-4] + bytes(4)),
    "bad_sum_apart": lambda p, z: p.split(z[:-4] + bytes(4), len(z) - 4),
    "bad_sum_half_apart": lambda p, z: p.split(z[:-4] + bytes(4), len(z) - 2),
    "sum_apart": lambda p, z: p.split(z, len(z) - 4),
    "row_more": lambda p, z: p.split(zlib.compress(b"".join(p.rows) + p.rows[-1])),
    "byte_more": lambda p, z: p.split(zlib.compress(b"".join(p.rows) + b"x")),
    "row_less": lambda p, z: p.split(zlib.compress(b"".join(p.rows[:-1]))),
    "row_less_sum_apart": lambda p, z: (lambda y: p.split(y, len(y) - 4))(zlib.compress(b"".join(p.rows[:-1]))),
    "byte_less": lambda p, z: p.split(zlib.compress(b"".join(p.rows)[:-1])),
    "no_rows": lambda p, z: p.split(zlib.compress(b"")),
    "bytes_after_zlib": lambda p, z: p.split(z + b"junk"),
    "chunks_of_7": lambda p, z: p.split(z, *range(7, len(z), 7)),
    "empty_chunks": lambda p, z: p.split(z, 0, 0, 5, 5, 5, len(z)),
    "interrupted": lambda p, z: (p.split(z, 9), p.data.insert(1, chunk(b"tIME", bytes(7)))),
    "interrupted_after_pixels": lambda p, z: (p.split(z, len(z) - 4), p.data.insert(1, chunk(b"tIME", bytes(7)))),
    "interrupted_by_bad_name": lambda p, z: (p.split(z, 9), p.data.insert(1, chunk(b"ab\0d"))),
    "idat_first": lambda p, z: p.lead.append(chunk(b"IDAT", b"junk")),
    "idat_after": lambda p, z: p.post.extend([chunk(b"tIME", bytes(7)), chunk(b"IDAT", b"junk")]),
    "idat_long": lambda p, z: p.data[0].__setitem__(3, 0xFFFFFFFF),
    "text_long": lambda p, z: p.pre.append(chunk(b"tEXt", b"a\0b", length=5000)),
    "text_after_long": lambda p, z: p.post.append(chunk(b"tEXt", b"a\0b", length=5000)),
    "ddat": lambda p, z: (p.split(z, 9), p.data[1].__setitem__(0, b"DDAT")),
    "bad_name_before": lambda p, z: p.pre.append(chunk(b"te t")),
    "bad_name_after": lambda p, z: p.post.append(chunk(b"te t")),
    "filter_5": lambda p, z: p.split(zlib.compress(b"\5" + b"".join(p.rows)[1:])),
    "zlib_window": lambda p, z: p.split(b"\x08\x1d" + z[2:]),
    "zlib_window_large": lambda p, z: p.split(b"\x88\x1c" + z[2:]),
    "zlib_check": lambda p, z: p.split(b"\x78\x00" + z[2:]),
    "zlib_dictionary": lambda p, z: p.split(b"\x78\xbb" + z[2:]),
    "zlib_raw": lambda p, z: (p.lead.append(chunk(b"CgBI", bytes(4))), p.split(z[2:-4])),
    "zlib_stored": lambda p, z: p.split(zlib.compress(b"".join(p.rows), 0)),
    "zlib_damaged": lambda p, z: p.split(z[:12] + bytes(20) + z[32:]),
    "ihdr_long": lambda p, z: p.head[0].__setitem__(1, p.head[0][1] + b"xy"),
    "ihdr_short": lambda p, z: p.head[0].__setitem__(1, p.head[0][1][:12]),
    "ihdr_twice": lambda p, z: p.head.append(header(p)),
    "ihdr_twice_lower": lambda p, z: p.head.append(header(p, b7=4)),
    "ihdr_twice_higher": lambda p, z: p.head.append(header(p, b7=40)),
    "ihdr_twice_unknown": lambda p, z: p.head.append(header(p, b8=3)),
    "ihdr_unknown_then_good": lambda p, z: p.head.insert(0, header(p, b8=3)),
    "ihdr_twice_interlaced": lambda p, z: p.head.append(header(p, b12=1)),
    "ihdr_after": lambda p, z: p.post.append(header(p, b7=40)),
    "depth_3": lambda p, z: p.head.__setitem__(0, header(p, b8=3)),
    "colour_1": lambda p, z: p.head.__setitem__(0, header(p, b9=1)),
    "compression_9": lambda p, z: p.head.__setitem__(0, header(p, b10=9)),
    "filter_method_64": lambda p, z: p.head.__setitem__(0, header(p, b11=64)),
    "zero_width": lambda p, z: p.head.__setitem__(0, header(p, b3=0)),
    "animated": lambda p, z: (animated(p, 2), more_frames(p, 1)),
    "animated_default": lambda p, z: (animated(p, 1, False), more_frames(p, 0)),
    "animated_one": lambda p, z: animated(p, 1),
    "animated_none": lambda p, z: animated(p, 0),
    "animated_twice": lambda p, z: (animated(p, 2, False), animated(p, 2), more_frames(p, 7)),
    "animated_sequence_after": lambda p, z: (animated(p, 1), more_frames(p, 5)),
    "animated_sequence_unread": lambda p, z: (animated(p, 2), more_frames(p, 5)),
    "animated_sequence_before": lambda p, z: p.pre.append(frame(3)),
    "animated_without_idat": lambda p, z: (animated(p, 2), p.split(z, 20), as_frame_data(p)),
    "animated_without_idat_sequence": lambda p, z: (animated(p, 2), p.split(z, 20), as_frame_data(p), p.data.reverse()),
    "animated_part": lambda p, z: partial_frame(p, 5, 3, 2, 1),
    "animated_part_outside": lambda p, z: partial_frame(p, 5, 3, 9, 1),
    "animated_part_empty": lambda p, z: p.pre.append(frame(0, 0, 0)),
    "acTL_short": lambda p, z: p.pre.append(chunk(b"acTL", bytes(7))),
    "fcTL_short": lambda p, z: p.pre.append(chunk(b"fcTL", bytes(25))),
}


def variants():
    for depth, kind in LAYOUTS:
        for interlaced in 0, 1:
            yield f"layout_{depth}_{kind}_{interlaced}", Png(depth, kind, interlaced).file()
            yield f"no_sum_flat_{depth}_{kind}_{interlaced}", mutated("no_sum", Png(depth, kind, interlaced, flat=True)).file()
        p = Png(depth, kind)
        p.head = [chunk(b"tEXt", b"k\0" + bytes([16, 2, 8, 6])), *p.head]
        yield f"lead_text_{depth}_{kind}", p.file()
        for n in 1, 2, 6:
            p = Png(depth, kind)
            p.pre.insert(0, chunk(b"tRNS", bytes(n)))
            yield f"tRNS_{n}_{depth}_{kind}", p.file()
    for name, body in ANCILLARY.items():
        for place in "lead", "pre", "post":
            p = Png()
            getattr(p, place).append(chunk(name[:4].encode(), body))
            yield f"{place}_{name}", p.file()
    for name in MUTATIONS:
        for flat in 0, 1:
            yield f"{name}_{flat}", mutated(name, Png(flat=flat)).file()
        yield f"{name}_palette_interlaced", mutated(name, Png(4, 3, 1)).file()
    for i in range(40):
        first, second = rng.sample(sorted(MUTATIONS.keys() - {"no_idat", "no_ihdr"}), 2)
        yield f"{first}_and_{second}", mutated(second, mutated(first, Png(*rng.choice(LAYOUTS), rng.randrange(2)))).file()
    for less in 3, 9, 11, 12, 13, 15, 16, 17, 19, 24, 40:
        yield f"cut_by_{less}", Png().file()[:-less]
        p = mutated("chunks_of_7", Png())
        yield f"cut_by_{less}_chunks_of_7", p.file()[:-less]
    for entries in 256, 257, 300:
        p = Png(8, 3)
        p.pre = [chunk(b"PLTE", rng.randbytes(3 * entries + 2))]
        yield f"palette_of_{entries}", p.file()
    p = Png(8, 3)
    p.pre = []
    yield "no_palette", p.file()


def mutated(name, p):
    MUTATIONS[name](p, p.packed)
    return p


def pillow(data):
    try:
        im = Image.open(io.BytesIO(data))
        im.load()
        rgb = np.array(im.convert("RGB"))
    except Exception as e:
        return {"refused": str(e) or type(e).__name__}
    mode = im.mode
    if mode.startswith("I"):
        mode, rgb = "I", np.repeat(np.minimum(np.array(im), 255).astype(np.uint8)[..., None], 3, -1)
    return {"mode": mode, "width": im.width, "height": im.height, "rgb": rgb.tobytes().hex()}


warnings.simplefilter("ignore")
cases = [{"name": name, "file": data.hex(), **pillow(data)} for name, data in variants()]
with gzip.GzipFile(os.path.join(HERE, "cases.json.gz"), "wb", mtime=0) as f:
    f.write(json.dumps({"pillow": Image.__version__, "cases": cases}, indent=0).encode())
print(len(cases), "cases,", sum("refused" in c for c in cases), "refused")

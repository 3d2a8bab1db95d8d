"""Writes the TIFF files of this folder and what Pillow 13 reads from them.

outputs_u8.safetensors holds for each file that is read, by name, the image as
RGB [H, W, 3]. meta.json has Pillow's mode of each ("I" for "I;16", as
clip/preprocess calls it), for each file that only clip/preprocess reads another
with the same pixels ("same"), and for each that it refuses a part of the
message: "unsupported" are valid files, "corrupt" damaged ones.

    python make.py        # needs pillow==13.0.0, numpy, safetensors
"""
import glob
import io
import json
import os
import struct
import zlib

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
W, H = 17, 9
rng = np.random.RandomState(7)
RAW, RLE, G3, G4, LZW, JPEG, DEFLATE, PACKBITS = 1, 2, 3, 4, 5, 7, 8, 32773
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def picture(bits, samples):
    """Samples [H, W, samples], smooth so that they compress."""
    y, x = np.mgrid[0:H, 0:W]
    top = 1 << bits
    smooth = np.stack([x * (5 + 2 * s) + y * (9 - s) + x // 6 * y * 3 for s in range(samples)], -1)
    return smooth * max(1, top // 256) % top


def pillow_strip(image, compression, t4=0):
    """The only strip of image as Pillow, that is libtiff, compresses it."""
    out = io.BytesIO()
    image.save(out, "TIFF", compression=compression, tiffinfo={278: image.height, 262: 0 if image.mode == "1" else 1, **({292: t4} if t4 else {})})
    tag = Image.open(out).tag_v2
    return out.getvalue()[tag[273][0] :][: tag[279][0]]


def compress(rows, compression, t4):
    """rows: bytes [rows, bytes of a row]."""
    data = rows.tobytes()
    if compression in (RLE, G3, G4):
        bits = Image.frombytes("1", (W, len(rows)), bytes(255 - v for v in data))
        return pillow_strip(bits, {RLE: "tiff_ccitt", G3: "group3", G4: "group4"}[compression], t4)
    if compression in (LZW, PACKBITS):
        line = Image.frombytes("L", (len(data), 1), data)
        return pillow_strip(line, {LZW: "tiff_lzw", PACKBITS: "packbits"}[compression])
    return zlib.compress(data, 9) if compression == DEFLATE else data


def packed(samples, bits, order):
    """Bytes of rows of samples [rows, n]."""
    if bits in (16, 32):
        return samples.astype(f"{order}u{bits // 8}").view(np.uint8)
    digits = (samples[..., None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(digits.reshape(len(samples), -1).astype(np.uint8), axis=1)


def field(order, big, tag, values, tail, base):
    kind, fmt, size = (7, "B", 1) if isinstance(values, bytes) else (16, "Q", 8) if big else (4, "I", 4)
    if tag in (258, 320, 338, 339):
        kind, fmt, size = 3, "H", 2
    values = values if isinstance(values, (bytes, list, tuple)) else [values]
    raw = struct.pack(f"{order}{len(values)}{fmt}", *values)
    if len(raw) > (8 if big else 4):
        offset = struct.pack(order + ("Q" if big else "I"), base + len(tail))
        tail += raw + bytes(len(raw) % 2)
        raw = offset
    return struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(values)) + raw.ljust(8 if big else 4, b"\0")


def tiff(photometric, bits=8, samples=1, compression=RAW, order="<", big=False, predictor=1, fill=1, planar=1, rows=H, tile=None,
         extra=(), t4=0, tags={}, drop=(), encode=None):
    pixels = picture(bits, samples)
    planes = [pixels[..., s : s + 1] for s in range(samples)] if planar == 2 else [pixels]
    width, height = tile or (W, rows)
    chunks = []
    for plane in planes:
        padded = np.pad(plane, ((0, -H % height if tile else 0), (0, -W % width), (0, 0)), mode="edge")
        for y in range(0, len(padded), height):
            for x in range(0, padded.shape[1], width):
                chunk = padded[y : y + height, x : x + width]
                if predictor == 2:
                    chunk = np.diff(chunk, axis=1, prepend=0) % (1 << bits)
                lines = packed(chunk.reshape(len(chunk), -1), bits, order)
                data = encode(lines) if encode else compress(lines, compression, t4)
                chunks.append(data.translate(REVERSED) if fill == 2 else data)
    head = 16 if big else 8
    tail, offsets = b"", []
    for chunk in chunks:
        offsets.append(head + len(tail))
        tail += chunk + bytes(len(chunk) % 2)
    lengths = [len(chunk) for chunk in chunks]
    fields = {256: W, 257: H, 258: [bits] * samples, 259: compression, 262: photometric, 277: samples}
    fields |= {322: width, 323: height, 324: offsets, 325: lengths} if tile else {273: offsets, 278: rows, 279: lengths}
    fields |= {266: fill} if fill != 1 else {}
    fields |= {284: planar} if planar != 1 else {}
    fields |= {292: t4} if t4 else {}
    fields |= {317: predictor} if predictor != 1 else {}
    fields |= {338: list(extra)} if extra else {}
    fields |= {320: rng.randint(0, 1 << 16, 3 << bits).tolist()} if photometric == PALETTE else {}
    fields |= tags
    out = bytearray(tail)
    entries = b""
    for tag in sorted(set(fields) - set(drop)):
        entries += field(order, big, tag, fields[tag], out, head)
    directory = head + len(out)
    header = struct.pack(order + "2sHHHQ" if big else order + "2sHI", b"II" if order == "<" else b"MM", *((43, 8, 0) if big else (42,)), directory)
    count = struct.pack(order + ("Q" if big else "H"), len(fields) - len(set(drop) & set(fields)))
    return header + out + count + entries + bytes(8 if big else 4)


def lzw_before_tiff5(rows):
    """Low bits first, and codes become longer one code later (as in GIF)."""
    codes, table, longest = [(256, 9)], {bytes([i]): i for i in range(256)}, 9
    text = b""
    for value in rows.tobytes():
        if text + bytes([value]) in table:
            text += bytes([value])
            continue
        codes.append((table[text], longest))
        new = len(table) + 2
        table[text + bytes([value])] = new
        longest += new == 1 << longest
        text = bytes([value])
    bits = "".join(f"{code:0{n}b}"[::-1] for code, n in codes + [(table[text], longest), (257, longest)])
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def without_end_of_line(rows):
    bits = "".join(f"{v:08b}" for v in compress(rows, G3, 0))
    bits = "".join(bits.split("000000000001"))
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def jfif(rows, width):
    """A JPEG file: gray, or with chroma subsampled 2x2."""
    gray = rows.shape[1] == width
    out = io.BytesIO()
    Image.frombytes("L" if gray else "RGB", (width, len(rows)), rows.tobytes()).save(out, "JPEG", quality=90, subsampling=0 if gray else 2)
    return out.getvalue()


def jpeg(mode, **tags):
    samples = picture(8, {"L": 1, "CMYK": 4}.get(mode, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.frombytes(mode, (W, H), samples.tobytes()).save(out, "TIFF", compression="jpeg", quality=90, tiffinfo={int(k[1:]): v for k, v in tags.items()})
    return out.getvalue()


def damaged(data, at):
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def deflated_twice(rows):
    return zlib.compress(np.concatenate([rows, rows]).tobytes())


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
TILE = (16, 8)

READ = {
    # Every layout, its compression, byte order, strips or tiles in turn.
    "white1": tiff(WHITE_IS_ZERO, 1, compression=LZW, rows=5),
    "black1": tiff(BLACK_IS_ZERO, 1, order=">", tile=TILE),
    "white2": tiff(WHITE_IS_ZERO, 2, compression=DEFLATE, order=">"),
    "black2": tiff(BLACK_IS_ZERO, 2, rows=4),
    "white4": tiff(WHITE_IS_ZERO, 4, order=">", rows=3),
    "black4": tiff(BLACK_IS_ZERO, 4, compression=PACKBITS, tile=TILE),
    "white8": tiff(WHITE_IS_ZERO, 8, compression=LZW, tile=TILE, order=">"),
    "black8_pred": tiff(BLACK_IS_ZERO, 8, compression=LZW, predictor=2, rows=5),
    "black8_signed": tiff(BLACK_IS_ZERO, 8, tags={339: [2]}),
    "black12": tiff(BLACK_IS_ZERO, 12, compression=LZW),
    "white16": tiff(WHITE_IS_ZERO, 16),
    "black16_pred": tiff(BLACK_IS_ZERO, 16, compression=LZW, predictor=2, order=">", tile=TILE),
    "black16_signed": tiff(BLACK_IS_ZERO, 16, tags={339: [2]}, order=">"),
    "black32": tiff(BLACK_IS_ZERO, 32, compression=DEFLATE, predictor=2),
    "gray_x": tiff(BLACK_IS_ZERO, 8, 2, extra=[0], compression=LZW, predictor=2),
    "gray_alpha": tiff(BLACK_IS_ZERO, 8, 2, extra=[2], compression=DEFLATE, predictor=2, order=">"),
    "rgb_tiles": tiff(RGB, 8, 3, tile=TILE),
    "rgb_pred": tiff(RGB, 8, 3, compression=DEFLATE, predictor=2, tile=TILE),
    "rgb_4": tiff(RGB, 8, 4, compression=PACKBITS),
    "rgb_x": tiff(RGB, 8, 4, extra=[0], rows=4),
    "rgb_xxx": tiff(RGB, 8, 6, extra=[0, 0, 0], compression=LZW),
    "rgb_premultiplied": tiff(RGB, 8, 4, extra=[1]),
    "rgb_premultiplied_x": tiff(RGB, 8, 5, extra=[1, 0], compression=DEFLATE, tile=TILE),
    "rgb_alpha": tiff(RGB, 8, 4, extra=[2], compression=LZW, predictor=2, order=">", rows=5),
    "rgb_corel": tiff(RGB, 8, 4, extra=[999]),
    "rgb16": tiff(RGB, 16, 3, compression=LZW, predictor=2, rows=5),
    "rgb16_big": tiff(RGB, 16, 3, order=">", compression=DEFLATE, predictor=2),
    "rgb16_alpha": tiff(RGB, 16, 4, extra=[2], tile=TILE),
    "rgb16_premultiplied": tiff(RGB, 16, 4, extra=[1], order=">"),
    "palette1": tiff(PALETTE, 1, order=">"),
    "palette2": tiff(PALETTE, 2, compression=DEFLATE, tile=TILE),
    "palette4": tiff(PALETTE, 4, compression=LZW, rows=5),
    "palette_x": tiff(PALETTE, 8, 2, extra=[0], tags={320: rng.randint(0, 1 << 16, 60).tolist()}),
    "cmyk": tiff(CMYK, 8, 4, compression=LZW, order=">"),
    "cmyk_x": tiff(CMYK, 8, 5, extra=[0], rows=5),
    "cmyk16": tiff(CMYK, 16, 4, compression=DEFLATE),
    # Planes.
    "planar_rgb": tiff(RGB, 8, 3, planar=2, rows=5),
    "planar_rgb_tiles": tiff(RGB, 8, 3, planar=2, compression=LZW, predictor=2, tile=TILE, order=">"),
    "planar_rgb16": tiff(RGB, 16, 3, planar=2, compression=DEFLATE, predictor=2),
    "planar_x": tiff(RGB, 8, 4, planar=2, extra=[0], compression=PACKBITS),
    "planar_alpha": tiff(RGB, 8, 4, planar=2, extra=[2]),
    "planar_premultiplied": tiff(RGB, 8, 4, planar=2, extra=[1], compression=LZW, rows=5),
    "planar_guessed": tiff(RGB, 8, 4, planar=2, compression=DEFLATE),
    "planar_cmyk": tiff(CMYK, 8, 4, planar=2, tile=TILE),
    "planar_gray": tiff(BLACK_IS_ZERO, 8, planar=2),
    # FillOrder 2, and the predictor where libtiff ignores it.
    "fill_white1": tiff(WHITE_IS_ZERO, 1, fill=2),
    "fill_black4": tiff(BLACK_IS_ZERO, 4, fill=2, compression=DEFLATE, tile=TILE),
    "fill_palette": tiff(PALETTE, 8, fill=2, rows=5, tags={320: rng.randint(0, 1 << 16, 60).tolist()}),
    "fill_rgb": tiff(RGB, 8, 3, fill=2),
    "fill_rgb_lzw": tiff(RGB, 8, 3, fill=2, compression=LZW, predictor=2),
    "fill_rgb_packbits": tiff(RGB, 8, 3, fill=2, compression=PACKBITS, order=">"),
    "fill_gray16": tiff(BLACK_IS_ZERO, 16, fill=2, compression=LZW),
    "ignored_pred": tiff(RGB, 8, 3, tags={317: 2}),
    "ignored_pred_packbits": tiff(BLACK_IS_ZERO, 8, compression=PACKBITS, tags={317: 2}),
    "ignored_pred_bits": tiff(BLACK_IS_ZERO, 4, compression=PACKBITS, tags={317: 3}),
    # CCITT.
    "fax_rle": tiff(WHITE_IS_ZERO, 1, compression=RLE, rows=5),
    "fax_rle_fill": tiff(BLACK_IS_ZERO, 1, compression=RLE, fill=2),
    "fax_g3": tiff(BLACK_IS_ZERO, 1, compression=G3, rows=5, order=">"),
    "fax_g3_2d": tiff(WHITE_IS_ZERO, 1, compression=G3, t4=1),
    "fax_g3_2d_aligned": tiff(BLACK_IS_ZERO, 1, compression=G3, t4=5, fill=2),
    "fax_g3_no_eol": tiff(WHITE_IS_ZERO, 1, compression=G3, encode=without_end_of_line),
    "fax_g4": tiff(WHITE_IS_ZERO, 1, compression=G4, rows=5),
    "fax_g4_fill": tiff(BLACK_IS_ZERO, 1, compression=G4, fill=2),
    # JPEG, which is within a level.
    "jpeg_ycbcr": jpeg("YCbCr"),
    "jpeg_ycbcr_tiles": tiff(YCBCR, 8, 3, compression=JPEG, tile=(16, 16), tags={530: [2, 2]}, encode=lambda rows: jfif(rows, 16)),
    "jpeg_jfif_gray": tiff(WHITE_IS_ZERO, 8, compression=JPEG, rows=8, encode=lambda rows: jfif(rows, W)),
    "jpeg_rgb": jpeg("RGB", t278=8),
    "jpeg_gray": jpeg("L"),
    "jpeg_cmyk": jpeg("CMYK"),
    # Directories.
    "big": tiff(RGB, 8, 3, big=True, rows=5),
    "oriented": tiff(RGB, 8, 3, compression=LZW, tags={274: 7}),
    "oriented_xmp": tiff(RGB, 8, 3, tags={700: XMP}),
    "oriented_tag_first": tiff(RGB, 8, 3, tags={700: XMP, 274: 1}),
    "no_size": tiff(RGB, 8, 3, compression=DEFLATE, drop=[279]),
    "zero_size": tiff(RGB, 8, 3, compression=LZW, tags={279: 0}),
    "wrong_size": tiff(RGB, 8, 3, tags={279: 5}),
    "endless_rows": tiff(RGB, 8, 3, compression=LZW, tags={278: 0xFFFFFFFF}),
    "one_bits_value": tiff(RGB, 8, 3, tags={258: [8]}),
    "swapped_magic": (lambda data: b"II\0*" + data[4:])(tiff(RGB, 8, 3)),
    "lzw_before_tiff5": tiff(RGB, 8, 3, compression=LZW, encode=lzw_before_tiff5),
    "deflate_extra_rows": tiff(RGB, 8, 3, compression=DEFLATE, rows=5, encode=deflated_twice),
    "deflate_no_checksum": tiff(RGB, 8, 3, compression=DEFLATE, encode=lambda rows: zlib.compress(rows.tobytes())[:-4]),
}

# Valid files that Pillow fails on or misreads, and one above with the same pixels.
SAME = {
    "planar_gray_x": (tiff(BLACK_IS_ZERO, 8, 2, planar=2, extra=[0]), "gray_x"),
    "fill_rgb_x": (tiff(RGB, 8, 4, extra=[0], fill=2), "rgb_x"),
    "big_endian_big": (tiff(RGB, 8, 3, order=">", big=True), "big"),
    "big_endian_black12": (tiff(BLACK_IS_ZERO, 12, order=">"), "black12"),
}

UNSUPPORTED = {
    "float": (tiff(BLACK_IS_ZERO, 32, tags={339: [3]}), "floating-point samples"),
    "lab": (tiff(LAB, 8, 3), "CIELab"),
    "ycbcr": (tiff(YCBCR, 8, 3), "YCbCr without JPEG"),
    "gray_premultiplied": (tiff(BLACK_IS_ZERO, 8, 2, extra=[1]), "8-bit gray with extra samples [1]"),
    "palette_alpha": (tiff(PALETTE, 8, 2, extra=[2], tags={320: [0] * 30}), "8-bit palette with extra samples [2]"),
    "rgb4": (tiff(RGB, 4, 3), "4-bit RGB"),
    "seven_samples": (tiff(RGB, 8, 7, extra=[0] * 4), "7 samples"),
    "planar16": (tiff(RGB, 16, 3, planar=2), "uncompressed planar configuration of 16-bit RGB"),
    "planar_fill": (tiff(RGB, 8, 3, planar=2, fill=2), "FillOrder 2"),
    "planar_gray_alpha": (tiff(BLACK_IS_ZERO, 8, 2, planar=2, extra=[2], compression=LZW), "planes of gray with alpha"),
    "float_predictor": (tiff(RGB, 8, 3, compression=DEFLATE, tags={317: 3}), "predictor 3"),
    "bit_predictor": (tiff(BLACK_IS_ZERO, 4, compression=LZW, tags={317: 2}), "predictor 2 of 4-bit"),
    "old_jpeg": (tiff(RGB, 8, 3, tags={259: 6}), "old-style JPEG compression"),
    "lzma": (tiff(RGB, 8, 3, tags={259: 34925}), "LZMA compression"),
    "zstd": (tiff(RGB, 8, 3, tags={259: 50000}), "Zstandard compression"),
    "unknown": (tiff(RGB, 8, 3, tags={259: 12345}), "compression 12345"),
}

CORRUPT = {
    "strip_past_end": (tiff(RGB, 8, 3, compression=LZW, tags={273: 100000}), "truncated"),
    "size_past_end": (tiff(RGB, 8, 3, compression=LZW, tags={279: 100000}), "truncated"),
    "few_strips": (tiff(RGB, 8, 3, rows=5, tags={278: 4}), "2 strips or tiles of 3"),
    "short_raw": (tiff(RGB, 8, 3, rows=7, tags={257: 4000, 278: 4000}, drop=[279]), "truncated"),
    "no_image_size": (tiff(RGB, 8, 3, drop=[256]), "no image size"),
    "no_color_map": (tiff(PALETTE, 8, drop=[320]), "ColorMap"),
    "deflate_checksum": (tiff(RGB, 8, 3, compression=DEFLATE, encode=lambda rows: damaged(zlib.compress(rows.tobytes(), 0), 100)), "checksum"),
    "deflate_header": (damaged(tiff(RGB, 8, 3, compression=DEFLATE), 8), "header"),
    "deflate_short": (tiff(RGB, 8, 3, compression=DEFLATE, encode=lambda rows: zlib.compress(rows[:-1].tobytes())), "truncated"),
    "packbits_short": (tiff(RGB, 8, 3, compression=PACKBITS, tags={279: 40}), "truncated"),
    "lzw_code": (damaged(tiff(RGB, 8, 3, compression=LZW), 10), "invalid code"),
    "fax_code": (tiff(WHITE_IS_ZERO, 1, compression=G4, encode=lambda rows: b"\0\0\0\0\0\0"), "CCITT"),
    "rows_per_strip_0": (tiff(RGB, 8, 3, tags={278: 0}), "17x0"),
    "tile_0": (tiff(RGB, 8, 3, tile=TILE, tags={322: 0}), "0x8"),
}


def write(name, data):
    with open(os.path.join(HERE, name + ".tif"), "wb") as f:
        f.write(data)


for path in glob.glob(os.path.join(HERE, "*.tif")):
    os.remove(path)
outputs, modes = {}, {}
for name, data in READ.items():
    write(name, data)
    im = Image.open(io.BytesIO(data))
    im.load()
    if im.mode.startswith("I;16"):
        im = im.convert("I")
    modes[name] = im.mode
    # Not convert("RGB"), which newer versions of Pillow scale "I" for.
    outputs[name] = np.repeat(np.clip(np.array(im), 0, 255).astype(np.uint8)[..., None], 3, -1) if im.mode == "I" else np.array(im.convert("RGB"))
for name, (data, _) in (SAME | UNSUPPORTED | CORRUPT).items():
    write(name, data)
save_file(outputs, os.path.join(HERE, "outputs_u8.safetensors"))
with open(os.path.join(HERE, "meta.json"), "w") as f:
    others = {"same": SAME, "unsupported": UNSUPPORTED, "corrupt": CORRUPT}
    others = {kind: {name: says for name, (_, says) in files.items()} for kind, files in others.items()}
    json.dump({"pillow": Image.__version__, "modes": modes, **others}, f, indent=1)

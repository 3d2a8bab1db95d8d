"""Writes the pictures of this folder, and beside each a PNG of the pixels that Pillow reads from it.

pip install pillow==13.0.0 pillow-heif==1.8.1 numpy
"""

import io
import struct

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()

EXIF_DATES, ORIENTATION, ORIGINAL = 0x8769, 0x0112, 0x9003


def drawing():
    y, x = np.mgrid[0:60, 0:81]
    bands = [127 + 120 * np.sin(x / 17 + y / 40), 127 + 110 * np.cos(y / 23), 2 * x + y]
    return Image.fromarray(np.stack(bands, -1).clip(0, 255).astype("uint8"))


def save(name, image, **options):
    image.save(name, quality=60, **options)
    Image.open(name).save(name + ".png", exif=b"")


def box(kind, *body):
    body = b"".join(body)
    return struct.pack(">I", len(body) + 8) + kind + body


def body_of(data, *path):
    for kind in path:
        at = 0
        while data[at + 4 : at + 8] != kind:
            at += struct.unpack(">I", data[at : at + 4])[0]
        data = data[at + 8 : at + struct.unpack(">I", data[at : at + 4])[0]]
        data = data[4:] if kind == b"meta" else data
    return data


def grid(image, size, *properties):
    """A HEIC of two by two tiles of 64 x 64, which pillow-heif reads and does not write."""
    files = []
    for y, x in [(0, 0), (0, 64), (64, 0), (64, 64)]:
        file = io.BytesIO()
        image.crop((x, y, x + 64, y + 64)).save(file, "HEIF", quality=60, chroma=420)
        files.append(file.getvalue())
    coded = [body_of(file, b"mdat") for file in files]
    config = box(b"hvcC", body_of(files[0], b"meta", b"iprp", b"ipco", b"hvcC"))
    sizes = [box(b"ispe", struct.pack(">III", 0, *s)) for s in [(64, 64), size]]
    ipco = box(b"ipco", config, *sizes, *properties)
    ipma = b"".join(struct.pack(">HBBB", i, 2, 0x81, 2) for i in range(1, 5))
    of_grid = bytes(3 + i for i in range(1 + len(properties)))
    ipma = struct.pack(">II", 0, 5) + ipma + struct.pack(">HB", 5, len(of_grid)) + of_grid
    items = [(i, b"hvc1") for i in range(1, 5)] + [(5, b"grid")]
    infe = [box(b"infe", struct.pack(">IHH", 2 << 24, i, 0), kind, b"\0") for i, kind in items]
    idat = struct.pack(">BBBBHH", 0, 0, 1, 1, *size)
    ftyp = box(b"ftyp", b"heic\0\0\0\0heicmif1")

    def meta(at):
        iloc = struct.pack(">IHH", 1 << 24, 0x4400, 5)
        for i, data in enumerate(coded):
            iloc += struct.pack(">HHHHII", i + 1, 0, 0, 1, at, len(data))
            at += len(data)
        iloc += struct.pack(">HHHHII", 5, 1, 0, 1, 0, len(idat))
        return box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", struct.pack(">IH", 0, 5)),
            box(b"iloc", iloc),
            box(b"iinf", struct.pack(">IH", 0, 5), *infe),
            box(b"iref", bytes(4), box(b"dimg", struct.pack(">6H", 5, 4, 1, 2, 3, 4))),
            box(b"iprp", ipco, box(b"ipma", ipma)),
            box(b"idat", idat),
        )

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", *coded)


picture = drawing()
exif = Image.Exif()
exif[ORIENTATION] = 6
exif.get_ifd(EXIF_DATES)[ORIGINAL] = "2021:02:03 04:05:06"
exif = exif.tobytes()

save("turned.heic", picture, chroma=444, exif=exif)
save("bt709.heic", picture, chroma=444, matrix_coefficients=1, full_range_flag=0)
save("header.heic", picture, chroma=444, save_nclx_profile=False, full_range_flag=0)
save("halved.heic", picture, chroma=420)
save("gray.heic", picture.convert("L"))
save("turned.avif", picture, subsampling="4:4:4", exif=exif)
save("halved.avif", picture, subsampling="4:2:0")
save("gray.avif", picture.convert("L"))
translucent = picture.copy()
translucent.putalpha(Image.new("L", picture.size, 150))
save("alpha.avif", translucent, subsampling="4:4:4")
save("alpha.heic", translucent, chroma=444)

edges = np.asarray(picture).copy()
edges[10:31, 11:40] = [255, 0, 0]
edges[31:50, 30:60] = [0, 0, 255]
edges[2:8, ::3] = [0, 255, 0]
edges = Image.fromarray(edges)
save("edges.heic", edges, chroma=420, full_range_flag=0)
save("edges422.heic", edges, chroma=422)
save("edges.avif", edges, subsampling="4:2:0")
save("small.heic", edges.crop((0, 0, 45, 37)), chroma=420)
save("animated.avif", translucent, save_all=True, append_images=[edges.convert("RGBA")], subsampling="4:4:4")
edges.save("identity.heic", quality=-1, chroma=444, matrix_coefficients=0)
Image.open("identity.heic").save("identity.heic.png")
pillow_heif.options.SAVE_HDR_TO_12_BIT = False
wide = (np.asarray(edges).astype("uint16") * 257).tobytes()
pillow_heif.from_bytes("RGB;16", edges.size, wide).save("ten.heic", quality=60, chroma=420)
Image.open("ten.heic").save("ten.heic.png")
with open("grid.heic", "wb") as file:
    file.write(grid(picture.resize((128, 128)), (118, 100), box(b"irot", b"\1"), box(b"imir", b"\1")))
Image.open("grid.heic").save("grid.heic.png")

"""Writes the pictures of this folder, and beside each a PNG of the pixels that Pillow reads from it.

pip install pillow==13.0.0 pillow-heif==1.8.1 numpy
"""

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

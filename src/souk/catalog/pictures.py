"""Make our own pictures out of what somebody uploaded: decoded, turned upright, made small, and written anew."""

from io import BytesIO

import msgspec
from PIL import Image, ImageOps

from souk.kit.errors import Invalid

# What is accepted, and how many pixels of it: decoding any of them takes less than 256 MB.
MOST_PIXELS = {"JPEG": 25_000_000, "PNG": 16_000_000, "WEBP": 10_000_000}
LONGEST_SIDE = 2048
THUMBNAILS = (480, 160)

# Ours is the check of the size, before a pixel is decoded; Pillow's own only warns.
Image.MAX_IMAGE_PIXELS = None


class NotAPicture(Invalid, code="catalog.not_a_picture"):
    """The file is not a whole JPEG, PNG or WebP picture."""


class PictureTooLarge(Invalid, code="catalog.picture_too_large"):
    """The picture has {width} x {height} pixels; {most} are the most."""

    width: int
    height: int
    most: int


class Pictures(msgspec.Struct, frozen=True):
    """A picture and its thumbnails as WebP files, by what their names end in; nothing of the original file is left."""

    width: int
    height: int
    files: dict[str, bytes]


def remake(content: bytes) -> Pictures:
    """Our pictures; raises NotAPicture and PictureTooLarge. It takes its time: run it in a thread."""
    try:
        picture = load(content)
    except PictureTooLarge:
        raise
    except Exception as unreadable:  # a decoder that is fed with anything may raise anything
        raise NotAPicture from unreadable
    files = {".webp": write(picture)}
    for side in THUMBNAILS:
        small = picture.copy()
        small.thumbnail((side, side))
        files[f"-{side}.webp"] = write(small)
    return Pictures(picture.width, picture.height, files)


def load(content: bytes) -> Image.Image:
    """The first frame, upright, at most 2048 pixels wide or high, with nothing but its pixels."""
    with Image.open(BytesIO(content), formats=tuple(MOST_PIXELS)) as opened:
        most = MOST_PIXELS[opened.format or ""]
        if opened.width * opened.height > most:
            raise PictureTooLarge(opened.width, opened.height, most)
        opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG is decoded at a fraction of its size at once
        orientation = opened.getexif().get(0x0112, 1)
        see_through = "A" in opened.getbands() or "transparency" in opened.info
        mode = "RGBA" if see_through else "RGB"
        picture = opened if opened.mode == mode else opened.convert(mode)
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        picture = picture.copy()
    picture.info.clear()
    picture.getexif().clear()
    picture.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(picture)
    upright.info.clear()
    return upright


def write(picture: Image.Image) -> bytes:
    """The picture as a WebP file."""
    file = BytesIO()
    picture.save(file, "WEBP", quality=82, method=4, exif=b"", xmp=b"", icc_profile=b"")
    return file.getvalue()

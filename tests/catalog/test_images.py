"""Pictures are made anew out of what was uploaded, shown with the product, and their files go when they go."""

import asyncio
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import PngImagePlugin
from tests.catalog.goods import as_seller, create, mug

from souk import catalog
from souk.app import Shop
from souk.catalog import images, media, products, settings
from souk.catalog.database import db
from souk.catalog.pictures import NotAPicture, PictureTooLarge, remake
from souk.catalog.types import ImageChange, TooManyImages
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import NotFound
from souk.kit.ids import new_id

SECRET = b"51.3397 N 12.3731 E"


def picture(kind: str = "JPEG", size: tuple[int, int] = (640, 480), mode: str = "RGB", **saved: object) -> bytes:
    file = io.BytesIO()
    Pillow.new(mode, size, "navy" if mode != "L" else 7).save(file, kind, **saved)
    return file.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG that says it is this large, in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.fixture
def media_folder(tmp_path: Path) -> Iterator[Path]:
    before = settings.place.now.home
    settings.place.replace(home=tmp_path)
    yield tmp_path / "media"
    settings.place.replace(home=before)


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


KINDS = [("JPEG", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("WEBP", "RGB")]


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_a_picture_becomes_webp_with_thumbnails(kind: str, mode: str) -> None:
    made = remake(picture(kind, (3000, 1000), mode))
    assert (made.width, made.height) == (2048, 683)
    sizes = {}
    for ending, content in made.files.items():
        with Pillow.open(io.BytesIO(content)) as opened:
            assert opened.format == "WEBP"
            sizes[ending] = opened.size
    assert sizes == {".webp": (2048, 683), "-480.webp": (480, 160), "-160.webp": (160, 53)}


def test_nothing_of_the_original_file_is_left_but_its_pixels() -> None:
    exif = Pillow.Exif()
    exif[0x010E] = SECRET.decode()  # description
    exif[0x0112] = 6  # the camera was held upright
    for content in (
        picture("JPEG", (640, 480), exif=exif, comment=SECRET, xmp=SECRET, icc_profile=SECRET),
        picture("WEBP", (640, 480), exif=exif.tobytes(), xmp=SECRET, icc_profile=SECRET),
        picture("PNG", (640, 480), exif=exif, pnginfo=note(SECRET.decode())) + SECRET,
    ):
        assert SECRET in content
        made = remake(content)
        assert (made.width, made.height) == (480, 640)
        for file in made.files.values():
            assert SECRET not in file
            with Pillow.open(io.BytesIO(file)) as opened:
                assert not dict(opened.getexif())
                assert opened.info.keys() <= {"loop", "background", "timestamp", "duration"}


def note(text: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    return info


def test_what_can_be_seen_through_stays_so() -> None:
    file = io.BytesIO()
    Pillow.new("RGBA", (10, 10), (0, 0, 0, 0)).save(file, "PNG")
    with Pillow.open(io.BytesIO(remake(file.getvalue()).files[".webp"])) as opened:
        assert opened.convert("RGBA").getpixel((5, 5))[3] == 0


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 100, b"GIF89a" + b"\0" * 50, b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%PDF-1.7", picture("GIF"), picture("BMP"), picture("TIFF"), picture("JPEG")[:400], picture("PNG")[:200], picture("WEBP")[:60],
        b"\xff\xd8\xff" + b"<?php echo 1 ?>", png(100, 100),
    ],
)  # fmt: skip
def test_what_is_no_whole_jpeg_png_or_webp_is_refused(content: bytes) -> None:
    with pytest.raises(NotAPicture):
        remake(content)


@pytest.mark.parametrize("size", [(30_000, 30_000), (16_000_001, 1), (2**31 - 1, 2**31 - 1)])
def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises((PictureTooLarge, NotAPicture)) as refused:
        remake(png(*size))
    if size == (30_000, 30_000):
        assert refused.type is PictureTooLarge


async def test_pictures_are_shown_with_the_product(shop: Shop, media_folder: Path) -> None:
    (product,) = await create(mug())
    with as_seller():
        first = await images.add_image(product.id, picture(), "a blue mug")
        second = await images.add_image(product.id, picture("PNG", (100, 200)), "")
    (shown,) = await catalog.get_products((product.id,))
    assert shown.images == (first, second)
    assert (shown.image_url, shown.version) == (first.url, 3)
    assert (first.width, first.height, first.alt, first.position, second.position) == (640, 480, "a blue mug", 0, 1)
    assert [one.image_url for one in await catalog.get_variants(("MUG",))] == [first.url]
    assert len(files_in(media_folder)) == 6
    for url in (first.url, *first.thumbnails.values()):
        assert (await media.read_media(url.removeprefix("/media/")))[8:12] == b"WEBP"


async def test_the_first_picture_is_the_one_with_the_lowest_position(shop: Shop, media_folder: Path) -> None:
    (product,) = await create(mug())
    with as_seller():
        first = await images.add_image(product.id, picture(), "")
        second = await images.add_image(product.id, picture(), "")
        changed = await images.change_image(product.id, first.id, ImageChange(alt="behind", position=5))
    assert (changed.alt, changed.position) == ("behind", 5)
    (shown,) = await catalog.get_products((product.id,))
    assert shown.image_url == second.url


async def test_anothers_product_gets_no_picture_and_loses_none(shop: Shop, media_folder: Path) -> None:
    (product,) = await create(mug())
    with as_seller():
        image = await images.add_image(product.id, picture(), "")
        with pytest.raises(NotFound):
            await images.remove_image(product.id, new_id())
    with as_seller(new_id()):
        for attempt in (
            images.add_image(product.id, picture(), ""),
            images.change_image(product.id, image.id, ImageChange(alt="mine")),
            images.remove_image(product.id, image.id),
            images.add_image(new_id(), picture(), ""),
        ):
            with pytest.raises(NotFound):
                await attempt
    assert len(files_in(media_folder)) == 3


async def test_files_go_when_their_picture_or_product_has_gone(shop: Shop, media_folder: Path) -> None:
    one, other = await create(mug(), mug("CUP"))
    with as_seller():
        image = await images.add_image(one.id, picture(), "")
        await images.add_image(other.id, picture(), "")
        kept = await images.add_image(other.id, picture(), "")
        await images.remove_image(one.id, image.id)
        assert await images.remove_loose_files() == 1
        assert len(files_in(media_folder)) == 6
        await images.remove_image(other.id, kept.id)
        await products.remove_product(other.id)
    assert await images.remove_loose_files() == 2
    assert files_in(media_folder) == []
    assert await images.remove_loose_files() == 0


async def test_an_upload_that_was_not_finished_leaves_no_file_for_ever(shop: Shop, media_folder: Path) -> None:
    (product,) = await create(mug())
    who = Caller(Principal("user", new_id(), ("seller",), (product.seller_id,)), idempotency_key="one")
    with asking(who):
        first = await images.add_image(product.id, picture(), "")
        assert await images.add_image(product.id, picture(), "") == first
    (shown,) = await catalog.get_products((product.id,))
    assert len(shown.images) == 1
    assert len(files_in(media_folder)) == 6
    assert await images.remove_loose_files() == 0
    async with db.transaction() as tx:
        await tx.run("UPDATE catalog.loose_file SET remove_at = now() - interval '1 second'")
    assert await images.remove_loose_files() == 1
    assert len(files_in(media_folder)) == 3
    assert await media.read_media(first.url.removeprefix("/media/"))


async def test_a_product_has_at_most_fifty_pictures(shop: Shop, media_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_IMAGES", 2)
    (product,) = await create(mug())
    with as_seller():
        answers = await asyncio.gather(*(images.add_image(product.id, picture(), "") for _ in range(4)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Image", "Image", "TooManyImages", "TooManyImages"]
    assert TooManyImages(2).code == "catalog.too_many_images"


ZERO = "0" * 32


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a.webp", ZERO, f"{ZERO}.webp/..", f"{ZERO}.webp", f"{ZERO}-16.webp\n"])
async def test_only_our_own_files_are_given_out(shop: Shop, media_folder: Path, name: str) -> None:
    with pytest.raises(NotFound):
        await media.read_media(name)

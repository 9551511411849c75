"""Pictures in an S3-compatible store: signed as the standard says, and a store's moods told apart."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web as http
from tests.catalog.goods import as_seller, create, mug
from tests.catalog.test_images import picture
from tests.ports import find_free_port

from souk.app import Shop
from souk.catalog import images, media, settings
from souk.catalog.buckets import Bucket, BucketRefused, Credentials, sign
from souk.kit.errors import NotFound, Unavailable

CREDENTIALS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")


def test_a_request_is_signed_as_in_the_standards_own_example() -> None:
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    headers = sign("GET", "https://examplebucket.s3.amazonaws.com/test.txt", b"", CREDENTIALS, moment, {"range": "bytes=0-9"})
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


class Store:
    """A store that checks signatures by signing again, and can be told to fail."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.mood = 200

    async def answer(self, request: http.Request) -> http.Response:
        content = await request.read()
        moment = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        expected = sign(request.method, str(request.url), content, CREDENTIALS, moment)["authorization"]
        if request.headers["authorization"] != expected:
            return http.Response(status=403, text="SignatureDoesNotMatch")
        if self.mood != 200:
            return http.Response(status=self.mood)
        if request.method == "PUT":
            self.files[request.path] = content
            return http.Response()
        if request.method == "DELETE":
            self.files.pop(request.path, None)
            return http.Response(status=204)
        return http.Response(body=self.files[request.path]) if request.path in self.files else http.Response(status=404)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    its = Store()
    application = http.Application()
    application.router.add_route("*", "/{path:.*}", its.answer)
    runner = http.AppRunner(application)
    await runner.setup()
    port = find_free_port()
    await http.TCPSite(runner, "127.0.0.1", port).start()
    before = settings.settings.now
    settings.settings.replace(s3_endpoint=f"http://127.0.0.1:{port}/", s3_key_id=CREDENTIALS.key_id, s3_secret=CREDENTIALS.secret)
    yield its
    settings.settings.replace(s3_endpoint=before.s3_endpoint, s3_key_id=before.s3_key_id, s3_secret=before.s3_secret)
    await runner.cleanup()


async def test_a_file_is_kept_given_out_and_removed(store: Store) -> None:
    bucket = media.storage()
    assert isinstance(bucket, Bucket)
    await bucket.put("a.webp", b"picture")
    assert store.files == {"/souk/a.webp": b"picture"}
    assert await bucket.read("a.webp") == b"picture"
    for _ in range(2):
        await bucket.remove("a.webp")
    with pytest.raises(NotFound):
        await bucket.read("a.webp")


async def test_a_store_that_fails_is_tried_again_and_one_that_refuses_is_a_mistake_of_ours(store: Store) -> None:
    bucket = media.storage()
    for mood in (500, 503, 429):
        store.mood = mood
        with pytest.raises(Unavailable):
            await bucket.put("a.webp", b"picture")
    store.mood = 200
    settings.settings.replace(s3_secret="wrong")
    with pytest.raises(BucketRefused):
        await media.storage().put("a.webp", b"picture")
    with pytest.raises(Unavailable):
        await Bucket(f"http://127.0.0.1:{find_free_port()}/souk", CREDENTIALS).read("a.webp")


async def test_pictures_of_products_lie_in_the_bucket(shop: Shop, store: Store) -> None:
    (product,) = await create(mug())
    with as_seller():
        image = await images.add_image(product.id, picture(), "")
    assert len(store.files) == 3
    assert (await media.read_media(image.url.removeprefix("/media/")))[8:12] == b"WEBP"
    with as_seller():
        await images.remove_image(product.id, image.id)
    assert await images.remove_loose_files() == 1
    assert store.files == {}

"""Pictures that services return are taken within bounds, and only if they are what they say."""

import base64

import pytest

from tom.services.pictures import LARGEST, MOST, PictureFrame

PNG = b"\x89PNG\r\n\x1a\n"


def encoded(data):
    return base64.b64encode(data).decode()


def test_a_picture_is_taken():
    frame = PictureFrame()
    assert frame.take("IMAGE/PNG; x=1", encoded(PNG + b"x"))
    assert [(image.media_type, image.data) for image in frame.images] == [("image/png", PNG + b"x")]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("image/svg+xml", encoded(b"<svg/>")),
        ("image/png", encoded(b"GIF89a")),
        ("image/png", "no base64!"),
        ("image/png", ""),
        ("image/png", encoded(PNG + b"x" * LARGEST)),
    ],
)
def test_what_is_no_picture_or_too_large_is_not(kind, text):
    assert not PictureFrame().take(kind, text)


def test_there_is_a_bound_on_how_many_and_how_much():
    frame = PictureFrame()
    assert [frame.take("image/png", encoded(PNG)) for _ in range(MOST + 1)] == [True] * MOST + [False]
    frame = PictureFrame()
    large = encoded(PNG + b"x" * (LARGEST - 100))
    assert [frame.take("image/png", large) for _ in range(3)] == [True, True, False]

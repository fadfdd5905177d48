"""Files of images: read as they were meant, or one line; folders paired by name."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from cutaway.core.errors import CutawayError
from cutaway.similarity import images as module
from cutaway.similarity.images import pairs, read_image
from similarity.made_up import picture

ROWS = np.random.RandomState(0).randint(0, 256, (9, 7, 3), np.uint8)


def line(call, *given) -> str:
    with pytest.raises(CutawayError) as told:
        call(*given)
    assert "\n" not in str(told.value)
    return str(told.value)


def saved(path, array, mode=None, **more):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **more)
    return path


def png(path, w: int, h: int, bits: int, kind: int, rows: bytes = b""):
    """A PNG written by hand: Pillow writes no colour of 16 bits."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", w, h, bits, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_colour_is_read_as_it_is(tmp_path, suffix):
    found = read_image(saved(tmp_path / f"a.{suffix}", ROWS))
    assert found.dtype == torch.uint8
    assert np.array_equal(found.movedim(0, -1).numpy(), ROWS)


def test_grey_is_repeated_and_16_bits_keep_their_precision(tmp_path):
    grey = read_image(saved(tmp_path / "a.png", ROWS[..., 0]))
    assert torch.equal(grey, torch.tensor(ROWS[..., 0]).expand(3, -1, -1))
    deep = (ROWS[..., 0].astype(np.uint16) * 257) + 1
    deep[0, 0] = 65535
    found = read_image(saved(tmp_path / "b.png", np.minimum(deep, 65535)))
    assert found.dtype == torch.float32
    assert found.shape == (3, 9, 7)
    assert found[0, 0, 0] == 255
    torch.testing.assert_close(found[1] * 257, torch.tensor(deep.astype(np.float32)), rtol=1e-6, atol=1e-2)


def test_palettes_and_opaque_alpha_are_read_transparent_pixels_are_not(tmp_path):
    flat = np.zeros((8, 8, 3), np.uint8)
    flat[:4] = (10, 200, 30)
    Image.fromarray(flat).quantize(4).save(tmp_path / "p.png")
    assert np.array_equal(read_image(tmp_path / "p.png").movedim(0, -1).numpy(), flat)
    alpha = np.concatenate([ROWS, np.full((9, 7, 1), 255, np.uint8)], 2)
    assert np.array_equal(read_image(saved(tmp_path / "a.png", alpha)).movedim(0, -1).numpy(), ROWS)
    alpha[2, 3, 3] = 254
    assert "transparent pixels" in line(read_image, saved(tmp_path / "t.png", alpha))


def test_a_cameras_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    found = read_image(saved(tmp_path / "a.png", ROWS, exif=exif))
    assert np.array_equal(found.movedim(0, -1).numpy(), np.rot90(ROWS, -1))


def test_colour_of_16_bits_is_refused(tmp_path):
    rows = b"".join(b"\0" + b"\1\2" * 3 * 4 for _ in range(4))
    assert "16 bits a colour" in line(read_image, png(tmp_path / "a.png", 4, 4, 16, 2, rows))


def test_what_has_no_colours_of_a_known_range(tmp_path):
    assert "mode F" in line(read_image, saved(tmp_path / "f.tiff", np.full((4, 4), np.nan, np.float32)))
    assert "mode CMYK" in line(read_image, saved(tmp_path / "c.jpg", ROWS, "CMYK"))


def test_several_frames(tmp_path):
    frames = [Image.fromarray(ROWS), Image.fromarray(255 - ROWS)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert "2 frames" in line(read_image, tmp_path / "a.gif")


def test_truncated_and_strange_files(tmp_path):
    path = picture(tmp_path / "a.png", size=(300, 300))
    path.write_bytes(path.read_bytes()[:-2000])
    assert "truncated" in line(read_image, path)
    (tmp_path / "b.png").write_text("no image")
    assert "not an image" in line(read_image, tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"")
    assert "not an image" in line(read_image, tmp_path / "c.png")
    assert "there is no image" in line(read_image, tmp_path / "d.png")
    assert "it is a folder" in line(read_image, tmp_path)


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_huge_images_are_refused_before_they_are_unpacked(tmp_path, side):
    path = png(tmp_path / "a.png", side, side, 8, 2)
    told = line(read_image, path)
    assert f"{module.LARGEST:,}" in told
    assert "smaller" in told


def test_two_files_and_two_folders_are_paired(tmp_path):
    a, b = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    (pair,) = pairs(a, b)
    assert (pair.a, pair.b, pair.name) == (a, b, "a.png – b.png")
    for name in ("x.png", "y.png", "z.bmp"):
        picture(tmp_path / "left" / name)
    for name in ("z.jpg", "x.png", "y.tiff"):
        picture(tmp_path / "right" / name)
    (tmp_path / "left" / "notes.txt").write_text("no image")
    (tmp_path / "left" / ".hidden.png").write_text("no image")
    found = pairs(tmp_path / "left", tmp_path / "right")
    assert [(x.name, x.a.name, x.b.name) for x in found] == [
        ("x", "x.png", "x.png"),
        ("y", "y.png", "y.tiff"),
        ("z", "z.bmp", "z.jpg"),
    ]


def test_folders_without_pairs(tmp_path):
    left, right = tmp_path / "left", tmp_path / "right"
    a = picture(left / "x.png")
    right.mkdir()
    assert "has no images" in line(pairs, left, right)
    picture(right / "y.png")
    assert f"{right} has no image x" in line(pairs, left, right)
    picture(right / "x.png")
    assert f"{left} has no image y" in line(pairs, left, right)
    picture(left / "y.png")
    picture(left / "y.jpg")
    assert "two images named y" in line(pairs, left, right)
    assert "give two of one kind" in line(pairs, left, a)
    assert "there is no image or folder" in line(pairs, left, tmp_path / "none")

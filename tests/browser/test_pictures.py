"""The script that makes the README's picture: what it shows, how large it is, what it says when it cannot."""

import importlib.util
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser.chromium import missing

SCRIPT = Path(__file__).parents[2] / "docs/pictures.py"


@pytest.fixture(scope="module")
def pictures():
    if missing():
        pytest.skip(missing())
    spec = importlib.util.spec_from_file_location("pictures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_shows_the_head_of_the_page_and_the_drawing_in_both_schemes(pictures, browser, report, monkeypatch):
    monkeypatch.setattr(pictures, "SCALE", 1)
    shown = {}
    for scheme in ("light", "dark"):
        png = pictures.picture(browser, report("small"), scheme)
        assert len(png) <= pictures.MOST_BYTES
        shown[scheme] = np.asarray(Image.open(BytesIO(png)).convert("RGB"), dtype=int)
    light, dark = shown["light"], shown["dark"]
    assert light.shape == dark.shape
    assert light.shape[1] == pictures.WIDTH
    assert light.shape[0] < 1.2 * light.shape[1], "more than the head and the drawing"
    assert light.mean() > 220
    assert dark.mean() < 60
    # the drawing of the circuit is there: the violet of a letter mover, in the lower half
    lower = light[light.shape[0] // 2 :]
    assert (np.abs(lower - (0x5A, 0x3A, 0x9E)).max(-1) < 12).sum() > 80


def test_a_picture_that_is_too_large_has_fewer_colours_or_is_refused(pictures, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    out = BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    sizes = []
    for most in (20_000, 6_500):
        monkeypatch.setattr(pictures, "MOST_BYTES", most)
        sizes.append(len(pictures.small(out.getvalue())))
        assert sizes[-1] <= most
    assert sizes[0] > sizes[1]
    monkeypatch.setattr(pictures, "MOST_BYTES", 1000)
    with pytest.raises(SystemExit, match="choose a smaller part"):
        pictures.small(out.getvalue())


def test_a_folder_without_a_page_is_refused(pictures, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["pictures.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"report\.html does not exist: give a run folder"):
        pictures.main()

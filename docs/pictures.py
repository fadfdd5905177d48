"""The picture at the head of the README: a run's page as Chromium shows it, in light and in dark.

    python docs/pictures.py RUN [-o docs/images]

Writes `circuit-light.png` and `circuit-dark.png`. Needs Chromium (`apt-get install chromium`, or its path in
CUTAWAY_CHROMIUM) and `pip install ".[dev]"`.
"""

import argparse
import os
import shutil
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FIRST, LAST = "body > header", "#circuit > figure"
"""The picture begins with the one element and ends with the other."""

LEFT_OUT = ("header nav", "#prompts", "#performance", "#circuit > h2", "#circuit > p", ".save", ".js-only")
"""What lies between, or is of use only to those who can press it."""

WIDTH, MARGIN, SCALE = 1280, 24, 2
"""Width of the page and space below the last element in CSS pixels, and pixels of the picture for each of them."""

MOST_BYTES = 300_000
COLOURS = (256, 128, 64, 32)


def picture(browser: Browser, page: Path, scheme: str) -> bytes:
    """The part of the page from `FIRST` to `LAST`, as PNG of at most `MOST_BYTES`."""
    window = {"width": WIDTH, "height": 900}
    context = browser.new_context(color_scheme=scheme, viewport=window, device_scale_factor=SCALE, offline=True)
    try:
        shown = context.new_page()
        shown.goto(page.resolve().as_uri())
        shown.add_style_tag(content=f"{', '.join(LEFT_OUT)} {{ display: none !important; }}")
        shown.add_style_tag(content=f"{LAST} ~ * {{ visibility: hidden; }}")
        last = shown.locator(LAST).first.bounding_box()
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": last["y"] + last["height"] + MARGIN}
        assert shown.locator(FIRST).bounding_box()["y"] < last["y"]
        return small(shown.screenshot(full_page=True, clip=clip))
    finally:
        context.close()


def small(png: bytes) -> bytes:
    """The same picture with as many colours as it has room for."""
    full = Image.open(BytesIO(png)).convert("RGB")
    for colours in COLOURS:
        out = BytesIO()
        full.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= MOST_BYTES:
            return out.getvalue()
    raise SystemExit(f"{out.tell():,} bytes with {COLOURS[-1]} colours, at most {MOST_BYTES:,}: choose a smaller part")


def write(page: Path, folder: Path) -> list[Path]:
    """Writes both pictures and returns their paths."""
    names = filter(None, (os.environ.get("CUTAWAY_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"))
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        raise SystemExit("there is no Chromium here: `apt-get install chromium`, or set CUTAWAY_CHROMIUM to its path")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            written.append(folder / f"circuit-{scheme}.png")
            written[-1].write_bytes(picture(browser, page, scheme))
        browser.close()
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder of `cutaway circuits find`")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "images")
    given = parser.parse_args()
    page = given.run / "report.html"
    if not page.exists():
        raise SystemExit(f"{page} does not exist: give a run folder, or make its page with `cutaway circuits report`")
    for path in write(page, given.out):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""The Chromium of this machine through Playwright, or one sentence that says how to get it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

try:
    from playwright.sync_api import Browser, expect, sync_playwright
except ImportError:  # said by `missing`, so that the modules of this folder can be read without it
    Browser = expect = sync_playwright = None

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = (
    "tests in a real browser need Chromium and Playwright: `apt-get install chromium` (or set CUTAWAY_CHROMIUM to the "
    'path of a Chromium or Chrome) and `pip install ".[dev]"`'
)
FLAGS = (
    "--no-sandbox",  # containers run as root, where Chromium's sandbox refuses to start
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",  # no name is ever looked up
)


def executable() -> str | None:
    """Where Chromium is: `$CUTAWAY_CHROMIUM` if it is set, or the first of its usual names."""
    names = (os.environ["CUTAWAY_CHROMIUM"],) if os.environ.get("CUTAWAY_CHROMIUM") else NAMES
    return next(filter(None, map(shutil.which, names)), None)


def missing() -> str | None:
    """Why there can be no tests in a browser, or None where there can."""
    return INSTALL if sync_playwright is None or executable() is None else None


@contextmanager
def launched() -> Iterator["Browser"]:
    """A headless Chromium, without a network but this machine's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()

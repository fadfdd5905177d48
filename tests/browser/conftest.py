"""A real browser for the tests of pages: one Chromium, a fresh context for each visit, and guards on all of them."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from browser import axe as accessibility
from browser.chromium import launched, missing
from browser.guard import watched
from browser.reports import reported


@pytest.fixture(scope="package")
def browser():
    """One Chromium for this folder's tests; they skip where there is none.

    It is closed after them: while Playwright is there, no other test of the process could start an event loop.
    """
    if missing():
        pytest.skip(missing())
    with launched() as chromium:
        yield chromium


@pytest.fixture
def visit(browser):
    """`visit(path_or_url, **context_options)` gives the page there; the test fails if anything was wrong with it (guard.py)."""
    with ExitStack() as visits:
        yield lambda target, **options: visits.enter_context(watched(browser, target, **options))


@pytest.fixture(scope="package")
def report(tmp_path_factory):
    """`report(name)` is the path of a page of reports.py, made when it is first asked for."""
    made = {}

    def path(name: str) -> Path:
        if name not in made:
            made[name] = reported(tmp_path_factory.mktemp("report"), name)
        return made[name]

    return path


@pytest.fixture
def axe():
    """`axe(page)` fails with what axe-core finds."""

    def check(page) -> None:
        if found := accessibility.violations(page):
            raise AssertionError("\n".join([f"{page.url} is not accessible to all:", *found]))

    return check


@pytest.fixture
def screenshot(tmp_path):
    """`screenshot(page, name)` writes the whole page as PNG to `$CUTAWAY_SCREENSHOTS`, or else beside the test's files."""

    def write(page, name: str) -> Path:
        folder = Path(os.environ.get("CUTAWAY_SCREENSHOTS") or tmp_path)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        return folder / f"{name}.png"

    return write

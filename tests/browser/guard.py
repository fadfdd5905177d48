"""A page under guard: what it says on the console, what goes wrong in it, and everything that it asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

WITHIN = ("data:", "blob:", "about:")
"""Addresses of what a page has made itself."""


@dataclass
class Guard:
    """Listens to a browser context that is to show one page and nothing else.

    A page from disk may load its own file alone; a page from a server may load what lies on that server.
    """

    home: str
    faults: list[str] = field(default_factory=list)

    def allows(self, url: str) -> bool:
        if url.startswith(WITHIN):
            return True
        if self.home.startswith("file:"):
            return urldefrag(url).url == urldefrag(self.home).url
        return urlsplit(url)[:2] == urlsplit(self.home)[:2]

    def watch(self, context) -> None:
        """Notes every fault from now on, and stops what the page may not load."""
        context.on("console", self.console)
        context.on("weberror", lambda error: self.faults.append(f"uncaught error: {error.error}"))
        context.on("dialog", self.dialog)
        context.on("request", lambda request: self.asked(request.url))
        context.on("page", lambda page: page.on("websocket", lambda socket: self.asked(socket.url)))
        context.route("**/*", lambda route: route.continue_() if self.allows(route.request.url) else route.abort())

    def console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def dialog(self, dialog) -> None:
        self.faults.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()

    def asked(self, url: str) -> None:
        if not self.allows(url):
            self.faults.append(f"request: {url[:200]}")

    def check(self) -> None:
        """Raises AssertionError with everything that was noticed."""
        if self.faults:
            raise AssertionError("\n".join([f"{self.home} was to be quiet, but:", *self.faults]))


@contextmanager
def watched(browser, target: Path | str, **options) -> Iterator:
    """Opens a file or an address in a context of its own, and checks on leaving that nothing was wrong with it.

    Args:
        options: of the browser's context (`color_scheme="dark"`, `viewport={"width": 360, "height": 800}`, …). Nothing glides
            unless it is asked to (`reduced_motion="no-preference"`), so that no test waits for it.

    Raises:
        AssertionError: there was an error or a warning on the console, an uncaught error, a dialog, or a request for anything but
            the page itself.
    """
    home = target.resolve().as_uri() if isinstance(target, Path) else target
    guard, context = Guard(home), browser.new_context(**{"reduced_motion": "reduce"} | options)
    try:
        context.set_default_timeout(10_000)
        guard.watch(context)
        page = context.new_page()
        page.goto(home)
        yield page
        page.title()  # one question more: what was sent before its answer has been heard
    finally:
        context.close()
    guard.check()

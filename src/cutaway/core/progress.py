"""Progress on the terminal: quiet when nobody looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tick = Callable[[int], None]


class Progress:
    """Stages of a long job. Library code gets one passed in; the command line makes the visible kind."""

    @contextmanager
    def stage(self, about: str, total: int | None = None) -> Iterator[Tick]:
        """One stage; call what it yields with the number of steps just done."""
        yield lambda done: None

    def say(self, line: str) -> None:
        """A line worth keeping."""


class TerminalProgress(Progress):
    """Bars on a terminal; elsewhere one line when a stage is done. Everything goes to stderr."""

    def __init__(self):
        from rich.console import Console

        self.console = Console(stderr=True)

    @contextmanager
    def stage(self, about: str, total: int | None = None) -> Iterator[Tick]:
        import time

        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
        )
        remaining = (TextColumn("left"), TimeRemainingColumn()) if total else ()
        started = time.monotonic()
        bar = Progress(*columns, *remaining, console=self.console, transient=True, disable=not self.console.is_terminal)
        with bar:
            task = bar.add_task(about, total=total)
            yield lambda done: bar.update(task, advance=done)
        self.say(f"{about}: {time.monotonic() - started:.1f} s")

    def say(self, line: str) -> None:
        self.console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)

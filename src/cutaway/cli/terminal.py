"""What every command needs: a console, a table, a folder that is free, the command as it was typed."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from cutaway.core.errors import CutawayError


def free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3 … that is not taken."""
    numbered = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(2))
    return folder if not folder.exists() else next(path for path in numbered if not path.exists())


def dtype_of(name: str):
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise CutawayError(f"dtype {name!r}: allowed are {', '.join(known)}")
    return known[name]


def new_console():
    from rich.console import Console

    console = Console()
    # a pipe or a log has no width of its own: keep tables whole there
    return console if console.is_terminal else Console(width=160)


def listing(header: tuple[str, ...], rows: list[tuple]):
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in header:
        table.add_column(column, header_style="bold")
    for row in rows:
        table.add_row(*map(str, row))
    return table


def command_line() -> str:
    """This command as it can be typed again."""
    import shlex

    return shlex.join(["cutaway", *sys.argv[1:]])


def lines() -> Iterator[list[str]]:
    """Texts from the standard input, as they come: one by one from a person, many at once from a file."""
    read = (line.strip("\r\n").lstrip("\ufeff") for line in sys.stdin)
    asked = (line for line in read if line.strip())
    try:
        while some := list(itertools.islice(asked, 1 if sys.stdin.isatty() else 256)):
            yield some
    except UnicodeDecodeError as error:
        raise CutawayError(f"the standard input is not UTF-8 ({error.reason}): convert it first") from error

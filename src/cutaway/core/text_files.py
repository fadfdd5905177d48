"""Text files as people give them: with or without a byte-order mark, with any line ends. What is no text is told with its line."""

import difflib
import os
from pathlib import Path

from cutaway.core.errors import CutawayError


def text_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8.

    Raises:
        CutawayError: there is no such file (says the nearest name in its folder), it cannot be read, or it is no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise CutawayError(f"{path} does not exist{_nearest(path)}") from error
    except IsADirectoryError as error:
        raise CutawayError(f"{path} is a folder: give a file") from error
    except OSError as error:
        raise CutawayError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        n = error.object.count(b"\n", 0, error.start) + 1
        raise CutawayError(
            f"{path}, line {n}: not UTF-8 (byte {error.start}): give text, converted to UTF-8"
        ) from error
    # not splitlines: it would also split at characters that may stand within a word
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if n := next((n for n, line in enumerate(lines, 1) if "\0" in line), 0):
        raise CutawayError(f"{path}, line {n}: a zero byte, so this is not text in UTF-8: convert it first")
    return lines[:-1] if lines[-1] == "" else lines


def _nearest(path: Path) -> str:
    there = [x.name for x in path.parent.iterdir()] if os.access(path.parent, os.R_OK) else []
    near = difflib.get_close_matches(path.name, there, 1)
    return f"; did you mean {path.with_name(near[0])}?" if near else ""

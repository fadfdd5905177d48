"""`cutaway <room> <verb>`: every command is a typed function; its docstring is its help. Nothing heavy is imported at the top.

A map of the files:
    circuits.py, models.py, behaviors.py, reproduce.py, similarity.py, tagging.py, tuning.py, entity_typing.py    one room each
    runs.py        the runs of all of them; as tables: runs_tables.py
    opened.py      models by whatever name, runs of tuning among them
    trainable.py   what the commands of rooms that train share: runs over seeds, tables, answers
    settings.py    flags made from a room's configuration
    job.py         a long job: ranks, run folder, journal
    terminal.py    what the rooms' commands share: console, tables, free folders
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from cutaway import __version__
from cutaway.cli.behaviors import behaviors
from cutaway.cli.circuits import circuits
from cutaway.cli.entity_typing import entity_typing
from cutaway.cli.models import models
from cutaway.cli.reproduce import reproduce
from cutaway.cli.runs import runs
from cutaway.cli.similarity import similarity
from cutaway.cli.tagging import tagging
from cutaway.cli.tuning import tuning
from cutaway.core.errors import CutawayError

app = App(
    name="cutaway",
    version=__version__,
    suppress_keyboard_interrupt=False,  # `run` says what Ctrl-C left
    help="See how a pretrained network does what it does, change it, use it, and see what the change did inside.",
)
for room in (circuits, models, behaviors, reproduce, tagging, tuning, entity_typing, similarity, runs):
    app.command(room)


def run(tokens: list[str] | None = None, command: Callable = app) -> int:
    """Runs a command line; returns its exit code. Mistakes become one line on stderr."""
    try:
        command(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CutawayError as error:
        return _complain(str(error), 1)
    except CycloptsError as error:
        return _complain(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        return _complain("stopped; nothing half-written is left", 130)
    except BrokenPipeError:  # the reader of our output has gone: `cutaway … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _complain(line: str, code: int) -> int:
    rank = f" (rank {os.environ['RANK']})" if "RANK" in os.environ else ""
    print(f"cutaway{rank}: {line}", file=sys.stderr)
    return code


def keep_memory() -> None:
    """Tells glibc to keep freed memory for the next layer instead of giving it back to the kernel: a patching grid frees
    and asks for the same large blocks thousands of times, and page faults cost a seventh of its time. Other systems do
    without. Only the command line does this; importing the package changes nothing.
    """
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, -1)  # never


def main() -> None:
    keep_memory()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that what is half-built is tidied up
    sys.exit(run())

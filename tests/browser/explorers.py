"""Explorers for the tests, each served from this process on a free port until the process ends."""

import threading
from dataclasses import replace
from pathlib import Path

from circuits.explore_scenes import planted_setup
from cutaway.circuits.explore.server import door_of, listen, serve, url_of
from cutaway.circuits.explore.setup import Setup
from cutaway.decoder.planted import plant

EVIL = "<script>document.title = 'run'</script>\"'&<img src=x onerror=alert(1)>"
"""A name that must be shown, and not be run."""
NAMES = ("acronyms", "induction", "hostile")


def explorer(folder: Path, name: str) -> tuple[str, Setup]:
    """Serves one of `NAMES`; its address, and what it stands on."""
    setup, _ = planted_setup(folder, "induction" if name == "induction" else "acronyms", seed=1)
    if name == "hostile":
        circuit = replace(setup.circuit, behavior=EVIL, step_names=(EVIL,) * 3)
        setup = replace(setup, circuit=circuit, phrases=(*setup.phrases, EVIL), remark=EVIL)
    bound = listen("127.0.0.1", 0)
    door = door_of(bound, "127.0.0.1")
    threading.Thread(target=serve, args=(setup, bound, door), daemon=True).start()
    return url_of(bound, "127.0.0.1", door), setup


def movers(setup: Setup) -> list[str]:
    """The heads that carry the answer."""
    return [str(site) for site, role in plant(setup.circuit.model).heads.items() if "mover" in role]

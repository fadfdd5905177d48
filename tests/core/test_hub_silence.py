"""A hub that takes the call and never answers: one line after a while, not a wait without end."""

import os
import socket
import subprocess
import sys
import time

CODE = """
from cutaway.core import sources
from cutaway.core.errors import CutawayError
sources.HUB_PATIENCE = 1.0
try:
    sources.fetch(sources.Hub("owner/name"))
except CutawayError as error:
    print(error)
"""


def test_a_silent_hub_is_given_up_on(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        more = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path), "CUTAWAY_CACHE": str(tmp_path)}
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", CODE], env=kept | more, capture_output=True, text=True, timeout=60, check=True
        )
    assert "hub owner/name: no network, or the hub does not answer" in done.stdout
    assert time.monotonic() - started < 45
    assert not list(tmp_path.rglob("*.source.json"))

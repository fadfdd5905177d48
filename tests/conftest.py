"""For every test: one thread a worker (the suite runs on several workers), and no network by accident."""

import os

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)


@pytest.fixture
def data():
    """The folder of real data sets, or a skip that says how to get there."""
    from pathlib import Path

    folder = os.environ.get("CUTAWAY_DATA", "../shared/data")
    if not Path(folder).is_dir():
        pytest.skip("the real data sets are not on this machine: set CUTAWAY_DATA to their folder")
    return Path(folder)

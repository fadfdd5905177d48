"""For all tests of tuning."""

import pytest


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch):
    """Where `peft` itself opens BOFT, it would try to compile a CUDA extension, which not every environment survives."""
    try:
        from peft.tuners.boft import layer
    except ImportError:
        return
    monkeypatch.setattr(layer, "_FBD_CUDA", False)

"""An encoder of random weights, made once."""

import pytest

from tagging import made_up


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return made_up.encoder(tmp_path_factory.mktemp("encoder"))

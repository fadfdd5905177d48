"""The benchmark of the explorer asks questions that are answered, and the docs show its committed result."""

import json
import random
from itertools import islice
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from circuits.explore_scenes import planted_setup
from cutaway.circuits.explore.app import application
from cutaway.circuits.explore.security import Door

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script():
    import explore

    return explore


def test_every_kind_of_change_is_answered(script, tmp_path):
    setup, _ = planted_setup(tmp_path)
    client = TestClient(
        application(setup, Door(frozenset({"127.0.0.1"}))), base_url=script.HOME, headers={"origin": script.HOME}
    )
    for kind, asked in script.changes(setup, random.Random(0)).items():
        for path, sent in islice(asked, 3):
            answer = client.post(path, json={"session": script.SESSION, **sent})
            assert answer.status_code == 200, kind
            assert "error" not in answer.json(), kind
    assert script.measure(client, asked)["n"] == script.TIMES


def test_the_table_is_the_result(script):
    page = (ROOT / "docs" / "explore.md").read_text()
    table = page.split("<!-- explore table -->\n")[1].split("\n<!-- end of explore table -->")[0]
    assert table == script.markdown(json.loads(script.COMMITTED.read_text()))

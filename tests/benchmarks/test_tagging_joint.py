"""The table of docs/tagging.md is that of the committed results; a cell is of the settings that the script names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cutaway.core.configs import table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script():
    import tagging_joint

    return tagging_joint


def test_the_table_is_the_results(script):
    page = (ROOT / "docs" / "tagging.md").read_text()
    shown = page.split("<!-- joint table -->\n")[1].split("\n<!-- end of joint table -->")[0]
    assert shown == script.markdown(json.loads(script.RESULT.read_text())["cells"])


def test_every_cell_was_measured_with_the_settings_that_stand_in_the_script(script):
    for name, cell in json.loads(script.RESULT.read_text())["cells"].items():
        data, system, seed = name.split(" | ")
        base = script.config(data, system)
        config = replace(base, training=replace(base.training, seed=int(seed)))
        assert cell["config"] == json.loads(json.dumps(table(config))), name
        assert cell["test"]["n"] == {"atis": 893, "snips": 700}[data]

"""The comparison of tuning methods: the table of the docs is that of the committed results, and what the docs say of it holds."""

import json
from pathlib import Path

from cutaway.core.configs import table
from cutaway.core.estimates import OverSeeds
from docs_marks import shown

ROOT = Path(__file__).parents[2]


def test_the_table_is_that_of_the_results():
    import tuning_table as script

    cells, costs = script.cells(script.RESULT), json.loads(script.COSTS.read_text())["costs"]
    assert shown("study table", "tuning") == script.markdown(cells, costs)


def test_cells_were_measured_with_the_settings_of_their_folders():
    import tuning_table as script

    for name, cell in script.cells(script.RESULT).items():
        task, method, rate, seed = name.split(" | ")
        config = script.experiment(task, method).at(float(rate), int(seed))
        assert cell["config"] == json.loads(json.dumps(table(config))), name
        assert "failed" in cell or cell["test"]["n"] == {"sst2": 872}.get(task, cell["test"]["n"])


def test_what_the_docs_say_of_it():
    import tuning_table as script

    cells = script.cells(script.RESULT)
    means, default = {}, {}
    for name in script.methods():
        rate = script.best(cells, "sst2", name)
        seeds = [cells[script.key("sst2", name, rate, seed)] for seed in script.SEEDS]
        means[name] = OverSeeds.of([100 * script.score(cell, "sst2", "test") for cell in seeds]).mean
        default[name] = 100 * script.score(cells[script.key("sst2", name, 1e-3, 0)], "sst2", "test")
    assert len(means) >= 15, "full fine-tuning beside at least fourteen"
    below = {name for name, x in means.items() if x < means["full"]}
    assert below == {"prefix", "prompt", "side"}
    assert all(means["full"] - means[name] < 1 for name in below)
    assert round(max(default.values()) - min(default.values())) == 31
    assert round(max(means.values()) - min(means.values()), 1) == 3.2
    assert sorted(means, key=means.__getitem__)[:3] == sorted(below, key=means.__getitem__)
    assert 0.5 < means["lora"] - means["bitfit"] < 1.5

"""Runs side by side: real ones of planted models, whose circuits are known, and made-up ones."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import cutaway
from circuits.run_folders import Size, make
from cutaway.circuits.behaviors.acronyms import Acronyms
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.behaviors.from_file import read_behavior
from cutaway.circuits.behaviors.induction import Induction
from cutaway.circuits.behaviors.induction import build as induction
from cutaway.circuits.compare import again, compare, cross, page
from cutaway.circuits.compare.cross import IN_ALL, IN_ANY, N_RANDOM
from cutaway.circuits.compare.effects import ALL
from cutaway.circuits.compare.sides import sides
from cutaway.circuits.find import Find, find
from cutaway.circuits.write import write
from cutaway.cli import run as cli
from cutaway.core.progress import Progress
from cutaway.core.runs import Run
from cutaway.decoder import parse_site

HOSTILE = """<script>alert("1")</script> & 'quoted' </style>"""
FEW = Find(n_sweep=3, n_search=6, n_verify=6, n_random=4)


def found_in(folder: Path, name: str, build, config) -> Path:
    """A real run of a planted model, as small as one can be."""
    model = cutaway.load(f"planted:{name}")
    options = replace(FEW, seed=config.seed)
    write(find(model, build(model.tokenizer, config), options), Run(folder), model.tokenizer)
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> dict[str, Path]:
    where = tmp_path_factory.mktemp("planted")
    return {
        "seed-0": found_in(where / "seed-0", "acronyms", acronyms, Acronyms(n=12, seed=0)),
        "seed-1": found_in(where / "seed-1", "acronyms", acronyms, Acronyms(n=12, seed=1)),
        "other": found_in(where / "other", "induction", induction, Induction(n=12)),
    }


@pytest.fixture(scope="module")
def found(planted):
    return compare(list(planted.values()))


@pytest.fixture
def made(tmp_path) -> list[Path]:
    folders = [make(tmp_path / f"run-{seed}", Size(seed=seed)) for seed in (0, 1, 2)]
    for i, folder in enumerate(folders):
        edit(folder, "circuit.json", lambda data, i=i: data["provenance"].update(prompts_sha256=str(i) * 64))
    return folders


def edit(folder: Path, name: str, change) -> None:
    """Changes one JSON file of a run."""
    data = json.loads((folder / name).read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))


def effects(convention: str, value: str):
    """What `edit` does to an effect map."""
    return lambda data: data["convention"].update({convention: value})


# --- real runs -----------------------------------------------------------------------------------------------------


def test_two_seeds_of_a_planted_circuit_have_the_same_heads_in_the_same_roles(found):
    (table,), (both,) = found.heads, found.overlaps
    assert table.runs == ("seed-0", "seed-1")
    assert (both.shared, both.union, both.same_role, both.jaccard) == (5, 5, 5, 1.0)
    assert both.p < 1e-4 < both.expected < 0.2
    assert all(row.count == 2 and len(set(row.roles)) == 1 for row in table.rows)
    rows = {row.role: row for row in found.roles if row.run == "seed-0"}
    (mover,) = (row for role, row in rows.items() if "mover" in role)
    assert mover.depth[0] == sum(site.layer for site in mover.heads) / len(mover.heads) / 4
    assert rows["induction"].heads == ()
    assert rows["induction"].depth is None


def test_every_circuit_keeps_all_of_the_other_runs_answers_and_random_ones_do_not(found):
    columns = {column.run: column for column in found.cross}
    for run in ("seed-0", "seed-1"):
        assert columns[run].notes == ()
        assert [kept.heads for kept in columns[run].kept] == [
            "seed-0",
            "seed-1",
        ]  # all have the same heads: no other row
        for kept in columns[run].kept:
            assert [point[0] for point in kept.faithfulness] == pytest.approx([1.0] * 3, abs=0.05)
            assert all(low <= mean <= high for mean, low, high in kept.faithfulness)
            assert all(middle < 0.5 for middle in kept.median)  # the best may hold the mover by luck
            assert all(middle <= best for middle, best in zip(kept.median, kept.best, strict=True))
    assert columns["other"].kept == ()
    assert columns["other"].notes == ("no other run has the shape of other",)


def test_on_its_own_prompts_a_circuit_keeps_what_its_run_says(found):
    for column, side in zip(found.cross[:2], found.sides, strict=False):
        again = column.of(side.label).faithfulness
        for new, old in zip(again, side.record.verification["faithfulness"], strict=True):
            assert new == pytest.approx(old, abs=1e-4)


def test_what_is_common_and_what_is_in_any_are_measured_where_they_are_other_sets(planted, tmp_path):
    """The planted circuit, and a copy of the run that claims to lack its movers and to have another head."""
    copy = tmp_path / "copy"
    shutil.copytree(planted["seed-0"], copy)
    outside = parse_site("0.6")

    def change(data):
        movers = [head for head in data["heads"] if "mover" in head["role"]]
        data["heads"] = [head for head in data["heads"] if head not in movers] + [movers[0] | {"site": str(outside)}]

    edit(copy, "circuit.json", change)
    same = sides([planted["seed-0"], copy])
    assert outside not in same[0].roles
    n_movers = sum("mover" in role for role in same[0].roles.values())
    assert {name: len(heads) for name, heads in cross.circuits_of(same).items()} == {
        "seed-0": 5, "copy": 6 - n_movers, IN_ALL: 5 - n_movers, IN_ANY: 6,
    }  # fmt: skip
    column = compare([planted["seed-0"], copy]).cross[1]
    assert "off its verification.json" in column.notes[0]  # what it claims to keep is not what its heads keep
    whole, broken, union = (column.of(name).faithfulness[0][0] for name in ("seed-0", "copy", IN_ANY))
    assert whole == pytest.approx(1, abs=0.05)
    assert union == pytest.approx(1, abs=0.05)
    assert broken < 0.1


def test_a_run_whose_search_has_seen_the_prompts_is_named(planted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(planted["seed-0"], copy)
    edit(copy, "circuit.json", lambda data: data["provenance"]["options"].update(n_search=8, n_verify=4))
    first, second = compare([planted["seed-0"], copy]).cross
    assert first.notes == ("2 of the 6 prompts that verify seed-0 were seen by the search of copy",)
    assert "come out other than they were" in second.notes[0]  # its hash is of six prompts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about["recipe"].update(seed=5), "come out other than they were"),
        (lambda about: about["recipe"].update(verbs=["sing"]), "need 'verbs'"),
        (lambda about: about["recipe"].pop("behavior"), "does not say how"),
        (lambda about: about["recipe"].update(behavior="acronym"), "did you mean acronyms"),
        (lambda about: about["recipe"].update(behavior="file", file="gone.jsonl"), "gone.jsonl, which is not there"),
        (lambda about: about.update(dtype="float7"), "no precision"),
        (lambda about: about.update(weights_sha256="0" * 64), "has other weights than when copy was made"),
    ],
)
def test_prompts_that_cannot_be_made_again_leave_a_line(planted, tmp_path, change, said):
    copy = tmp_path / "copy"
    shutil.copytree(planted["seed-1"], copy)
    edit(copy, "circuit.json", lambda data: change(data["provenance"]))
    whole, left_out = compare([planted["seed-0"], copy]).cross
    assert len(whole.kept) == 2
    assert left_out.kept == ()
    assert said in left_out.notes[0]
    assert "\n" not in left_out.notes[0]


def test_a_model_that_is_not_here_leaves_a_line_and_is_not_fetched(planted, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(planted["seed-1"], copy)
    edit(copy, "circuit.json", lambda data: data.update(model="nobody/nothing"))
    monkeypatch.setattr(again, "load", lambda *given, **more: pytest.fail("loaded without being at hand"))
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "cache"))
    both = sides([planted["seed-0"], copy])
    (column,) = cross._with_one_model(both[1:], both, Progress(), "cpu")
    assert column.kept == ()
    assert "nobody/nothing" in column.notes[0]


def test_prompts_of_a_file_are_found_where_the_command_had_them(tmp_path, monkeypatch):
    model = cutaway.load("planted:induction")
    drawn, decode = induction(model.tokenizer, Induction(n=12)), model.tokenizer.decode
    others = drawn.corruptions["everything"].runs[0][1].tokens
    lines = [
        {"prompt": text, "answer": decode([answer]), "alternatives": [decode([i]) for i in rest if i >= 0],
         "corrupted": {"everything": decode(other)}}
        for text, answer, (rest,), other in zip(
            drawn.texts, drawn.answers[:, 0].tolist(), drawn.alternatives.tolist(), others.tolist(), strict=True
        )
    ]  # fmt: skip
    mine = tmp_path / "mine.jsonl"
    mine.write_text("\n".join(map(json.dumps, lines)))
    for name in ("a", "b"):
        run = Run(tmp_path / name)
        write(find(model, read_behavior(mine, model.tokenizer), FEW), run, model.tokenizer)
        run.text("config.toml", f"behavior = {json.dumps(str(mine))}\n")
    assert [len(column.kept) for column in compare([tmp_path / "a", tmp_path / "b"]).cross] == [2, 2]
    mine.write_text("\n".join(map(json.dumps, lines[::-1])))
    assert "other than they were" in compare([tmp_path / "a", tmp_path / "b"]).cross[0].notes[0]


# --- effects and steps ---------------------------------------------------------------------------------------------


def test_effects_are_compared_for_every_corruption_and_step_that_both_have(made):
    edit(made[1], "effects/heads-previous-letters.json", effects("corruption", "another"))
    found = compare(made[:2], cross=False)
    assert [(c.corruption, c.step) for c in found.correlations] == [
        (ALL, ALL), ("current word", "letter 1"), ("current word", "letter 2"), ("current word", "letter 3"),
    ]  # fmt: skip
    assert all(c.found.n == 28 for c in found.correlations)


def test_a_run_agrees_with_itself_up_to_the_sign(made, tmp_path):
    """A copy with every effect turned round: orders are reversed, sizes are the same."""
    copy = tmp_path / "copy"
    shutil.copytree(made[0], copy)
    for file in (copy / "effects").glob("heads-*.json"):
        data = json.loads(file.read_text())
        for row in data["effects"]:
            row["effect"], row["low"], row["high"] = -row["effect"], -row["high"], -row["low"]
        file.write_text(json.dumps(data))
    total, *signed = compare([made[0], copy], cross=False).correlations
    assert total.found.spearman == pytest.approx((1, 1, 1))
    assert len(signed) == 5
    for each in signed:
        assert each.found.spearman == each.found.kendall == pytest.approx((-1, -1, -1), abs=1e-9)


def test_steps_of_one_run_and_heads_that_one_step_alone_needs(made):
    def change(data):
        nothing = [[0.0, 0.0, 0.0]] * 3
        one = [[0.5, 0.4, 0.6], [0.1, -0.1, 0.3], [0.0, 0.0, 0.0]]
        two = [[0.5, 0.4, 0.6], [0.2, 0.1, 0.3], [0.0, 0.0, 0.0]]
        unsure = [[0.5, 0.2, 0.8], [0.1, -0.1, 0.3], [0.0, 0.0, 0.0]]
        last = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.3, 0.2, 0.4]]
        costs = [one, two, unsure, nothing, last]
        for head, cost in zip(data["heads"], costs, strict=True):
            head["dropped"] = cost

    edit(made[0], "circuit.json", change)
    found = compare(made[:2], cross=False)
    heads = found.sides[0].record.circuit.heads
    ours = [(each.site, each.step) for each in found.for_one_step if each.run == "run-0"]
    assert ours == [(heads[0].site, "letter 1"), (heads[4].site, "letter 3")]
    pairs = [(s.corruption, s.a, s.b) for s in found.steps if s.run == "run-0"]
    assert len(pairs) == 3 + 3 + 1
    assert ("previous letters", "letter 2", "letter 3") in pairs
    assert ("previous letters", "letter 1", "letter 2") not in pairs


# --- conventions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kind", "direction", "metric", "sign"])
def test_a_convention_that_differs_is_one_line(made, name):
    for file in ("current-word", "previous-letters"):
        edit(made[1], f"effects/heads-{file}.json", effects(name, "another"))
    (line,) = compare(made[:2], cross=False).warnings
    assert line.startswith(f"{name} differs")
    assert "another in run-1" in line
    assert "effects do not compare" in line


def test_another_ablation_or_model_is_one_line_and_equal_ones_are_none(made):
    assert compare(made, cross=False).warnings == ()
    edit(made[1], "circuit.json", lambda data: data["method"].update(ablation="zero"))
    edit(made[2], "circuit.json", lambda data: data.update(model="made:down"))
    ablation, models = compare(made, cross=False).warnings
    assert "mean in run-0, zero in run-1, mean in run-2" in ablation
    assert models.startswith("made:up and made:down have the same shape (4 × 7 heads)")


def test_runs_that_looked_at_the_same_prompts_are_named(made):
    edit(made[2], "circuit.json", lambda data: data["provenance"].update(prompts_sha256="0" * 64))
    (line,) = compare(made, cross=False).warnings
    assert line.startswith("run-0 and run-2 looked at the same prompts")


# --- input ---------------------------------------------------------------------------------------------------------


def test_bad_input_is_one_line_and_leaves_nothing(made, tmp_path, monkeypatch, capsys):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (made[2] / "verification.json").unlink()
    a, b = str(made[0]), str(made[1])
    for given, said in (
        ([], "0 were given: name 2 to 8"),
        ([a], "1 was given: name 2 to 8"),
        ([a, b, a], "is given twice"),
        ([a, f"{b}/../run-0/"], "is given twice"),
        ([a, "nowhere"], "does not exist"),
        ([a, str(made[2])], "verification.json does not exist"),
        ([a, str(tmp_path / "work")], "does not exist"),
        ([a, b, "-o", a], "exists already"),
        ([f"{a}{i}" for i in range(9)], "9 were given"),
    ):
        assert cli(["circuits", "compare", *given, "--no-cross"]) == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert said in lines[0]
    assert list((tmp_path / "work").iterdir()) == []


def test_labels_are_as_long_as_it_takes(tmp_path):
    for name in ("a/run", "b/run", "c"):
        make(tmp_path / name)
    assert [s.label for s in sides([tmp_path / "a/run", tmp_path / "c"])] == ["run", "c"]
    assert [s.label for s in sides([tmp_path / "a/run", tmp_path / "b/run"])] == ["a/run", "b/run"]
    records = [side.record for side in sides([tmp_path / "a/run", tmp_path / "c"])]
    assert [s.label for s in sides(records)] == ["run 1", "run 2"]


# --- files, terminal, page -----------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Elements of a page with their attributes, its text, and whether everything that opens is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.found, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_the_command_writes_a_page_tables_and_everything_as_json(planted, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli(["circuits", "compare", *map(str, planted.values()), "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    for said in (
        "seed-0 ∩ seed-1",
        "letter mover",
        "Kept of letter 2",
        "Spearman ρ",
        "no other run has the shape",
        str(out),
    ):
        assert said in printed
    assert {path.name for path in out.iterdir()} == {
        "compare.html", "compare.json", "config.toml", "manifest.json",
        *(f"{name}.csv" for name in ("heads", "roles", "overlaps", "correlations", "steps", "cross")),
    }  # fmt: skip
    data = json.loads((out / "compare.json").read_text())
    assert [run["run"] for run in data["runs"]] == ["seed-0", "seed-1", "other"]
    assert data["overlaps"][0]["jaccard"] == 1
    assert data["heads"][0]["rows"][0]["site"] in data["runs"][0]["circuit"]
    assert len(data["cross"][0]["kept"][0]["faithfulness"]) == 3
    assert (out / "heads.csv").read_text().startswith("head,run,role,effect,circuits\n")
    found = Elements((out / "compare.html").read_text())
    assert "5 are in both" in found.text
    assert json.loads((out / "manifest.json").read_text())["command"] in found.text


def test_the_default_folder_is_named_after_the_runs(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli(["circuits", "compare", "run-0", "run-1", "--no-cross"]) == 0
    assert (tmp_path / "runs" / "compare-run-0-run-1" / "compare.html").exists()
    assert not (tmp_path / "runs" / "compare-run-0-run-1" / "cross.csv").exists()


def test_the_page_is_well_formed_and_needs_nothing(found, tmp_path):
    elements = Elements(page.render(found, Run(tmp_path)).read_text())
    assert elements.open == []
    ids = [attrs["id"] for _, attrs in elements.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in elements.found:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "use", "image", "form"}
        assert not {"src", "srcset", "action", "xlink:href", "data"} & set(attrs)
        assert not [name for name in attrs if name.startswith("on")]
        if "href" in attrs:
            assert attrs["href"][1:] in ids
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attrs.get(name) or "").split()) <= set(ids)
    (policy,) = (attrs["content"] for _, attrs in elements.found if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "url(" not in page.html(page.Page.of(found, {}))
    assert sum(attrs.get("class") == "sketch" for tag, attrs in elements.found if tag == "svg") == 3


def test_markup_in_a_run_is_shown_as_text(made, tmp_path, capsys):
    escaped = json.dumps(HOSTILE)[1:-1]
    for name, old in (("circuit.json", "letter mover"), ("circuit.json", "made:up"), ("circuit.json", "letter 2")):
        for folder in made[:2]:
            (folder / name).write_text((folder / name).read_text().replace(old, escaped + old))
    for folder in made[:2]:
        edit(folder, "effects/heads-current-word.json", effects("corruption", HOSTILE))
    hostile = made[0].rename(tmp_path / "<b>[red]")
    assert cli(["circuits", "compare", str(hostile), str(made[1]), "--no-cross", "-o", str(tmp_path / "out")]) == 0
    assert "<b>[red]" in capsys.readouterr().out
    text = (tmp_path / "out" / "compare.html").read_text()
    elements = Elements(text)
    assert elements.open == []
    tags = [tag for tag, _ in elements.found]
    assert "script" not in tags
    assert "b" not in [tag for tag, attrs in elements.found if attrs.get("class") == "<b>[red]"]
    assert tags.count("style") == 1
    assert " ".join(HOSTILE.split()) in elements.text
    assert "<b>[red]" in elements.text


def test_runs_of_different_shape_still_say_something(tmp_path):
    folders = [make(tmp_path / "a", Size(layers=4)), make(tmp_path / "b", Size(layers=6, heads=3))]
    found = compare(folders)
    assert found.heads == found.overlaps == found.correlations == ()
    assert {row.run for row in found.roles if row.depth} == {"a", "b"}
    assert [column.notes for column in found.cross] == [(f"no other run has the shape of {n}",) for n in "ab"]
    said = Elements(page.html(page.Page.of(found, {}))).text
    assert "No two of these models have the same shape" in said
    assert "Head by head" not in said


def test_random_circuits_have_the_size_of_the_row(found):
    every = frozenset(parse_site(site) for site in found.sides[0].record.every_head)
    drawn = cross._drawn(every, 5)
    assert len(drawn) == N_RANDOM
    assert all(len(heads) == 5 and heads <= every for heads in drawn)
    assert len(set(drawn)) > 1
    assert drawn == cross._drawn(every, 5)

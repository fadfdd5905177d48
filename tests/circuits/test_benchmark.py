"""Counting what a search found beside what is there, and the command that does so."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway import CutawayError, Site
from cutaway.circuits import benchmark
from cutaway.circuits.benchmark import Case, auroc, judge, known_case, planted_cases, published_cases, score, summaries
from cutaway.circuits.known import known_circuit
from cutaway.circuits.search.record import Found, Method, Options, Problem, method
from cutaway.cli import run
from cutaway.core.progress import Progress
from cutaway.decoder.planted.record import circuits

from .gpt2_shaped import MOVER, random_gpt2

HEADS = [Site(layer, "z", head) for layer in range(3) for head in range(4)]


def by_ranks(scores: dict[Site, float], truth: frozenset[Site]) -> float:
    """The area from the sum of the true heads' ranks, equal scores sharing the mean of theirs: another way to the same."""
    values = sorted(scores.values())
    mean_rank = {v: values.index(v) + (values.count(v) + 1) / 2 for v in values}
    n = len(truth)
    total = sum(mean_rank[scores[site]] for site in truth)
    return (total - n * (n + 1) / 2) / (n * (len(scores) - n))


@given(
    values=st.lists(st.integers(-3, 3), min_size=12, max_size=12),
    truth=st.sets(st.sampled_from(HEADS), min_size=1, max_size=11),
)
def test_auroc_is_the_rank_sum_with_ties_sharing(values, truth):
    scores = {site: float(value) for site, value in zip(HEADS, values, strict=True)}
    assert auroc(scores, frozenset(truth)) == pytest.approx(by_ranks(scores, frozenset(truth)))
    # turned round it is the rest of 1, and a scale of another unit changes nothing
    assert auroc({s: -v for s, v in scores.items()}, frozenset(truth)) == pytest.approx(
        1 - auroc(scores, frozenset(truth))
    )
    assert auroc({s: 7 * v + 2 for s, v in scores.items()}, frozenset(truth)) == auroc(scores, frozenset(truth))


def test_auroc_by_hand():
    truth = frozenset(HEADS[:2])
    assert auroc(dict.fromkeys(HEADS[:4], 1.0), truth) == 0.5
    assert auroc(dict(zip(HEADS[:4], [3.0, 2.0, 1.0, 0.0], strict=True)), truth) == 1
    assert auroc(dict(zip(HEADS[:4], [3.0, 1.0, 2.0, 0.0], strict=True)), truth) == 0.75
    assert auroc(dict(zip(HEADS[:4], [3.0, 2.0, 2.0, 0.0], strict=True)), truth) == 0.875


@pytest.mark.parametrize(
    ("scores", "truth", "said"),
    [
        (dict.fromkeys(HEADS, 1.0), frozenset(), "0 true ones and 12 others"),
        (dict.fromkeys(HEADS, 1.0), frozenset(HEADS), "12 true ones and 0 others"),
        (dict.fromkeys(HEADS, float("nan")), frozenset(HEADS[:1]), "NaN"),
    ],
)
def test_auroc_refuses_what_has_none(scores, truth, said):
    with pytest.raises(CutawayError, match=said):
        auroc(scores, truth)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(planted_cases([0], n=6))


def found(case: Case, heads, scores) -> Found:
    return Found(frozenset(heads), scores, Problem(case.model, case.behavior).convention("exact"))


def test_what_is_found_is_counted(cases):
    case = replace(cases[0], truth=frozenset(HEADS[:4]), aside=frozenset(HEADS[4:5]))
    scores = {site: float(-i) for i, site in enumerate(HEADS)}
    got = judge(case, "any", found(case, [*HEADS[1:5], HEADS[7]], scores), 1.0, 1.0)
    assert (got.tpr, got.fpr, got.auroc, got.top) == (3 / 4, 1 / 7, 1.0, 1.0)
    assert (got.missed, got.wrong) == ((str(HEADS[0]),), (str(HEADS[7]),))
    assert not got.exact
    # a head aside is neither right nor wrong, in the circuit or out of it, scored high or low
    low = judge(case, "any", found(case, HEADS[:4], scores | {HEADS[4]: -99.0}), 1.0, 1.0)
    assert (low.auroc, low.top) == (1, 1)
    for heads in (HEADS[:4], HEADS[:5]):
        assert judge(case, "any", found(case, heads, scores), 1.0, 1.0).exact


def test_there_is_a_case_for_every_planted_circuit_and_seed(cases):
    assert {case.group for case in cases} == {f"planted:{name}" for name in circuits()}
    assert len(list(planted_cases([0, 1], n=1))) == 2 * len(circuits())
    negative = next(case for case in cases if "negative" in case.name)
    assert len(negative.aside) == 1
    assert not any(case.aside for case in cases if case is not negative)
    assert 9 * len(circuits()) >= 50, "the default of --seeds makes at least 50 models"


def test_exact_search_is_right_on_all_of_them(cases):
    for case in cases:
        got = score(case, method("prune"))
        assert got.exact
        assert (got.tpr, got.fpr, got.auroc, got.top) == (1, 0, 1, 1)


def wrong_way_round(problem, options=Options(), tick=None) -> Found:  # noqa: B008
    right = method("prune").search(problem, options)
    return replace(right, heads=frozenset(right.scores) - right.heads, scores={s: -v for s, v in right.scores.items()})


def gives_up(problem, options=Options(), tick=None) -> Found:  # noqa: B008
    raise CutawayError("below the floor")


def test_a_method_that_is_wrong_looks_wrong(cases):
    """Mutation of a method: the instrument does not call everything right."""
    case = next(case for case in cases if case.group == "planted:ioi")
    bad = Method("bad", wrong_way_round, Options, "", "")
    got = score(case, bad)
    assert (got.tpr, got.fpr, got.auroc, got.top) == (0, 1, 0, 0)
    none = Method("none", gives_up, Options, "", "")
    failed = score(case, none)
    assert (failed.tpr, failed.failed, failed.auroc, failed.exact) == (0, "below the floor", None, False)
    lines = {line.method: line for line in summaries([got, failed], [bad, none, method("prune")])}
    assert lines.keys() == {"bad", "none"}
    assert lines["none"].auroc is None
    assert (lines["none"].failed, lines["bad"].failed) == (1, 0)
    assert benchmark.rows(list(lines.values()))[1][5:7] == ("–", "0 of 1, 1 failed")


def test_a_published_circuit_is_refused_in_a_model_of_another_shape(cases):
    with pytest.raises(CutawayError, match="12 layers of 12 heads"):
        known_case(known_circuit("ioi"), cases[0].model)


def test_what_cannot_be_had_is_left_out_with_a_line():
    class Heard(Progress):
        def __init__(self):
            self.said: list[str] = []

        def say(self, line: str) -> None:
            self.said.append(line)

    heard = Heard()
    records = [known_circuit("docstring"), known_circuit("ioi")]
    assert published_cases(records, "planted:ioi", 4, heard) == []
    assert "docstring" in heard.said[0]
    assert "ioi" in heard.said[1]
    assert len(heard.said) == 2


def test_the_command_prints_a_table_and_writes_json(capsys, tmp_path):
    words = ["--on", "planted", "--methods", "prune", "--seeds", "1", "-n", "4", "-o", str(tmp_path / "run")]
    assert run(["circuits", "benchmark", *words]) == 0
    printed = capsys.readouterr().out
    assert f"planted: {len(circuits())} models" in printed
    assert "1.000 [1.000, 1.000]" in printed
    written = json.loads((tmp_path / "run" / "benchmark.json").read_text())
    assert written["planted"][0]["auroc"]["mean"] == 1
    assert len(written["scores"]) == len(circuits())
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"benchmark.json", "manifest.json", "config.toml"}
    assert run(["circuits", "known"]) == 0
    assert "Wang" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "prun"], "did you mean prune"),
        (["--on", "acronym"], "did you mean acronyms"),
        (["--on", "docstring"], "no circuit to look for"),
        (["--on", "ioi", "-m", "planted:ioi"], "no circuit to look for"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(capsys, tmp_path, words, said):
    assert run(["circuits", "benchmark", "-o", str(tmp_path / "run"), *words]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cutaway: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_published_circuit_is_looked_for_in_a_model_of_its_shape(gpt2):
    """A decoder of GPT-2's shape, random but for its letter mover at 8.11: of the eight published heads that one is found."""
    model = random_gpt2(192, gpt2)
    case = known_case(known_circuit("acronyms"), model, n=6)
    assert len(case.truth) == 8
    got = score(case, method("atp"))
    assert str(MOVER) in got.found
    assert str(MOVER) not in got.missed
    assert got.auroc is not None
    assert len(got.missed) + round(8 * got.tpr) == 8

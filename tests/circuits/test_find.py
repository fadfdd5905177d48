"""The whole job on planted models: exactly the planted heads, with their roles, verified, explained and written down."""

import json
from dataclasses import replace
from functools import cache

import pytest
import torch

import cutaway
from cutaway import CutawayError, Site
from cutaway.circuits.behaviors.acronyms import Acronyms
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.behaviors.induction import Induction
from cutaway.circuits.behaviors.induction import build as induction
from cutaway.circuits.circuit import Circuit
from cutaway.circuits.config import Find
from cutaway.circuits.explain.attention import attention
from cutaway.circuits.explain.direct import direct
from cutaway.circuits.explain.roles import role_of
from cutaway.circuits.find import find
from cutaway.circuits.isolation import Isolation
from cutaway.circuits.show import summary
from cutaway.circuits.verify import verify
from cutaway.circuits.write import write
from cutaway.core.runs import new_run
from cutaway.decoder.planted import truth

SMALL = Find(n_sweep=4, n_search=6, n_verify=8, n_random=5)


def scene(name: str, n: int, seed: int = 0):
    model = cutaway.load(name)
    if "induction" in name:
        return model, induction(model.tokenizer, Induction(n=n, seed=seed))
    return model, acronyms(model.tokenizer, Acronyms(n=n, seed=seed))


@cache
def found(name: str, config: Find = SMALL):
    model, behavior = scene(name, config.n_prompts, config.seed)
    return model, behavior, find(model, behavior, config)


@pytest.mark.parametrize("name", ["planted:acronyms@0", "planted:acronyms@10", "planted:induction@0"])
def test_finds_the_planted_heads_and_names_their_roles(name):
    """Twenty seeds of the search itself are in test_planted.py, twenty of the roles just below."""
    _, _, findings = found(name, replace(SMALL, n_random=1))
    assert {head.site: head.role for head in findings.circuit.heads} == truth(name)


@pytest.mark.parametrize("name", [f"planted:{kind}@{seed}" for kind in ("acronyms", "induction") for seed in range(20)])
def test_names_the_roles_of_planted_heads(name):
    model, behavior = scene(name, n=6)
    looks, writes = attention(model, behavior), direct(model, behavior)
    assert {site: role_of(site, behavior, looks, writes).name for site in truth(name)} == truth(name)


@pytest.mark.parametrize(
    ("direction", "ablation"), [("denoising", "mean"), ("noising", "resample"), ("noising", "zero")]
)
def test_every_convention_finds_the_same_planted_heads(direction, ablation):
    _, _, findings = found("planted:acronyms@3", replace(SMALL, direction=direction, ablation=ablation, n_random=1))
    assert findings.circuit.sites == set(truth("planted:acronyms@3"))
    assert {m.convention.direction for m in findings.heads.values()} == {direction}


def test_a_planted_circuit_is_faithful_complete_and_minimal():
    _, _, findings = found("planted:acronyms@1")
    verified = findings.verification
    for step in range(3):
        assert verified.faithfulness[step].mean == pytest.approx(1, abs=1e-4)
        assert verified.complement[step].mean == pytest.approx(0, abs=1e-4)
        assert verified.incompleteness[step].mean == pytest.approx(0, abs=1e-4)
    assert all(max(e.mean for e in lost) > 0.1 for lost in verified.minimality.values())
    assert verified.buildup[0][0] == "none"
    assert verified.buildup[-1][1][0].mean == pytest.approx(verified.circuit["logit_diff"][0].mean, abs=1e-4)


def test_verification_notices_a_circuit_that_lacks_a_head_or_has_one_too_many():
    model, behavior, findings = found("planted:acronyms@1")
    right = findings.circuit.sites
    isolation = Isolation(model, behavior.take(slice(0, 8)))
    mover = findings.circuit.by_role()["letter mover"][0]
    lacking = verify(isolation, right - {mover}, order=sorted(right, key=str), n_random=2)
    assert min(e.mean for e in lacking.faithfulness) < 0.9
    assert max(e.mean for e in lacking.complement) > 0.05
    extra = next(site for site in sorted(isolation.every_head, key=str) if site not in right)
    fat = verify(isolation, right | {extra}, order=[*sorted(right, key=str), extra], n_random=2)
    assert max(abs(e.mean) for e in fat.minimality[extra]) < 1e-4


def test_search_and_verification_never_share_a_prompt():
    _, behavior, findings = found("planted:acronyms@1")
    search_on, verify_on = behavior.split(SMALL.n_search, SMALL.n_verify)
    assert not set(search_on.texts) & set(verify_on.texts)
    assert findings.verification.n == SMALL.n_verify


def test_the_same_seed_gives_the_same_findings():
    first, again = (found.__wrapped__("planted:acronyms@1")[2] for _ in range(2))
    assert first.circuit == again.circuit
    assert first.verification == again.verification


def test_a_run_folder_holds_what_was_found(tmp_path):
    model, _, findings = found("planted:acronyms@1")
    with new_run(tmp_path / "run", config={"find": vars(SMALL)}, command="cutaway circuits find acronyms") as run:
        write(findings, run, model.tokenizer)
    folder = tmp_path / "run"
    assert Circuit.load(folder) == findings.circuit
    assert json.loads((folder / "manifest.json").read_text())["versions"]["torch"] == torch.__version__
    assert "n_sweep = 4" in (folder / "config.toml").read_text()
    line = json.loads((folder / "prompts.jsonl").read_text().splitlines()[0])
    assert "".join(token["token"] for token in line["tokens"]).replace("\\n", "\n").startswith(line["text"])
    assert {token["role"] for token in line["tokens"]} >= {"C1", "T1", "(", "A1", "A2"}
    from rich.console import Console

    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary(folder))
    printed = console.export_text()
    assert all(str(head.site) in printed for head in findings.circuit.heads)
    assert "letter mover" in printed


def test_nothing_is_left_of_a_run_that_fails(tmp_path):
    def interrupted():
        with new_run(tmp_path / "runs" / "run", config={}) as run:
            run.text("half.txt", "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_run_never_overwrites(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(CutawayError, match="exists already"), new_run(tmp_path / "run", config={}):
        pass
    assert (tmp_path / "run" / "mine.txt").read_text() == "mine"


def test_too_few_prompts_unknown_method_and_zero_are_one_line():
    model = cutaway.load("planted:acronyms")
    behavior = acronyms(model.tokenizer, Acronyms(n=5))
    with pytest.raises(CutawayError, match="5 prompts, 14 are needed"):
        find(model, behavior, SMALL)
    with pytest.raises(CutawayError, match="did you mean prune"):
        find(model, behavior, replace(SMALL, method="prun"))
    with pytest.raises(CutawayError, match="at least 1"):
        find(model, behavior, replace(SMALL, n_sweep=0))


def test_an_impossible_floor_says_what_was_reached():
    model = cutaway.load("planted:acronyms")
    behavior = acronyms(model.tokenizer, Acronyms(n=SMALL.n_prompts))
    with pytest.raises(CutawayError, match=r"below the floor 1\.50"):
        find(model, behavior, replace(SMALL, floor=1.5))


def test_circuit_files_of_others_are_refused(tmp_path):
    with pytest.raises(CutawayError, match="does not exist"):
        Circuit.load(tmp_path)
    (tmp_path / "circuit.json").write_text('{"heads": 3}')
    with pytest.raises(CutawayError, match="not a circuit file"):
        Circuit.load(tmp_path)


def test_circuit_prints_its_heads():
    _, _, findings = found("planted:acronyms@1")
    assert all(str(site) in repr(findings.circuit) for site in truth("planted:acronyms@1"))
    assert Site(0, "z", 0) not in findings.circuit.sites or Site(0, "z", 0) in truth("planted:acronyms@1")

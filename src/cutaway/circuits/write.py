"""Findings to a run folder: tables as CSV and JSON, the circuit, the prompts. Figures and the page are made from these."""

import json
from dataclasses import asdict

from cutaway.circuits.effects import EffectMap
from cutaway.circuits.explain.edges import THROUGH_MLPS
from cutaway.circuits.find import Findings
from cutaway.core.runs import Run
from cutaway.decoder.tokens import Tokenizer

MAX_EDGES = 2000
"""Edges written down, the strongest first: a model of 30 layers has 130 000."""


def write(findings: Findings, run: Run, tokenizer: Tokenizer | None) -> None:
    """Writes every table of the findings."""
    run.json("circuit.json", findings.circuit.to_dict())
    run.json("performance.json", {"steps": findings.behavior.step_names, **asdict(findings.performance)})
    for kind, maps in (("heads", findings.heads), ("stream", findings.stream), ("mlps", findings.mlps)):
        for corruption, effects in maps.items():
            _effects(run, f"effects/{kind}-{corruption.replace(' ', '-')}", effects)
    _search(run, findings)
    run.json("verification.json", verification(findings))
    run.facts["main_scores"] = ["verification.faithfulness"]  # what `cutaway runs list` shows of this run
    run.json("sensitivity.json", {"steps": findings.behavior.step_names, **findings.sensitivity.to_dict()})
    run.csv("attention.csv", attention_rows(findings))
    run.csv("direct.csv", direct_rows(findings))
    _letters(run, findings)
    _paths(run, findings)
    if len(findings.attention.kept):
        run.arrays("patterns.safetensors", {"pattern": findings.attention.kept.numpy()})
    if findings.positional:
        run.json("positional.json", {"sources": findings.behavior.sources, **findings.positional.to_dict()})
    run.text("prompts.jsonl", prompts(findings, tokenizer))
    run.json("seconds.json", findings.seconds)


def _search(run: Run, findings: Findings) -> None:
    """What the search itself said of every head, and of the strongest edges if it looked at edges."""
    found, inside = findings.searched, findings.circuit.sites
    rows = [{"head": str(head), "score": score, "in_circuit": head in inside} for head, score in found.scores.items()]
    run.csv("scores.csv", sorted(rows, key=lambda row: -row["score"]))
    strongest = sorted(found.edges.items(), key=lambda item: -abs(item[1]))[:MAX_EDGES]
    if strongest:
        run.csv("edges.csv", [{"edge": str(edge), "effect": value} for edge, value in strongest])
    run.json("search.json", {"method": findings.config.method, "convention": asdict(found.convention)})


def _letters(run: Run, findings: Findings) -> None:
    """The movers' matrices with their summary as JSON; those of every head as arrays."""
    matrices = {head: {q: m.to_dict() for q, m in quadrants.items()} for head, quadrants in findings.letters.items()}
    run.json("letters.json", {"matrices": matrices, "copying_score": findings.copying})
    if findings.alphabet:
        ov, copying = findings.alphabet.ov.half(), findings.alphabet.copying.float()
        run.arrays("letters.safetensors", {"ov": ov.numpy(), "copying": copying.numpy()})


def _paths(run: Run, findings: Findings) -> None:
    if paths := findings.paths:
        rows = paths.rows()
        run.json("paths.json", {"convention": asdict(paths.convention), "through_mlps": THROUGH_MLPS, "effects": rows})
        run.csv("paths.csv", rows)


def _effects(run: Run, name: str, effects: EffectMap) -> None:
    run.json(f"{name}.json", effects.to_dict())
    run.csv(f"{name}.csv", effects.rows())


def verification(findings: Findings) -> dict:
    """The verification as plain data; heads become their names."""
    data = {name: value for name, value in vars(findings.verification).items() if name != "minimality"}
    minimality = {
        str(site): [asdict(e) for e in estimates] for site, estimates in findings.verification.minimality.items()
    }
    return {
        "steps": findings.behavior.step_names,
        **json.loads(json.dumps(data, default=asdict)),
        "minimality": minimality,
    }


def attention_rows(findings: Findings) -> list[dict]:
    """One row per head of the model, step and role."""
    looks, (layers, heads) = findings.attention, findings.attention.first.shape
    means, sds = looks.to_role.tolist(), looks.sd.tolist()
    return [
        {"head": f"{layer}.{head}", "step": name, "role": role, "mean": mean, "sd": sd}
        for layer in range(layers)
        for head in range(heads)
        for step, name in enumerate(findings.behavior.step_names)
        for role, mean, sd in zip(looks.roles, means[layer][head][step], sds[layer][head][step], strict=True)
    ]


def direct_rows(findings: Findings) -> list[dict]:
    """One row per head of the model and step."""
    writes, looks = findings.direct, findings.attention
    layers, heads, steps = writes.logit_diff.shape
    return [
        {
            "head": f"{layer}.{head}",
            "step": findings.behavior.step_names[step],
            "direct_logit_diff": writes.logit_diff[layer, head, step].item(),
            "copy_logit": writes.copy[layer, head, step].item(),
            "copy_top": writes.copy_top[layer, head, step].item(),
            "attention_previous": looks.previous[layer, head].item(),
            "attention_first": looks.first[layer, head].item(),
        }
        for layer in range(layers)
        for head in range(heads)
        for step in range(steps)
    ]


def prompts(findings: Findings, tokenizer: Tokenizer | None) -> str:
    """Every prompt as JSON lines, those of the search first: its text, its answer, each token with id and role; `scored`
    are the positions that predict the answer, `shared` counts the leading tokens that all prompts have in common."""
    behavior, lines = findings.behavior, []
    clean = behavior.clean
    rows = (clean.tokens, clean.slots, clean.steps, behavior.answers)
    for text, tokens, slots, scored, answer in zip(behavior.texts, *(x.tolist() for x in rows), strict=True):
        shown = [
            {"token": tokenizer.shown(i) if tokenizer else str(i), "id": i, "role": behavior.slots[slot][0]}
            for i, slot in zip(tokens, slots, strict=True)
            if slot >= 0
        ]
        said = [tokenizer.shown(i) if tokenizer else str(i) for i in answer]
        line = {"text": text, "answer": said, "tokens": shown, "scored": scored, "shared": behavior.shared}
        lines.append(json.dumps(line, ensure_ascii=False))
    return "\n".join(lines) + "\n"

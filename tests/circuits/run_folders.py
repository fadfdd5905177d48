"""Run folders made up for the tests: every file that a search leaves, of any size, without a model.

The numbers are drawn, but look like those of a run on a real model: most heads do little, some much, and intervals are wide.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cutaway.core.runs import Run

ROLES = ("letter mover", "negative", "previous-token", "fuzzy previous-token", "positional", "other")

PIECES = (
    ("The", "example"), (" C", "example"), ("\\n", "example"), ("The", "The"), (" M", "C1"), ("itt", "T1"), ("en", "T1"),
    (" Y", "C2"), ("onder", "T2"), (" N", "C3"), ("oodle", "T3"), (" (", "("), ("M", "A1"), ("Y", "A2"),
)  # fmt: skip
"""Tokens of every prompt, with their roles."""


@dataclass(frozen=True)
class Size:
    """What to make up."""

    layers: int = 4
    heads: int = 7
    steps: int = 3
    circuit: int = 5
    prompts: int = 14
    seed: int = 0
    letters: bool = True
    positional: bool = True
    extras: bool = True
    """What later versions write: edges, attention patterns, the letters of every head; else as earlier ones did."""
    text: str = "The Chief Executive Officer (CEO)\nThe Mitten Yonder Noodle ("


def make(folder: Path, size: Size = Size()) -> Path:
    """Writes the folder and returns it."""
    Made(size, Run(folder)).write()
    return folder


class Made:
    """The files of one folder, one method each."""

    def __init__(self, size: Size, run: Run):
        self.size, self.run, self.rng = size, run, random.Random(size.seed)
        self.draws = np.random.default_rng(size.seed)
        self.steps = [f"letter {i + 1}" for i in range(size.steps)]
        self.sites = [f"{layer}.{head}" for layer in range(size.layers) for head in range(size.heads)]
        chosen = sorted(self.rng.sample(range(len(self.sites)), size.circuit))
        self.circuit = {self.sites[i]: ROLES[n % len(ROLES)] for n, i in enumerate(chosen)}
        words = [role for i in range(size.steps) for role in (f"C{i + 1}", f"T{i + 1}")]
        self.roles = ["The", *words, "(", *(f"A{i + 1}" for i in range(size.steps - 1))]
        self.movers = [site for site, role in self.circuit.items() if role == "letter mover"]

    def write(self) -> None:
        self.run.json("circuit.json", self.circuit_file())
        self.run.json("performance.json", self.performance())
        self.run.json("verification.json", self.verification())
        for name, steps in {"current word": self.steps, "previous letters": self.steps[1:] or self.steps}.items():
            for kind, sites, roles in self.grids():
                self.run.json(f"effects/{kind}-{name.replace(' ', '-')}.json", self.effects(name, steps, sites, roles))
        self.run.csv("attention.csv", self.attention())
        self.run.csv("direct.csv", self.direct())
        self.run.text("prompts.jsonl", self.prompts())
        if self.size.letters:
            self.run.json("letters.json", self.letters())
        if self.size.positional:
            self.run.json("positional.json", self.positional())
        if self.size.extras:
            self.extras()
        self.run.text("config.toml", "\n[find]\nseed = 0\n")
        self.run.json("seconds.json", {"patch every head": 12.5, "search (prune)": 70.0})

    def extras(self) -> None:
        paths = self.paths()
        self.run.json("paths.json", paths)
        self.run.csv("paths.csv", paths["effects"])
        self.run.arrays("patterns.safetensors", {"pattern": self.patterns()})
        if self.size.letters:
            shape = (self.size.layers, self.size.heads)
            ov = self.draws.normal(0, 0.8, (*shape, 52, 52)) + 3 * np.tile(np.eye(26), (2, 2))
            copying = self.draws.integers(0, 27, (*shape, 2)) / 26
            self.run.arrays("letters.safetensors", {"ov": ov.astype("f2"), "copying": copying.astype("f4")})

    def grids(self) -> list[tuple[str, list[str], list[str]]]:
        layers = range(self.size.layers)
        stream = ("stream", [f"{layer}.resid_pre" for layer in layers], self.roles[1:])
        return [("heads", self.sites, ["all"]), stream, ("mlps", [f"m{layer}" for layer in layers], ["all"])]

    def estimate(self, mean: float, spread: float = 0.05) -> dict:
        low, high = (self.rng.uniform(0, 2 * spread) for _ in range(2))
        return {"mean": mean, "low": mean - low, "high": mean + high, "n": 24}

    def per_step(self, low: float, high: float, spread: float = 0.05) -> list[dict]:
        return [self.estimate(self.rng.uniform(low, high), spread) for _ in self.steps]

    def points(self, low: float, high: float) -> list[list[float]]:
        return [[e["mean"], e["low"], e["high"]] for e in self.per_step(low, high)]

    def circuit_file(self) -> dict:
        heads = [
            {
                "site": site,
                "role": role,
                "evidence": {"attention letter 1 → C1": 0.62, "copies right answer": 0.9},
                "effect": [None, *self.points(-2, 0)[1:]] if n == 1 else self.points(-3, 0),
                "dropped": self.points(0, 0.3),
            }
            for n, (site, role) in enumerate(self.circuit.items())
        ]
        options = {"floor": 0.9, "seed": 0, "n_search": 24}
        recipe = {"behavior": "acronyms", "n": 72}
        about = {"model": "made:up", "family": "llama", "dtype": "float32", "recipe": recipe, "options": options}
        about["prompts_sha256"] = "0" * 64
        method = {"name": "prune", "ablation": "mean", "floor": 0.9}
        named = {"model": "made:up", "behavior": "acronyms", "step_names": self.steps}
        return {**named, "heads": heads, "method": method, "provenance": about}

    def performance(self) -> dict:
        shares = {name: self.per_step(0.8, 1) for name in ("correct", "greedy")}
        priors = {name: self.per_step(0.05, 0.2) for name in ("prior", "pair_prior")}
        return {
            "steps": self.steps,
            "logit_diff": self.per_step(3, 6),
            **shares,
            "log_prob": self.per_step(-1, 0),
            **priors,
        }

    def verification(self) -> dict:
        order = sorted(self.circuit, key=lambda site: self.rng.random())
        names = ["none", *(f"+{site}" for site in order)]
        rising = [5 * i / len(order) for i in range(len(names))]
        up = [(name, self.per_step(high - 0.4, high, 0.3)) for name, high in zip(names, rising, strict=True)]
        whole = {"logit_diff": self.per_step(5, 6), "correct": self.per_step(0.9, 1)}
        alone = {"logit_diff": up[-1][1], "correct": self.per_step(0.8, 1)}
        return {
            "steps": self.steps, "n": 24, "ablation": "mean", "model": whole, "circuit": alone, "empty": up[0][1],
            "faithfulness": self.per_step(0.9, 1), "complement": self.per_step(-0.1, 0.1), "incompleteness": self.per_step(0, 0.2),
            "random_circuits": [[self.rng.uniform(-0.1, 0.3) for _ in self.steps] for _ in range(20)],
            "buildup": up, "minimality": {site: self.per_step(0, 0.3) for site in order},
        }  # fmt: skip

    def effects(self, corruption: str, steps: list[str], sites: list[str], roles: list[str]) -> dict:
        convention = {
            "kind": "exact", "direction": "noising", "corruption": corruption, "metric": "logit_diff",
            "sign": "patched − clean: negative helps the answer", "model": "made:up", "n": 10, "seed": 0, "roles": roles,
        }  # fmt: skip
        rows = []
        for site in sites:
            for role in roles:
                for step in steps:
                    strong = site in self.circuit or self.rng.random() < 0.03
                    value = self.rng.gauss(-0.7, 0.9) if strong else self.rng.gauss(0, 0.04)
                    low, high = value - self.rng.random() / 9, value + self.rng.random() / 9
                    rows.append({"site": site, "role": role, "step": step, "effect": value, "low": low, "high": high})
        return {"convention": convention, "effects": rows}

    def attention(self) -> list[dict]:
        rows = []
        for site in self.sites if self.size.extras else self.circuit:
            for step in self.steps:
                parts = [self.rng.random() ** 6 for _ in self.roles]
                rows += [
                    {"head": site, "step": step, "role": role, "mean": part / sum(parts), "sd": 0.1}
                    for role, part in zip(self.roles, parts, strict=True)
                ]
        return rows

    def paths(self) -> dict:
        """Every edge that can be among the circuit's heads, each query head with keys and values of its own."""
        senders = ["embed", *self.circuit]
        receivers = [*(f"{site}.{channel}" for site in self.circuit for channel in "qkv"), "logits"]
        rows = []
        for sender in senders:
            for receiver in receivers:
                if receiver != "logits" and layer_of(sender) >= layer_of(receiver):
                    continue
                for step in self.steps:
                    value = self.rng.gauss(0, 1) ** 3 / 3
                    low, high = value - self.rng.random() / 9, value + self.rng.random() / 9
                    edge = f"{sender}→{receiver}"
                    rows.append({"edge": edge, "step": step, "effect": value, "low": low, "high": high})
        convention = {
            "kind": "exact", "direction": "noising", "corruption": "everything", "metric": "logit_diff",
            "sign": "patched − clean: negative helps the answer", "model": "made:up", "n": 4, "seed": 0, "roles": [],
            "ablation": "",
        }  # fmt: skip
        return {"convention": convention, "through_mlps": True, "effects": rows}

    def patterns(self) -> np.ndarray:
        """Rows that sum to 1 and see no later token; one column and row of padding behind the tokens."""
        width, shape = len(PIECES), (min(self.size.prompts, 20), self.size.layers, self.size.heads)
        seen = np.tril(self.draws.random((*shape, width, width)) ** 6 + 1e-6)
        seen /= seen.sum(-1, keepdims=True)
        return np.pad(seen, [(0, 0)] * 3 + [(0, 1)] * 2).astype("f2")

    def direct(self) -> list[dict]:
        names = ("direct_logit_diff", "copy_logit", "copy_top", "attention_previous", "attention_first")
        return [
            {
                "head": site,
                "step": step,
                **{name: self.rng.random() if self.size.letters else float("nan") for name in names},
            }
            for site in self.sites
            for step in self.steps
        ]

    def letters(self) -> dict:
        def quadrant() -> dict:
            matrix = [[self.rng.gauss(3.0 * (row == column), 0.8) for column in range(26)] for row in range(26)]
            return {"diagonal": 3.0, "off_diagonal": 0.0, "row_max": 0.9, "matrix": matrix}

        names = ("|X| → |X|", "|X| → |_X|", "|_X| → |X|", "|_X| → |_X|")
        matrices = {head: {name: quadrant() for name in names} for head in [*self.movers, "movers"]}
        return {
            "matrices": matrices,
            "copying_score": {head: {"|_X| → |X|": 1.0, "|_X| → |_X|": 0.5} for head in self.movers},
        }

    def positional(self) -> dict:
        sources = [f"C{i + 1}" for i in range(self.size.steps)]
        swaps = [
            {
                "pair": f"C1↔{sources[-1]}",
                "condition": condition,
                "logit_diff": [self.rng.uniform(-1, 5) for _ in self.steps],
                "attention": [[[self.rng.random() for _ in sources] for _ in self.steps] for _ in self.movers],
                "heads": self.sites[:6] if condition in ("first", "both") else [],
            }
            for condition in ("clean", "positions", "first", "both")
        ]
        return {"sources": sources, "movers": self.movers, "swaps": swaps, "per_head": {}}

    def prompts(self) -> str:
        tokens = [{"token": t, "id": i, "role": r} for i, (t, r) in enumerate(PIECES)]
        line = {"text": self.size.text, "answer": list("MYN")[: self.size.steps], "tokens": tokens}
        if self.size.extras:
            line |= {"scored": list(range(len(tokens)))[-self.size.steps :], "shared": 3}
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for _ in range(self.size.prompts))


def layer_of(part: str) -> int:
    """Of a head or one of its inputs; the embedding stands below all layers."""
    return -1 if part == "embed" else int(part.split(".")[0])

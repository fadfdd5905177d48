"""The sections of the page: what each says, from the record of a run. The templates only set it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cutaway.circuits.page.curve import Curve, Steps, bounds, curve
from cutaway.circuits.page.heat import Grid, HeatMap, heat_map
from cutaway.circuits.page.numbers import DASH, Row, Table, Value, listed, number, percent, share, texts, value
from cutaway.circuits.read import Record, exactly

N_PROMPTS = 20
"""Prompts shown token by token; all but the first few behind a line that opens."""


# --- the answer ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The question by its first prompt, and what was found, in a sentence and in a few large numbers."""

    prompt: str
    said: str
    sentence: str
    nulls: str
    figures: Sequence[tuple[str, str]]


def answer(record: Record) -> Answer:
    kept = [p and p[0] for p in record.verification["faithfulness"]]
    best = _best(record)
    size, total = len(record.circuit), record.n_layers * record.n_heads
    tokens = record.steps[0] if len(record.steps) == 1 else f"{', '.join(record.steps[:-1])} and {record.steps[-1]}"
    text = record.prompts[0]["text"] if record.prompts else ""
    drawn = len(record.verification["random_circuits"])
    least, most = ("", "") if len(record.steps) == 1 else (", at least", ", at most")
    return Answer(
        prompt=_end(text.strip().split("\n")[-1]),
        said="".join(record.prompts[0]["answer"]).strip() if record.prompts else "",
        sentence=(
            f"{size} of {total} heads keep {_shares(kept)} of the model’s performance on {tokens}, "
            "with every other head ablated."
        ),
        nulls=f"The best of {drawn} random circuits of the same size keeps {_shares(best)}." if drawn else "",
        figures=[
            ("heads", f"{size} / {total}"),
            (f"kept by the circuit{least}", percent(_low(kept))),
            (f"kept without it{most}", percent(_high([p and p[0] for p in record.verification["complement"]]))),
            (f"best random circuit{most}", percent(_high(best))),
        ],
    )


def _end(text: str, longest: int = 160) -> str:
    """The end of a prompt: what the answer follows."""
    return text if len(text) <= longest else "…" + text[-longest:]


def _shares(shares: Sequence[float | None]) -> str:
    """One share a step; only one if they are all the same."""
    said = [percent(x) for x in shares]
    return said[0] if len(set(said)) == 1 else listed(said)


def _best(record: Record) -> list[float | None]:
    """The best random circuit of every step."""
    return [_high([row[step] for row in record.verification["random_circuits"]]) for step in range(len(record.steps))]


def _high(values: Sequence[float | None]) -> float | None:
    return max((x for x in values if x is not None), default=None)


def _low(values: Sequence[float | None]) -> float | None:
    return min((x for x in values if x is not None), default=None)


# --- prompts and performance ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Token:
    text: str
    label: str
    """Position, role and id, for those who point at it."""


@dataclass(frozen=True)
class Span:
    """Consecutive tokens of one role. A line ends after `newline`."""

    role: str
    tokens: list[Token]
    newline: bool
    dim: bool


def prompts(record: Record) -> list[tuple[list[Span], list[str]]]:
    """The first prompts: their spans, and the answer's tokens."""
    shown = []
    for prompt in record.prompts[:N_PROMPTS]:
        spans: list[Span] = []
        for position, token in enumerate(prompt["tokens"]):
            label = f"position {position} · role {token['role']} · id {token['id']} · “{token['token']}”"
            made = Token(token["token"], label)
            if spans and spans[-1].role == token["role"]:
                spans[-1].tokens.append(made)
            else:
                spans.append(Span(token["role"], [made], False, token["role"] in ("example", "BOS")))
        ended = [Span(s.role, s.tokens, s.tokens[-1].text.endswith("\\n"), s.dim) for s in spans]
        shown.append((ended, prompt["answer"]))
    return shown


METRICS = (
    ("logit_diff", "Logit difference", "logit of the answer over that of its strongest alternative", value),
    ("correct", "Right among alternatives", "the answer beats every alternative", share),
    ("greedy", "Right in whole vocabulary", "the answer is the most likely of all tokens", share),
    ("log_prob", "Log-probability", "of the answer among its alternatives, in nats", value),
    ("prior", "Baseline: most frequent", "always the most frequent answer of other prompts", share),
    ("pair_prior", "Baseline: frequent after the last", "the same, given the token before", share),
)


def performance(record: Record) -> Table:
    rows = [
        Row(name, [shown(point) for point in record.performance[key]], about)
        for key, name, about, shown in METRICS
        if key in record.performance
    ]
    caption = f"How well the whole model does it: means over {record.n_performance} prompts, with 95% intervals."
    return Table("performance-table", caption, record.steps, rows)


# --- verification --------------------------------------------------------------------------------------------------


def curves(record: Record) -> list[Curve]:
    found = record.verification
    steps = [_steps(record, step, name) for step, name in enumerate(record.steps)] if found["buildup"] else []
    low, high = bounds(steps)
    return [curve(f"curve-{i}", s, low, high) for i, s in enumerate(steps, 1)]


def _steps(record: Record, step: int, name: str) -> Steps:
    found = record.verification
    whole, empty = found["model"]["logit_diff"][step], found["empty"][step]
    kept = [row[step] for row in found["random_circuits"] if row[step] is not None]
    random = [empty[0] + share * (whole[0] - empty[0]) for share in kept] if whole and empty else []
    names = [name for name, _ in found["buildup"]]
    return Steps(name, names, [points[step] for _, points in found["buildup"]], whole and whole[0], random)


def verification(record: Record) -> Table:
    found = record.verification
    steps = range(len(record.steps))
    known = [[row[step] for row in found["random_circuits"] if row[step] is not None] for step in steps]
    middle = [sorted(column)[len(column) // 2] if column else None for column in known]
    least = [_low([points[step] and points[step][0] for points in found["minimality"].values()]) for step in steps]
    drawn = len(found["random_circuits"])
    alone = "the circuit alone; should be near 100%, above it the other heads stand in the way"
    without = "the model without the circuit; should be near 0%"
    gap = "gap when parts of the circuit are taken from both; should be near 0%"
    rows = [
        Row("Faithfulness", [*map(share, found["faithfulness"])], alone),
        Row("Complement", [*map(share, found["complement"])], without),
        Row("Incompleteness", [*map(share, found["incompleteness"])], gap),
        Row(
            "Random circuits, best",
            [Value(percent(_high(column))) for column in known],
            f"of {drawn} with as many heads",
        ),
        Row("Random circuits, median", [Value(percent(x)) for x in middle], "should be near 0%"),
        Row(
            "Minimality, least", [Value(percent(x)) for x in least], "what the least needed head of this step is worth"
        ),
        Row("Logit difference, model", [*map(value, found["model"]["logit_diff"])]),
        Row("Logit difference, circuit", [*map(value, found["circuit"]["logit_diff"])]),
        Row("Logit difference, no heads", [*map(value, found["empty"])], "every head ablated"),
        Row("Right, model", [*map(share, found["model"]["correct"])], "among alternatives"),
        Row("Right, circuit", [*map(share, found["circuit"]["correct"])], "among alternatives"),
    ]
    caption = (
        f"On {found['n']} prompts that the search has not seen; {found['ablation']} ablation; "
        "100% is the whole model, 0% every head ablated."
    )
    return Table("verification-table", caption, record.steps, rows)


# --- sensitivity ---------------------------------------------------------------------------------------------------


def sensitivity(record: Record) -> Table | None:
    """Faithfulness under one convention after another, and the range it moves in; None where it was not measured."""
    if not record.sensitivity:
        return None
    rows = [
        Row(_convention(setting), [*map(share, setting["faithfulness"])], _changed(setting))
        for setting in record.sensitivity
    ]
    means = [[setting["faithfulness"][step] for setting in record.sensitivity] for step in range(len(record.steps))]
    known = [[point[0] for point in column if point] for column in means]
    spans = [f"{percent(_low(column))} to {percent(_high(column))}" if column else DASH for column in known]
    caption = (
        f"Faithfulness of the same {len(record.circuit)} heads, with 95% intervals over prompts. Noising: 0% is every head "
        "ablated, 100% the whole model. Denoising: 0% is the corrupted run, 100% the clean one."
    )
    return Table(
        "sensitivity-table", caption, record.steps, [*rows, Row("Lowest to highest", texts(*spans))], "convention"
    )


def _convention(setting: dict) -> str:
    return f"{setting['ablation']}, {setting['direction']}, {setting['metric'].replace('_', ' ')}"


def _changed(setting: dict) -> str:
    if setting["changed"] == "nothing":
        return f"this run’s own, {setting['n']} prompts"
    if setting["changed"] == "prompts":
        return f"{setting['prompts']}, {setting['n']} prompts"
    return f"another {setting['changed']}"


# --- positions -----------------------------------------------------------------------------------------------------

CONDITIONS = {
    "clean": "nothing exchanged",
    "positions": "position ids of the two words’ first tokens exchanged",
    "first": "their attention to the first token exchanged, in every head that reacts to it",
    "both": "the two together",
}


@dataclass(frozen=True)
class Exchange:
    """One pair of words."""

    pair: str
    table: Table
    maps: Sequence[HeatMap]
    """Mean attention of the movers for each condition; empty without movers."""
    reacting: str


def exchanges(record: Record) -> list[Exchange]:
    if not record.positional:
        return []
    sources, movers = record.positional["sources"], record.positional["movers"]
    found = []
    for i, pair in enumerate(dict.fromkeys(swap["pair"] for swap in record.positional["swaps"])):
        swaps = [swap for swap in record.positional["swaps"] if swap["pair"] == pair]
        rows = [
            Row(s["condition"], texts(*map(number, s["logit_diff"])), CONDITIONS.get(s["condition"], "")) for s in swaps
        ]
        table = Table(f"positions-{i}", f"Logit difference with {pair} exchanged (means).", record.steps, rows)
        maps = [_looks(f"looks-{i}-{j}", record.steps, sources, swap) for j, swap in enumerate(swaps)] if movers else []
        heads = max(swaps, key=lambda swap: len(swap["heads"]))["heads"]
        found.append(Exchange(pair, table, maps, ", ".join(heads)))
    return found


def _looks(id: str, steps: Sequence[str], sources: Sequence[str], swap: dict) -> HeatMap:
    """Attention of the movers, their mean."""
    per_mover = [[[x or 0.0 for x in row] for row in looks] for looks in swap["attention"]]
    mean = [[sum(cell) / len(cell) for cell in zip(*rows, strict=True)] for rows in zip(*per_mover, strict=True)]
    points = [[exactly(x) for x in row] for row in mean]
    grid = Grid(
        id,
        swap["condition"],
        steps,
        sources,
        points,
        "{row} → {column}",
        "token predicted",
        "first token of",
        amount=True,
    )
    return heat_map(grid, 1.0, side=26.0)


# --- conventions and how to make it again --------------------------------------------------------------------------


def conventions(record: Record) -> Table:
    """One row for every effect map."""
    names = {"heads": "heads", "stream": "residual stream", "mlps": "MLPs"}
    keys = ("kind", "direction", "metric", "sign", "n", "seed")
    rows = [
        Row(f"{name}, {corruption}", texts(*(effects.convention[key] for key in keys)))
        for kind, name in names.items()
        for corruption, effects in getattr(record, kind).items()
    ]
    if record.paths:
        how = record.paths.convention
        rows.append(Row(f"edges, {how['corruption']}", texts(*(how[key] for key in keys))))
    columns = ("kind", "direction", "metric", "sign", "prompts", "seed")
    caption = "How the effects were measured. Two of them compare only if these agree."
    return Table("conventions-table", caption, columns, rows, "effects")


def facts(record: Record) -> list[tuple[str, str]]:
    """What is the same for the whole run."""
    about, how = record.circuit.provenance, record.circuit.method
    recipe = {key: x for key, x in about.get("recipe", {}).items() if key != "behavior"}
    return [
        ("model", record.circuit.model),
        ("family, dtype", f"{about.get('family', DASH)}, {about.get('dtype', DASH)}"),
        ("behaviour", record.circuit.behavior),
        ("prompts", f"{len(record.prompts)}; {_pairs(recipe)}"),
        ("search prompts, SHA-256", about.get("prompts_sha256", DASH)),
        ("weights, SHA-256", about.get("weights_sha256", DASH)),
        ("search", f"{how.get('name', DASH)}, floor {how.get('floor', DASH)}"),
        ("ablation", how.get("ablation", DASH)),
        ("options", _pairs(about.get("options", {}))),
    ]


def _pairs(options: dict) -> str:
    return ", ".join(f"{key}={x!r}" for key, x in options.items()) or DASH


@dataclass(frozen=True)
class Again:
    """How to make the run again."""

    command: str
    seed: str
    made: str
    versions: str
    hardware: str
    config: str
    seconds: Table | None


def again(record: Record, manifest: dict) -> Again:
    hardware = manifest.get("hardware", {})
    seconds = [Row(stage, [Value(number(x, 1))]) for stage, x in record.seconds.items()]
    return Again(
        command=manifest.get("command", ""),
        seed=str(manifest.get("seed", record.circuit.provenance.get("options", {}).get("seed", ""))),
        made=str(manifest.get("made", "")).split("T")[0],
        versions=", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items()),
        hardware=", ".join(f"{name} {x}" for name, x in hardware.items() if x is not None),
        config=record.config.strip(),
        seconds=Table("seconds-table", "How long it took.", ("seconds",), seconds, "stage") if seconds else None,
    )

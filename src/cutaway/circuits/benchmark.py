"""How well each search method finds circuits that are known: planted ones, true by construction, and published ones.

For every method and model: the share of the true heads that it found (TPR), the share of the others that it took for true
ones (FPR), and how well its scores of all heads, without any threshold, tell the one from the other (AUROC). As almost
every method ends with exact elimination, TPR and FPR judge the whole search; AUROC, and the share of true heads among the
best-scored (`top`), judge the method's own scores.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.choose import choose
from cutaway.circuits.known.record import KnownCircuit, known_circuit, known_circuits
from cutaway.circuits.search.ranking import ranked
from cutaway.circuits.search.record import Found, Method, Problem
from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress
from cutaway.core.scores import Estimate, estimate
from cutaway.decoder import Decoder, Site, load
from cutaway.decoder.planted import plant
from cutaway.decoder.planted.record import circuits

NEGATIVE = "negative"
"""Role of planted heads that hold the answer back: they matter, and no smallest circuit has them."""


@dataclass(frozen=True)
class Case:
    """A model whose circuit is known. `aside` are heads that matter but that a circuit may lack: neither right nor wrong."""

    name: str
    group: str
    """What it is counted with: a planted circuit, or a published one."""
    model: Decoder
    behavior: Behavior
    truth: frozenset[Site]
    aside: frozenset[Site] = frozenset()


@dataclass(frozen=True)
class Score:
    """One method on one case. Where it found no circuit, `failed` says why, TPR and FPR are 0, and its scores are unknown."""

    case: str
    group: str
    method: str
    tpr: float
    fpr: float
    auroc: float | None
    top: float | None
    """Of as many best-scored heads as there are true ones, the share that is true."""
    found: tuple[str, ...]
    missed: tuple[str, ...]
    wrong: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    """Processor time of all threads: what is left of `seconds` where others share the machine."""
    failed: str = ""

    @property
    def exact(self) -> bool:
        """All true heads and no other."""
        return not (self.missed or self.wrong or self.failed)


@dataclass(frozen=True)
class Summary:
    """One method over many cases: means with 95 % bootstrap intervals over cases."""

    method: str
    kind: str
    tpr: Estimate
    fpr: Estimate
    auroc: Estimate | None
    top: Estimate | None
    exact: int
    """Cases of which exactly the true heads were found."""
    failed: int
    seconds: float
    cpu_seconds: float
    """Means of a case."""


def asked(names: Sequence[str]) -> tuple[list[KnownCircuit], bool]:
    """The published circuits among some names, and whether `planted` is one; no names are all. Raises as `known_circuit`."""
    names = names or ["planted", *known_circuits()]
    return [known_circuit(name) for name in names if name != "planted"], "planted" in names


def planted_cases(seeds: Iterable[int], n: int = 6) -> Iterator[Case]:
    """Every planted circuit at every seed, with n prompts of the behaviour it is named after; made one at a time."""
    for circuit in circuits():
        for seed in seeds:
            made = plant(f"planted:{circuit}@{seed}")
            behavior = choose(circuit.split("-")[0], made.model, n=n, seed=seed)
            aside = frozenset(site for site, role in made.heads.items() if role == NEGATIVE)
            yield Case(made.name, f"planted:{circuit}", made.model, behavior, frozenset(made.heads) - aside, aside)


def published_cases(records: Sequence[KnownCircuit], model: str, n: int, progress: Progress) -> list[Case]:
    """The published circuits whose model can be had; one line says which cannot, and why."""
    cases: list[Case] = []
    loaded, why = None, ""
    if any(record.loads for record in records):
        try:
            with progress.stage(f"load {model}"):
                loaded = load(model)
        except CutawayError as error:
            why = str(error)
    for record in records:
        try:
            if not record.loads:
                raise CutawayError(f"no family here reads {record.model}")
            if loaded is None:
                raise CutawayError(why)
            cases.append(known_case(record, loaded, n))
        except CutawayError as error:
            progress.say(f"left out: {record.name} ({error})")
    return cases


def known_case(record: KnownCircuit, model: Decoder, n: int = 24, seed: int = 0) -> Case:
    """A published circuit in its model.

    Raises:
        CutawayError: a model of another shape, or one whose tokenizer the behaviour cannot use.
    """
    shape = (model.config.n_layers, model.config.n_heads)
    if shape != record.shape:
        raise CutawayError(
            f"{record.name} is known in {record.model}, of {record.shape[0]} layers of {record.shape[1]} heads; "
            f"{model.source} has {shape[0]} of {shape[1]}: give --model {record.model}, or a folder with its weights"
        )
    behavior = choose(record.behavior, model, record.options, n=n, seed=seed)
    return Case(record.name, record.name, model, behavior, frozenset(record.heads))


def run(
    cases: Iterable[Case], methods: Sequence[Method], tick: Callable[[int], None] = lambda done: None
) -> list[Score]:
    """Every method on every case. Methods share no measurement, so that their times can be compared."""
    scores = []
    for case in cases:
        for method in methods:
            scores.append(score(case, method))
            tick(1)
    return scores


def score(case: Case, method: Method) -> Score:
    """One method on one case, at its default options."""
    wall, cpu = time.perf_counter(), time.process_time()
    found, why = None, ""
    try:
        found = method.search(Problem(case.model, case.behavior), method.options())
    except CutawayError as error:
        why = str(error)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    if found is None:
        return Score(case.name, case.group, method.name, 0.0, 0.0, None, None, (), _names(case.truth), (), *spent, why)
    return judge(case, method.name, found, *spent)


def judge(case: Case, method: str, found: Found, seconds: float, cpu_seconds: float) -> Score:
    """What was found beside what is there."""
    counted = {site: value for site, value in found.scores.items() if site not in case.aside}
    others = counted.keys() - case.truth
    wrong, missed = found.heads & others, case.truth - found.heads
    best = ranked(counted)[: len(case.truth)]
    return Score(
        case.name,
        case.group,
        method,
        tpr=1 - len(missed) / len(case.truth),
        fpr=len(wrong) / len(others) if others else 0.0,
        auroc=auroc(counted, case.truth),
        top=len(case.truth.intersection(best)) / len(case.truth),
        found=_names(found.heads),
        missed=_names(missed),
        wrong=_names(wrong),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
    )


def _names(sites: Iterable[Site]) -> tuple[str, ...]:
    return tuple(str(site) for site in sorted(sites, key=lambda site: (site.layer, site.head)))


def auroc(scores: dict[Site, float], truth: frozenset[Site]) -> float:
    """The chance that a true head scores above another one, ties counting half (Mann & Whitney 1947; Fawcett 2006).

    Raises:
        CutawayError: scores of true heads only, of others only, or such that are no numbers.
    """
    right = torch.tensor([value for site, value in scores.items() if site in truth], dtype=torch.float64)
    wrong = torch.tensor([value for site, value in scores.items() if site not in truth], dtype=torch.float64)
    if not len(right) or not len(wrong):
        raise CutawayError(
            f"AUROC takes heads of both kinds: {len(right)} true ones and {len(wrong)} others are scored"
        )
    if right.isnan().any() or wrong.isnan().any():
        raise CutawayError("AUROC takes numbers: some scores are NaN")
    above = right[:, None] - wrong
    return float(((above > 0) + (above == 0) / 2).mean())


def summaries(scores: Sequence[Score], methods: Sequence[Method]) -> list[Summary]:
    """One line a method, in the order given; methods without a score are left out."""
    lines = []
    for method in methods:
        own = [score for score in scores if score.method == method.name]
        if not own:
            continue
        done = [score for score in own if not score.failed]
        lines.append(
            Summary(
                method.name,
                method.kind,
                tpr=estimate(torch.tensor([score.tpr for score in own])),
                fpr=estimate(torch.tensor([score.fpr for score in own])),
                auroc=estimate(torch.tensor([score.auroc for score in done])) if done else None,
                top=estimate(torch.tensor([score.top for score in done])) if done else None,
                exact=sum(score.exact for score in own),
                failed=sum(bool(score.failed) for score in own),
                seconds=sum(score.seconds for score in own) / len(own),
                cpu_seconds=sum(score.cpu_seconds for score in own) / len(own),
            )
        )
    return lines


def by_group(scores: Sequence[Score], methods: Sequence[Method]) -> dict[str, list[Summary]]:
    """The same for every group of cases on its own."""
    groups = dict.fromkeys(score.group for score in scores)
    return {group: summaries([score for score in scores if score.group == group], methods) for group in groups}


def planted_only(scores: Sequence[Score]) -> list[Score]:
    """Those of planted models."""
    return [score for score in scores if score.group.startswith("planted:")]


def to_dict(scores: Sequence[Score], methods: Sequence[Method]) -> dict:
    """What is written down: the planted family as one, every group on its own, every model; times to the millisecond."""

    def rounded(score: Score) -> Score:
        return replace(score, seconds=round(score.seconds, 3), cpu_seconds=round(score.cpu_seconds, 3))

    return {
        "planted": summaries(planted_only(scores), methods),
        "groups": by_group(scores, methods),
        "scores": list(map(rounded, scores)),
    }


HEADER = ("method", "kind", "TPR", "FPR", "AUROC", "top heads true", "found exactly", "s a model")


def rows(lines: Sequence[Summary]) -> list[tuple[str, ...]]:
    """A table under `HEADER`."""
    return [
        (
            line.method,
            line.kind,
            str(line.tpr),
            str(line.fpr),
            str(line.auroc or "–"),
            str(line.top or "–"),
            f"{line.exact} of {line.tpr.n}" + (f", {line.failed} failed" if line.failed else ""),
            f"{line.seconds:.2f}",
        )
        for line in lines
    ]

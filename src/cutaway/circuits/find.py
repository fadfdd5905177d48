"""The main job, end to end: measure the behaviour, sweep, search, verify, explain, write it down."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import torch

from cutaway.circuits import memory
from cutaway.circuits.behavior import Behavior
from cutaway.circuits.circuit import Circuit, CircuitHead
from cutaway.circuits.config import Find
from cutaway.circuits.effects import EdgeMap, EffectMap
from cutaway.circuits.explain.attention import Attention, attention
from cutaway.circuits.explain.direct import Direct, direct
from cutaway.circuits.explain.edges import circuit_edges, edges_among
from cutaway.circuits.explain.letters import Alphabet, LetterMatrix, alphabet, copying_score, ov_letters
from cutaway.circuits.explain.positional import Positional, positional
from cutaway.circuits.explain.roles import role_of
from cutaway.circuits.isolation import Heads, Isolation
from cutaway.circuits.patching import sweep
from cutaway.circuits.performance import Performance, performance
from cutaway.circuits.search.ranking import rank
from cutaway.circuits.search.record import Found, Problem, corruptions, method
from cutaway.circuits.sensitivity import Sensitivity, sensitivity
from cutaway.circuits.verify import Verification, cost, verify
from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress, Tick
from cutaway.core.work import Work
from cutaway.decoder import Decoder, Site
from cutaway.decoder.identity import weights_sha256


@dataclass(frozen=True)
class Findings:
    """Everything one search found out."""

    config: Find
    behavior: Behavior
    performance: Performance
    heads: dict[str, EffectMap]
    """corruption → effect of every head."""
    stream: dict[str, EffectMap]
    """corruption → effect of the residual stream, layer by role."""
    mlps: dict[str, EffectMap]
    searched: Found
    circuit: Circuit
    verification: Verification
    sensitivity: Sensitivity
    attention: Attention
    direct: Direct
    letters: dict[str, dict[str, LetterMatrix]] = field(default_factory=dict)
    """head, or `movers` for their sum → quadrant → matrix; empty where the behaviour has no letters."""
    copying: dict[str, dict[str, float]] = field(default_factory=dict)
    alphabet: Alphabet | None = None
    """The same of every head; None where the behaviour has no letters."""
    paths: EdgeMap | None = None
    """Edges among the heads of the circuit; None if `n_paths` is 0."""
    positional: Positional | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def find(
    model: Decoder,
    behavior: Behavior,
    config: Find = Find(),  # noqa: B008 - frozen
    progress: Progress = Progress(),  # noqa: B008 - has no state
    work: Work | None = None,
) -> Findings:
    """Finds, verifies and explains the circuit of heads behind a behaviour.

    `work` deals measurements out to ranks, which all must call this, and keeps them in a journal.

    Raises:
        CutawayError: too few prompts for the split, an unknown method, or no circuit that meets the floor.
    """
    chosen = method(config.method)
    if min(config.n_sweep, config.n_search, config.n_verify) < 1:
        raise CutawayError("n_sweep, n_search and n_verify must each be at least 1")
    if config.n_paths < 0:
        raise CutawayError(f"n_paths is {config.n_paths}: give a number of prompts, or 0 to leave the edges out")
    if len(behavior) < config.n_prompts:
        raise CutawayError(
            f"behaviour {behavior.name!r} has {len(behavior)} prompts, {config.n_prompts} are needed: "
            f"bring more, or lower n_search ({config.n_search}) or n_verify ({config.n_verify})"
        )
    behavior = behavior.to(model.device)
    search_on, verify_on = behavior.split(config.n_search, config.n_verify)
    sweep_on = search_on.take(slice(0, min(config.n_sweep, config.n_search)))
    clock = _Clock(progress)
    most = max(part.clean.tokens.numel() for part in (search_on, verify_on))
    room = memory.plan(model.config, most, config.memory, model.dtype)
    progress.say(f"memory: {room}")

    with clock("measure the behaviour"):
        done = performance(model, verify_on, search_on)
    maps = _grids(model, sweep_on, config, room.tokens, clock, work)
    ranking = rank(maps["heads"])
    problem = Problem(
        model,
        search_on,
        config.ablation,
        config.direction,
        budget=room.tokens,
        seed=config.seed,
        measured=maps["heads"],
        work=work,
    )
    with clock(f"search ({config.method})") as tick:
        searched = chosen.search(problem, chosen.options(floor=config.floor), lambda said: tick(1))
    heads = searched.heads
    del problem  # and with it the runs that the search resumed from
    progress.say(
        f"circuit of {len(heads)} heads: {', '.join(map(str, sorted(heads, key=lambda s: (s.layer, s.head))))}"
    )
    with clock("verify on fresh prompts", cost(len(heads), n_random=config.n_random)) as tick:
        fresh = Isolation(model, verify_on, ablation=config.ablation, budget=room.tokens, work=work)
        verified = verify(fresh, heads, order=ranking, n_random=config.n_random, seed=config.seed, tick=tick)
    with clock("measure under other conventions"):
        moved = sensitivity(fresh, heads, budget=room.tokens)
    with clock("explain"):
        looks, writes = attention(model, search_on), direct(model, search_on)
        circuit = _circuit(model, search_on, config, heads, maps["heads"], verified, looks, writes)
        letters, copying, every = _letters(model, behavior, circuit)
    paths = _paths(model, search_on, config, heads, room.tokens, clock, work)
    where = None
    if len(behavior.sources) > 1:
        pair = (behavior.sources[0], behavior.sources[-1])
        with clock("exchange positions", model.config.n_layers * model.config.n_heads) as tick:
            movers = circuit.by_role().get(behavior.mover, [])
            few = search_on.take(slice(0, min(8, config.n_search)))
            where = positional(model, few, movers, pairs=[pair], budget=room.tokens, work=work, tick=tick)
    return Findings(
        config, behavior, done, **maps, searched=searched, circuit=circuit, verification=verified, sensitivity=moved,
        attention=looks, direct=writes, letters=letters, copying=copying, alphabet=every, paths=paths, positional=where,
        seconds=clock.seconds,
    )  # fmt: skip


def _grids(
    model: Decoder, behavior: Behavior, config: Find, budget: int, clock: "_Clock", work: Work | None
) -> dict[str, dict[str, EffectMap]]:
    """Heads, residual stream by role, and MLPs, for every corruption but the reference (unless there is no other)."""
    names = corruptions(behavior)
    runs = sum(len(behavior.corruptions[name].runs) for name in names)
    layers = range(model.config.n_layers)
    shared = {behavior.slots[i][0] for i in behavior.clean.slots[0, : behavior.shared].tolist()}
    roles = [role for role in behavior.roles if role not in shared]
    few = behavior.take(slice(0, min(4, len(behavior))))
    grids = {
        "heads": (behavior, None, (None,), model.config.n_layers * model.config.n_heads),
        "stream": (
            few,
            [Site(layer, "resid_pre") for layer in layers],
            tuple(roles),
            model.config.n_layers * len(roles),
        ),
        "mlps": (few, [Site(layer, "mlp_out") for layer in layers], (None,), model.config.n_layers),
    }
    about = {"heads": "patch every head", "stream": "patch the residual stream by role", "mlps": "patch every MLP"}
    maps = {}
    for kind, (prompts, sites, at, cells) in grids.items():
        with clock(about[kind], cells * runs) as tick:
            maps[kind] = {
                name: sweep(
                    model,
                    prompts,
                    name,
                    sites=sites,
                    roles=at,
                    direction=config.direction,
                    budget=budget,
                    work=work,
                    tick=tick,
                )
                for name in names
            }
    return maps


def _circuit(
    model: Decoder, behavior: Behavior, config: Find, heads: Heads, effects: dict[str, EffectMap], verified: Verification,
    looks: Attention, writes: Direct,
) -> Circuit:  # fmt: skip
    members = []
    for site in sorted(heads, key=lambda s: (s.layer, s.head)):
        role = role_of(site, behavior, looks, writes)
        dropped = tuple((e.mean, e.low, e.high) for e in verified.minimality[site])
        members.append(CircuitHead(site, role.name, role.evidence, _strongest(effects, site), dropped))
    return Circuit(
        model=model.source,
        behavior=behavior.name,
        step_names=behavior.step_names,
        heads=tuple(members),
        method={"name": config.method, "ablation": config.ablation, "floor": config.floor},
        provenance=provenance(model, behavior, config),
    )


def _strongest(effects: dict[str, EffectMap], site: Site) -> tuple[tuple[float, float, float] | None, ...]:
    """For each step the effect, with its interval, of the corruption where it is largest."""
    # [corruption, step, (mean, low, high)]
    points = torch.stack([torch.stack([x[m.sites.index(site), 0] for x in m.interval()], -1) for m in effects.values()])
    found: list[tuple[float, float, float] | None] = []
    for at_step in points.unbind(1):
        known = at_step[~at_step[:, 0].isnan()]
        if not len(known):
            found.append(None)
            continue
        mean, low, high = known[known[:, 0].abs().argmax()].tolist()
        found.append((mean, low, high))
    return tuple(found)


def _letters(model: Decoder, behavior: Behavior, circuit: Circuit) -> tuple[dict, dict, Alphabet | None]:
    if behavior.name != "acronyms":
        return {}, {}, None
    movers = circuit.by_role().get(behavior.mover, [])
    try:
        letters = {str(site): ov_letters(model, [site]) for site in movers}
        if movers:
            letters["movers"] = ov_letters(model, movers)
        return letters, {str(site): copying_score(model, site) for site in movers}, alphabet(model)
    except CutawayError:  # a tokenizer without spaced letters has no such matrix; all else stands
        return {}, {}, None


def _paths(
    model: Decoder, behavior: Behavior, config: Find, heads: Heads, budget: int, clock: "_Clock", work: Work | None
) -> EdgeMap | None:
    if not config.n_paths:
        return None
    few = behavior.take(slice(0, min(config.n_paths, config.n_search)))
    with clock("patch the edges of the circuit", len(edges_among(heads, model.config))) as tick:
        return circuit_edges(model, few, heads, direction=config.direction, budget=budget, tick=tick, work=work)


def provenance(model: Decoder, behavior: Behavior, config: Find) -> dict:
    """What another person needs to find the same: model, prompts (by hash), recipe, options."""
    tokens = behavior.clean.tokens.cpu().numpy().tobytes()
    return {
        "model": model.source,
        "family": model.config.family,
        "dtype": str(model.dtype).removeprefix("torch."),
        "n_layers": model.config.n_layers,
        "n_heads": model.config.n_heads,
        "n_kv_heads": model.config.n_kv_heads,
        "weights_sha256": weights_sha256(model),
        "recipe": {name: list(value) if isinstance(value, tuple) else value for name, value in behavior.recipe.items()},
        "prompts_sha256": hashlib.sha256(tokens).hexdigest(),
        "options": asdict(config),
    }


class _Clock:
    """Stages of the job, timed, with progress."""

    def __init__(self, progress: Progress):
        self.progress, self.seconds = progress, {}

    @contextmanager
    def __call__(self, about: str, total: int | None = None) -> Iterator[Tick]:
        started = time.monotonic()
        with self.progress.stage(about, total) as tick:
            yield tick
        self.seconds[about] = time.monotonic() - started

"""Every published number of the acronym paper (`paper.py`) beside ours, on the paper's own prompts.

The protocol is the authors': the first n lines of their file with BOS in front; logit difference = logit of the right
letter − the largest of the other 25 capitals, all three letters from one pass; noising (corrupted activations patched
into the clean run); ablation by the mean over the corrupted batch, position by position, at z of every head not yet in
the circuit, heads added in the order of figure 8; MLPs, embeddings and norms left alone.

Tolerances are explained and set in `tolerance.py`.
"""

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits import paper
from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.acronyms_paper import paper_prompts
from cutaway.circuits.explain.attention import patterns, to_roles
from cutaway.circuits.explain.letters import LetterMatrix, ov_letters
from cutaway.circuits.explain.positional import Swap, places, positional
from cutaway.circuits.isolation import Isolation
from cutaway.circuits.patching import sweep
from cutaway.circuits.tolerance import (
    LETTERS_OFF,
    SELECTION,
    SIGMAS,
    VISIBLE,
    Line,
    Measured,
    compare,
    mean_of,
    ratio_of,
    sd_of,
)
from cutaway.circuits.tolerance import table as table
from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress
from cutaway.core.sources import Url, fetch
from cutaway.core.work import Work
from cutaway.decoder import Decoder, Site, parse_site

Tick = Callable[[int], None]
Pattern = Float[Tensor, "layer batch head query key"]


def acronyms(
    model: Decoder,
    *,
    n: int = paper.N_PROMPTS,
    file: Path | None = None,
    seed: int = 0,
    progress: Progress = Progress(),  # noqa: B008 - has no state
    work: Work | None = None,
) -> list[Line]:
    """All published numbers of the paper beside those of `model`, which must have GPT-2 small's shape.

    Args:
        n: prompts, the first of the file; at least 2, for a standard error.
        file: the paper's prompts; else `$CUTAWAY_DATA/acronyms/acronyms_2_common.txt`, else the authors' repository.
        seed: of the shuffles that corrupt.
        work: deals measurements out to ranks, which all must call this, and keeps them in a journal.

    Raises:
        CutawayError: a model of another shape or without a tokenizer, prompts that cannot be had, n out of range.
    """
    _check(model, n)
    behavior = paper_prompts(prompt_file(file), model.tokenizer, n, bos=paper.BOS, seed=seed).to(model.device)
    lines: list[Line] = []
    with progress.stage("build the circuit up, head by head"):
        lines += build_up(model, behavior, work)
    with progress.stage("patch heads"):
        lines += head_effects(model, behavior, work)
    with progress.stage("patch the residual stream"):
        lines += stream_effects(model, behavior, work)
    with progress.stage("read attention and letter matrices"):
        pattern = patterns(model, behavior.clean)
        lines += attention_lines(behavior, pattern)
        lines += previous_lines(behavior, pattern)
        lines += letter_lines(model)
    with progress.stage("exchange positions", len(paper.SWAPS) * paper.LAYERS * paper.HEADS) as tick:
        lines += position_lines(model, behavior, tick, work)
    return lines


def prompt_file(file: Path | None = None) -> Path:
    """Where the paper's prompts are; they are fetched if they are nowhere on this machine.

    Raises:
        CutawayError: they cannot be had.
    """
    if file is not None:
        return Path(file)
    if data := os.environ.get("CUTAWAY_DATA"):
        here = Path(data) / "acronyms" / "acronyms_2_common.txt"
        if here.is_file():
            return here
    try:
        return fetch(Url(paper.PROMPTS_URL, paper.PROMPTS_SHA256, paper.PROMPTS_LICENCE))
    except CutawayError as error:
        raise CutawayError(
            f"cannot get the paper's prompts; tried {error}, or give a copy of the file with --prompts"
        ) from error


def _check(model: Decoder, n: int) -> None:
    c = model.config
    if (c.n_layers, c.n_heads, c.vocab) != (paper.LAYERS, paper.HEADS, paper.VOCAB):
        raise CutawayError(
            f"{model.source or 'this model'} has {c.n_layers} layers × {c.n_heads} heads and {c.vocab} tokens: the paper's "
            f"numbers are for heads of GPT-2 small, {paper.LAYERS} × {paper.HEADS} and {paper.VOCAB}; take --model gpt2"
        )
    if model.tokenizer is None:
        raise CutawayError(
            f"{model.source or 'this model'} has no tokenizer: put GPT-2's tokenizer.json beside the weights"
        )
    if n < 2:
        raise CutawayError(f"n is {n}: take at least 2 prompts (the paper has {paper.N_PROMPTS})")


# --- the measurements, one a section ------------------------------------------------------------------------------------


def build_up(model: Decoder, behavior: Behavior, work: Work | None = None) -> list[Line]:
    """The whole model, every head ablated, and the circuit's heads put back one by one."""
    section, lines = "Circuit built up head by head, all others mean-ablated: logit difference", []
    isolation = Isolation(model, behavior, work=work)
    full = isolation.full()
    for i, published in enumerate(paper.FULL_MODEL):
        lines.append(
            compare(
                "Whole model: logit difference",
                f"letter {i + 1}",
                published,
                mean_of(full[:, i]),
                paper.FULL_MODEL_READ,
            )
        )
    mean = mean_of(full.mean(1))
    lines.append(
        compare(
            "Whole model: logit difference", "mean of the letters", paper.FULL_MODEL_MEAN, mean, paper.FULL_MODEL_READ
        )
    )
    order = [parse_site(head) for head, _, _ in paper.BUILD_UP[1:]]
    isolation.base(frozenset())
    scores = isolation.scores([frozenset(order[:i]) for i in range(len(order) + 1)])
    for (head, means, sds), score in zip(paper.BUILD_UP, scores, strict=True):
        for i in range(behavior.n_steps):
            what = f"{'none' if head == 'none' else f'+ {head}'}, letter {i + 1}"
            read = paper.BUILD_UP_READ
            lines.append(compare(section, what, means[i], mean_of(score[:, i]), read, corrupted=True))
            lines.append(compare(section, f"{what}, sd", sds[i], sd_of(score[:, i]), read, corrupted=True))
    for i, published in enumerate(paper.RECOVERED):
        what = f"the circuit over the whole model, letter {i + 1}"
        ours = ratio_of(scores[-1][:, i], full[:, i])
        lines.append(compare(section, what, published, ours, paper.BUILD_UP_READ, corrupted=True))
    return lines


def head_effects(model: Decoder, behavior: Behavior, work: Work | None = None) -> list[Line]:
    """Every head with a published effect, patched at the positions the paper patches."""
    lines = []
    for corruption, read in paper.HEADS_READ.items():
        cells = {key: heads for key, heads in paper.HEAD_EFFECTS.items() if key[0] == corruption}
        sites = [parse_site(head) for head in _distinct(head for heads in cells.values() for head in heads)]
        roles = _distinct(role for _, _, role in cells)
        effects = sweep(model, behavior, corruption, sites=sites, roles=roles, work=work)
        for (_, letter, role), heads in cells.items():
            section = f"Corrupted {corruption}: effect of patching a head on the logit difference"
            for head, published in heads.items():
                what = f"{head} {f'at {role}' if role else 'everywhere'}, letter {letter}"
                ours = mean_of(effects.of(parse_site(head), role)[:, letter - 1])
                lines.append(compare(section, what, published, ours, read, corrupted=True))
    return lines


def stream_effects(model: Decoder, behavior: Behavior, work: Work | None = None) -> list[Line]:
    """The residual stream before a layer, patched at one role."""
    lines = []
    for corruption, read in paper.STREAM_READ.items():
        cells = {key: places for key, places in paper.STREAM_EFFECTS.items() if key[0] == corruption}
        layers = _distinct(layer for wanted in cells.values() for layer, _ in wanted)
        roles = _distinct(role for wanted in cells.values() for _, role in wanted)
        sites = {layer: Site(layer, "resid_pre") for layer in layers}
        effects = sweep(model, behavior, corruption, sites=list(sites.values()), roles=roles, work=work)
        section = f"Corrupted {corruption}: effect of patching the residual stream on the logit difference"
        for (_, letter), wanted in cells.items():
            for (layer, role), published in wanted.items():
                ours = mean_of(effects.of(sites[layer], role)[:, letter - 1])
                what = f"before layer {layer} at {role}, letter {letter}"
                lines.append(compare(section, what, published, ours, read, corrupted=True))
    return lines


def attention_lines(behavior: Behavior, pattern: Pattern) -> list[Line]:
    """Where the letter movers and 5.8 look from each letter."""
    section, lines, read = "Attention from the token that predicts a letter", [], paper.ATTENTION_READ
    looks = to_roles(pattern, behavior).float().cpu()  # [layer, batch, head, step, role]

    def look(head: str, letter: int, role: str) -> Float[Tensor, " batch"]:
        site = parse_site(head)
        return looks[site.layer, :, site.head, letter - 1, behavior.roles.index(role)]

    for (head, letter), roles in paper.ATTENTION.items():
        for role, (mean, sd) in roles.items():
            values, what = look(head, letter, role), f"{head}, letter {letter} → {role}"
            lines.append(compare(section, what, mean, mean_of(values), read))
            if sd is not None:
                lines.append(compare(section, f"{what}, sd", sd, sd_of(values), read))
    for (head, letter), bound in paper.ATTENTION_AT_MOST.items():
        most = max((mean_of(look(head, letter, role)) for role in behavior.sources), key=lambda ours: ours.value)
        what = f"{head}, letter {letter} → the most of {' '.join(behavior.sources)} (at most {bound})"
        room = bound / 2 + SIGMAS * most.error
        lines.append(compare(section, what, bound / 2, most, read, floor=room, note="middle of the range"))
    return lines


def previous_lines(behavior: Behavior, pattern: Pattern) -> list[Line]:
    """How much the previous-token heads look one token back."""
    section, lines, rows = "Attention of the previous-token heads", [], torch.arange(len(behavior))
    for head, pairs in paper.PREVIOUS.items():
        site = parse_site(head)
        for (query, key), published in pairs.items():
            ours = pattern[site.layer, rows, site.head, places(behavior, query), places(behavior, key)]
            lines.append(compare(section, f"{head}, {query} → {key}", published, mean_of(ours), paper.PREVIOUS_READ))
    return lines


def letter_lines(model: Decoder) -> list[Line]:
    """The OV letter matrices; they come from the weights alone, so that nothing but the reading is uncertain."""
    section, lines = "OV circuit on the alphabet, W_E · W_V · W_O · W_U", []
    heads = {"movers": paper.GROUPS["letter mover"], "8.11": ("8.11",)}
    for name, quadrants in paper.OV.items():
        found, read = ov_letters(model, [parse_site(head) for head in heads[name]]), paper.OV_READ[name]
        for quadrant, (diagonal, off, off_sd, row_max) in quadrants.items():
            matrix, who = found[quadrant], f"{'four movers' if name == 'movers' else name}, {quadrant}"
            lines.append(compare(section, f"{who}, mean on the diagonal", diagonal, Measured(matrix.diagonal), read))
            lines.append(compare(section, f"{who}, mean off it", off, Measured(matrix.off_diagonal), read))
            if off_sd is not None:
                lines.append(compare(section, f"{who}, sd off it", off_sd, Measured(_off_sd(matrix)), read))
            share, floor = Measured(matrix.row_max), (LETTERS_OFF + 0.5) / 26
            what = f"{who}, diagonal is the row's largest"
            lines.append(compare(section, what, row_max, share, paper.OV_SHARE_READ, floor=floor, note="counted"))
    return lines


def _off_sd(matrix: LetterMatrix) -> float:
    return matrix.matrix[~torch.eye(26, dtype=torch.bool)].std().item()


def position_lines(model: Decoder, behavior: Behavior, tick: Tick, work: Work | None = None) -> list[Line]:
    """What exchanging positions, and the attention to BOS, does to 8.11 and to the logit difference."""
    found = positional(model, behavior, [parse_site(paper.SWAPPED_HEAD)], pairs=list(paper.SWAPS), work=work, tick=tick)
    lines = _swap_lines(behavior, {(swap.pair, swap.condition): swap for swap in found.swaps})
    section = "Attention of one head to BOS exchanged between two words: effect on the logit difference"
    for pair, letters in paper.FIRST_EFFECTS.items():
        for letter, heads in letters.items():
            for head, published in heads.items():
                ours = mean_of(found.per_head[pair].of(parse_site(head))[:, letter - 1])
                what = f"{head}, {'↔'.join(pair)}, letter {letter}"
                lines.append(compare(section, what, published, ours, paper.FIRST_READ))
    return lines


def _swap_lines(behavior: Behavior, swaps: dict[tuple[tuple[str, str], str], Swap]) -> list[Line]:
    section = f"Attention of {paper.SWAPPED_HEAD} when two words exchange position, attention to BOS, or both"
    prompts = min(len(behavior), paper.N_PROMPTS)
    names = {"clean": "undisturbed", "positions": "position", "first": "attention to BOS", "both": "both"}
    lines: dict[str, Line] = {}
    for pair, cells in paper.SWAPS.items():
        for (letter, role), values in cells.items():
            floors = {"first": SELECTION, "both": SELECTION}
            if pair == paper.NO_VISIBLE_CHANGE:
                values = values | {"first": values["clean"], "both": values["positions"]}
                floors = {"first": VISIBLE, "both": VISIBLE}
            for condition, published in values.items():
                swap, at = swaps[pair, condition], (0, letter - 1, behavior.sources.index(role))
                ours = Measured(swap.attention[at].item(), swap.attention_sd[at].item() / math.sqrt(prompts - 1))
                pair_name = "" if condition == "clean" else f" {'↔'.join(pair)}"
                what = f"letter {letter} → {role}, {names[condition]}{pair_name}"
                line = compare(section, what, published, ours, paper.POSITIONS_READ, floor=floors.get(condition, 0.0))
                lines.setdefault(what, line)  # what is undisturbed stands beside every pair
    return list(lines.values())


def _distinct(items: Iterable) -> list:
    return list(dict.fromkeys(items))

"""What each method costs on a model, before anything is trained: one real step of each, on random tokens.

    learn        parameters that learn, and their share of all
    optimiser    bytes of AdamW's two averages
    peak         most bytes of tensors during a step: weights, activations, gradients, averages (`core/memory.py`)
    step         the median time of a step
    disk         bytes of what is kept

Options are the methods' own defaults unless others are given; the model is afterwards as it was.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.core.memory import PeakMemory
from cutaway.core.progress import Progress
from cutaway.tuning.method import Method, method, methods
from cutaway.tuning.tune import Tuned, tune


@dataclass(frozen=True)
class Cost:
    """Of one method."""

    method: str
    kind: str
    trained: int
    share: float
    optimiser_bytes: int
    peak_bytes: int
    """0 where it was not measured."""
    step_seconds: float
    disk_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Refused:
    """A method that cannot work on this model."""

    method: str
    kind: str
    reason: str


def plan(
    model: nn.Module,
    names: Sequence[str] = (),
    *,
    batch: int = 8,
    length: int = 128,
    steps: int = 3,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] = {},
    progress: Progress = Progress(),  # noqa: B008 - has no state
) -> list[Cost | Refused]:
    """Costs of methods on a model, which is afterwards as it was; the cheapest in memory first.

    Args:
        names: of methods; all, if none are given.
        batch, length: samples and tokens of a step.
        options: of methods, by their names; the others have their defaults.
        steps: whose time is taken, after the one whose memory is; 0 tells only what is known without running the model.

    Raises:
        CutawayError: a number below 1, or a method that does not exist.
    """
    if batch < 1 or length < 1 or steps < 0:
        raise CutawayError(f"batch {batch}, length {length}, steps {steps}: give at least 1, 1 and 0")
    wanted = [method(name) for name in names] or list(methods().values())
    tokens = _tokens(model, batch, length, seed)
    found: list[Cost | Refused] = []
    with progress.stage("measure", len(wanted)) as tick:
        for each in wanted:
            torch.manual_seed(seed)
            found.append(_of(model, each, options.get(each.name, {}), tokens, steps))
            tick(1)
    return sorted(found, key=lambda x: (x.peak_bytes, x.trained) if isinstance(x, Cost) else (2**62, 0))


def _of(
    model: nn.Module, wanted: Method, options: Mapping[str, Any], tokens: dict[str, Tensor], steps: int
) -> Cost | Refused:
    try:
        tuned = tune(model, wanted.name, **options)
    except CutawayError as error:
        return Refused(wanted.name, wanted.kind, str(error))
    try:
        count = tuned.count()
        on_disk = sum(x.numel() * x.element_size() for x in tuned.attached.to_disk().values())
        averages = sum(2 * p.numel() * p.element_size() for p in tuned.trained().values())
        peak, seconds = _measured(tuned, tokens, steps) if steps else (0, 0.0)
        return Cost(wanted.name, wanted.kind, count.trained, count.share, averages, peak, seconds, on_disk)
    finally:
        tuned.remove()


def _measured(tuned: Tuned, tokens: dict[str, Tensor], steps: int) -> tuple[int, float]:
    """Bytes at the peak of a step with the optimiser's averages in place, and the median time of a step."""
    learned = list(tuned.trained().values())
    optimizer = torch.optim.AdamW(learned, lr=0.0, foreach=False)  # nothing moves
    learning, taken = tuned.model.training, []
    tuned.model.train()
    with PeakMemory() as memory:
        memory.hold(*tuned.model.parameters(), *tuned.model.buffers(), *tokens.values())
        for _ in range(2):  # the averages come into being in the first
            _step(tuned, optimizer, tokens)
    for _ in range(steps):
        started = time.perf_counter()
        _step(tuned, optimizer, tokens)
        taken.append(time.perf_counter() - started)
    tuned.model.train(learning)
    return memory.peak, median(taken)


def _step(tuned: Tuned, optimizer: torch.optim.Optimizer, tokens: dict[str, Tensor]) -> None:
    """Forward, a loss over everything that comes out, backward, and a step of the optimiser."""
    tuned.attached.answers = _out
    out = _out(tuned.model(**tokens))
    loss = out.flatten(0, -2).logsumexp(-1).mean()
    if (more := tuned.loss()) is not None:
        loss = loss + more
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _out(output: Any) -> Tensor:
    """Logits, or states where there is no head."""
    return output.logits if getattr(output, "logits", None) is not None else output.last_hidden_state


def _tokens(model: nn.Module, batch: int, length: int, seed: int) -> dict[str, Tensor]:
    """Random ones, as the model's kind wants them."""
    config: Any = model.config
    longest = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or length
    device = next(model.parameters()).device
    draw = torch.Generator().manual_seed(seed)
    made = torch.randint(config.vocab_size, (batch, min(length, longest)), generator=draw).to(device)
    tokens = {"input_ids": made}
    if config.is_encoder_decoder:
        tokens["decoder_input_ids"] = made
    return tokens

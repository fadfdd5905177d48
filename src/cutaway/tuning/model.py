"""A pretrained model with a method on it, made for a task: class names, scores, or text to be written.

    labels, scores    text (and pair) → backbone → what stands for the text → dropout → a new linear head
    text              text → backbone → its own head: the answer is written behind the text

The loss of an example: −log p(label); the squared error of its score, in units of the training set's deviation; the mean of
−log p(token) over its answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.core.training.task import Batch
from cutaway.tuning.backbone import Backbone, load_backbone, recompute
from cutaway.tuning.config import Config
from cutaway.tuning.corpus import Corpus
from cutaway.tuning.data import Example
from cutaway.tuning.next_token import before_unembedding, token_losses, token_scores
from cutaway.tuning.reading import Reader
from cutaway.tuning.tune import Tuned, tune

AT_ONCE = 32
"""Examples that are read together where nothing is learned."""
DIVERGED = "the model's answers are no finite numbers: it diverged; fit it again with a lower learning rate"


@dataclass(frozen=True)
class Task:
    """What the model is for."""

    kind: str
    """labels, scores or text."""
    labels: tuple[str, ...] = ()
    center: float = 0.0
    scale: float = 1.0
    """Mean and standard deviation of the scores in the training set."""


@dataclass(frozen=True)
class Answer:
    """What the model makes of an example."""

    said: str | float
    """A label or a score; for text nothing is written here (`predict.py` does)."""
    confidences: tuple[float, ...] = ()
    """Of each label."""
    log_likelihood: float = 0.0
    """Σ log p over the tokens of the answer that was given."""
    tokens: int = 0
    right: int = 0
    """How many of them are the most likely ones, each given those before."""


class TunedModel(nn.Module):
    """Made by `new_model` or `store.load`."""

    def __init__(self, config: Config, task: Task, backbone: Backbone, tuned: Tuned):
        super().__init__()
        self.config, self.task, self.tuned = config, task, tuned
        self.reader = Reader(config, task.kind, backbone)
        self.backbone = tuned.model
        self.head = None
        if task.kind != "text":
            width = width_of(tuned.attached.host)
            self.head = nn.Linear(width, max(1, len(task.labels)))
            self.head.to(next(self.backbone.parameters()).device)
        self.dropout = nn.Dropout(config.dropout)
        self.lean = task.kind == "text" and not tuned.attached.compares and self._ends_in_its_head()
        if config.recompute:
            recompute(tuned.attached.host)

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def collate(self, examples: Sequence[Example]) -> Batch:
        """One batch: pieces, and what is to be answered."""
        batch = self.reader.collate(examples)
        if self.task.kind == "labels":
            batch["answers"] = torch.tensor([self.task.labels.index(str(x.answer)) for x in examples])
        if self.task.kind == "scores":
            batch["answers"] = torch.tensor(
                [(float(x.answer or 0) - self.task.center) / self.task.scale for x in examples]
            )
        return batch

    def forward(self, batch: Batch) -> Float[Tensor, " batch"]:
        """The loss of each example, with what the method adds."""
        if self.task.kind == "text":
            told = token_losses(*self.states(batch), batch["targets"])
            losses = told.sums / told.counts.clamp_min(1)
        else:
            out = self.scored(batch)
            if self.task.kind == "labels":
                losses = nn.functional.cross_entropy(out, batch["answers"], reduction="none")
            else:
                losses = (out[:, 0] - batch["answers"]).square()
        more = self.tuned.loss()
        return losses if more is None else losses + more

    def scored(self, batch: Batch) -> Float[Tensor, "batch out"]:
        """What the head says of each text."""
        head = self.head
        assert head is not None

        def answers(output: Any) -> Tensor:
            pooled = self.reader.pooled(output.last_hidden_state, batch)
            return head(self.dropout(pooled.to(head.weight.dtype)))

        self.tuned.attached.answers = answers
        return answers(self.backbone(**self.reader.inputs(batch)))

    def states(self, batch: Batch) -> tuple[Float[Tensor, "batch pos width"], nn.Module]:
        """What comes into the unembedding, and the unembedding; where more is done to the logits, these, and nothing."""
        inputs = self.reader.inputs(batch)
        if self.lean:
            return before_unembedding(self.backbone, **inputs)
        return self.backbone(**inputs).logits, nn.Identity()

    @torch.no_grad()
    def _ends_in_its_head(self) -> bool:
        """Is nothing done to the logits behind the unembedding? Tried on a few tokens."""
        was = self.training
        self.eval()
        one = self.reader.collate([Example("", answer=" a b")])
        inputs = {name: x.to(self.device) for name, x in self.reader.inputs(one).items() if isinstance(x, Tensor)}
        logits = self.backbone(**inputs).logits
        hidden, unembed = before_unembedding(self.backbone, **inputs)
        self.train(was)
        return torch.allclose(logits, unembed(hidden), rtol=1e-3, atol=1e-3)

    # --- reading, without learning ------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, examples: Sequence[Example]) -> list[Answer]:
        """What the model makes of each example, in their order. The model is in evaluation mode afterwards as before."""
        was = self.training
        self.eval()
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].text) + len(examples[i].pair or ""))
        found: dict[int, Answer] = {}
        for at in range(0, len(order), AT_ONCE):
            mine = order[at : at + AT_ONCE]
            batch = self.reader.collate([examples[i] for i in mine])
            moved = {name: x.to(self.device) if isinstance(x, Tensor) else x for name, x in batch.items()}
            found |= zip(mine, self._answers(moved), strict=True)
        self.train(was)
        return [found[i] for i in range(len(examples))]

    def _answers(self, batch: Batch) -> Iterator[Answer]:
        if self.task.kind == "text":
            found = token_scores(*self.states(batch), batch["targets"])
            each = zip(found.log_likelihoods.tolist(), found.tokens.tolist(), found.right.tolist(), strict=True)
            yield from (Answer("", log_likelihood=x, tokens=n, right=right) for x, n, right in each)
            return
        out = self.scored(batch).float()
        if not out.isfinite().all():
            raise CutawayError(DIVERGED)
        if self.task.kind == "scores":
            yield from (Answer(x * self.task.scale + self.task.center) for x in out[:, 0].tolist())
            return
        for each in out.softmax(1).tolist():
            yield Answer(self.task.labels[each.index(max(each))], tuple(each))


def width_of(host: nn.Module) -> int:
    """d_model."""
    return cast(Any, host).get_input_embeddings().embedding_dim


def new_model(config: Config, corpus: Corpus) -> TunedModel:
    """A pretrained model with a method on it that has learned nothing yet.

    Raises:
        CutawayError: no such model or method, options that make no sense, or a model that cannot give such answers.
    """
    scores = torch.tensor([float(x.answer or 0) for x in corpus.train]) if corpus.kind == "scores" else torch.zeros(2)
    scale = scores.std().item() if len(scores) > 1 else 1.0
    task = Task(corpus.kind, corpus.labels, scores.mean().item(), scale or 1.0)
    backbone = load_backbone(config.model, weights=config.weights)
    return TunedModel(config, task, backbone, tune(host_of(backbone, task), config.method, **config.of_method()))


def host_of(backbone: Backbone, task: Task) -> nn.Module:
    """What a method is put on: for text the model with its own head, else what is under it."""
    return backbone.model if task.kind == "text" else backbone.model.base_model

"""From a question to what is put in place in a run of the phrase: one change a site, all heads of a layer together."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cutaway.circuits.explore.means import Means
from cutaway.circuits.explore.passes import Change, Pass
from cutaway.circuits.explore.phrase import Phrase, line_up
from cutaway.circuits.explore.question import ABLATED, PATCHED, Question
from cutaway.core.errors import CutawayError
from cutaway.decoder import Site

NO_SECOND = "give a second phrase: that is where patched values come from"


@dataclass(frozen=True)
class Untouched:
    """A phrase, and its run with nothing changed."""

    phrase: Phrase
    plain: Pass


@dataclass(frozen=True)
class Values:
    """Where the values of a question's changes come from: the phrase, the second phrase if there is one, and means."""

    ours: Untouched
    theirs: Untouched | None
    means: Means
    place: Tensor
    """For each token of the phrase the one of the second phrase that stands for it, −1 where there is none."""

    @classmethod
    def of(cls, ours: Untouched, theirs: Untouched | None, means: Means) -> "Values":
        """Raises `CutawayError` for phrases that do not line up."""
        place = line_up(ours.phrase, theirs.phrase) if theirs else [-1] * len(ours.phrase.tokens)
        return cls(ours, theirs, means, torch.tensor(place))

    @property
    def source(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What tells the values on one second phrase from those on another: its tokens, and how they line up."""
        return (self.theirs.phrase.tokens if self.theirs else ()), tuple(self.place.tolist())

    def second(self, kind: str, layer: int) -> Tensor:
        """What a site has on the second phrase, token for token of the phrase; where there is none, anything."""
        if self.theirs is None:
            raise CutawayError(NO_SECOND)
        x = getattr(self.theirs.plain, kind)[layer]
        return x[:, self.place.clamp(min=0).to(x.device)]

    def ablated(self, ablation: str, layer: int) -> tuple[Tensor, Tensor]:
        """What the heads of a layer get, `[1, pos, head, d_head]`, and at which tokens `[pos]`."""
        slots, z = self.ours.phrase.slots, self.ours.plain.z[layer]
        every = torch.ones(len(slots), dtype=torch.bool)
        if ablation == "second":
            return self.second("z", layer), self.place >= 0
        if ablation == "zero":
            return torch.zeros_like(z), every
        if ablation == "mean":
            return self.means.overall[layer].to(z).expand_as(z), every
        return self.means.by_role(slots, layer)[0].to(z), every


def changes(question: Question, values: Values) -> list[Change]:
    """What the question puts in place.

    Raises:
        CutawayError: means by role where there are none, a second phrase that is missing, or a place that the phrase has
            not.
    """
    ablated, patched = question.in_state(ABLATED), question.in_state(PATCHED)
    if ablated and question.ablation == "role" and not values.means.slots:
        raise CutawayError("this run has no means by role (its prompts cannot be made again): ablate in another way")
    layers = sorted({site.layer for site in ablated | patched})
    made = [_heads(layer, ablated, patched, question.ablation, values) for layer in layers]
    return made + list(_patch(question, values))


def _heads(layer: int, ablated: frozenset[Site], patched: frozenset[Site], ablation: str, values: Values) -> Change:
    """All that is put in place of heads in one layer."""
    put = values.ours.plain.z[layer].clone()
    where = torch.zeros(*put.shape[:3], 1, dtype=torch.bool)
    for sites, how in ((ablated, ablation), (patched, "second")):
        heads = sorted(site.head for site in sites if site.layer == layer and site.head is not None)
        if heads:
            new, at = values.ablated(how, layer)
            put[:, :, heads] = new[:, :, heads]
            where[:, :, heads] = at[None, :, None, None]
    how = [(site.head, ablation if site in ablated else "second") for site in ablated | patched if site.layer == layer]
    source = values.source if "second" in dict(how).values() else ()
    return Change((layer, tuple(sorted(how)), source), Site(layer, "z"), put, where)


def _patch(question: Question, values: Values) -> Iterator[Change]:
    """What is moved in the residual stream or in an MLP."""
    if patch := question.patch:
        kind, layer = patch.site.kind, patch.site.layer
        at = torch.tensor(values.ours.phrase.at(patch.at)) & (values.place >= 0)
        new = values.second(kind, layer)
        yield Change((patch.site, tuple(at.tolist()), values.source), patch.site, new, at[None, :, None])


def notes(question: Question, values: Values) -> tuple[str, ...]:
    """What a reader must know of the values that were put in place, a sentence each."""
    slots, said = values.ours.phrase.slots, ()
    if question.in_state(ABLATED) and question.ablation == "role":
        lacking = sum(slot not in values.means.slots for slot in slots)
        if lacking:
            said = (
                f"{lacking} of {len(slots)} tokens stand where no prompt of the run has one: ablated heads get their mean "
                "over all tokens there.",
            )
    return said + (alone(values) if question.needs_second else ())


def alone(values: Values) -> tuple[str, ...]:
    """The same of tokens that nothing in the second phrase stands for."""
    n = int((values.place < 0).sum())
    if not n:
        return ()
    return (f"{n} of {len(values.place)} tokens have no counterpart in the second phrase: they keep their own values.",)

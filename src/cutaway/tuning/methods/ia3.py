"""(IA)³: vectors that scale keys, values and what goes out of the feed-forward block.

Liu et al. 2022, Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning (NeurIPS, arXiv
2205.05638), §3.3:

    K ← l_k ⊙ K        V ← l_v ⊙ V        h = W_down (l_ff ⊙ σ(W_up x))        all l = 1 at the beginning

It trains as many parameters as each chosen projection has outputs, and for `ffn_down` as many as it has inputs. Where query, key
and value are one projection (GPT-2), all three are scaled. Through `peft`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from cutaway.tuning.attach import linear
from cutaway.tuning.method import Method
from cutaway.tuning.places import places
from cutaway.tuning.through_peft import ThroughPeft, at


@dataclass(frozen=True)
class Options:
    """Of (IA)³."""

    at: tuple[str, ...] = ("attn_k", "attn_v", "cross_attn_k", "cross_attn_v", "attn_qkv", "ffn_down")
    """Which projections: roles or patterns; the input of `ffn_down` is scaled, of others the output."""


class Ia3(ThroughPeft):
    """(IA)³, by `peft`."""

    config = "IA3Config"
    harmless: ClassVar = {"feedforward_modules"}

    def unlike(self, config: Mapping[str, Any]) -> str | None:
        theirs = config.get("feedforward_modules") or []
        means = re.compile(theirs) if isinstance(theirs, str) else None
        ends = tuple(f".{name}" for name in theirs)
        found = {name for name in self.replaced if (means.fullmatch(name) if means else f".{name}".endswith(ends))}
        return "feedforward_modules" if found != {*self.described.feedforward_modules} else super().unlike(config)


def split(model: nn.Module, roles: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the projections whose output is scaled, and of those whose input is."""
    down = {place.name for place in places(model) if place.role == "ffn_down"}
    names = at(model, roles)
    return [name for name in names if name not in down], [name for name in names if name in down]


def attach(attached: Ia3, options: Options) -> None:
    attached.give(options, feedforward_modules=split(attached.host, options.at)[1])


def count(model: nn.Module, options: Options) -> int:
    by_output, by_input = split(model, options.at)
    width = {name: linear(model.get_submodule(name)) for name in by_output + by_input}
    return sum(width[name][1] for name in by_output) + sum(width[name][0] for name in by_input)


METHOD = Method(
    name="ia3",
    kind="additive",
    about="vectors that scale keys, values and feed-forward activations",
    citation="Liu et al. 2022, (IA)³ (NeurIPS, arXiv 2205.05638), §3.3",
    options=Options,
    attach=attach,
    count=count,
    attached=Ia3,
    mergeable=True,
)

"""Recursive composition without a parser: neighbours are joined two by two until the sentence is one node, and back down.

The survey's recursive networks (Li et al. 2017) compose along a constituency parse, bottom-up and then top-down, so that a word
knows the phrases it lies in. That wants a parser, with its errors, for every language and every sort of text. Balanced binary trees
over the words did as well as parses on the ten sentence tasks of Shi et al. (2018), and are computed for a whole batch at once, a
level a step (Munkhdalai & Yu 2017). So here:

    up:    a node = f(its left child, its right child)                        log₂ n levels
    down:  what a child knows of all outside it = g(what its parent knows, its sibling's node)

A node without a right child is its left child, so that padding joins nothing. f and g are gated, as in a binary tree LSTM without
its memory cell (Tai, Socher & Manning 2015, §3.2). A word's features are its own node beside what it knows of all outside it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.parts import Context, Features, InContext, Lengths, Part, inside

Nodes = Float[Tensor, "batch node width"]
Even = Float[Tensor, "batch even width"]


@dataclass(frozen=True)
class Options:
    """Options of the tree."""

    hidden: int = 200
    """Width of a node; a word has twice as many features."""
    dropout: float = 0.5
    """Of what goes in and of what comes out, in training."""


class BalancedTree(Context):
    """Raises `CutawayError` for no width."""

    def __init__(self, width: int, options: Options):
        super().__init__()
        if options.hidden < 1:
            raise CutawayError(f"balanced_tree: hidden is {options.hidden}: give at least 1")
        self.width = 2 * options.hidden
        self.leaf = nn.Linear(width, options.hidden)
        self.up, self.down = _Join(options.hidden), nn.ModuleList([_Join(options.hidden) for _ in range(2)])
        self.root = nn.Parameter(torch.zeros(options.hidden))
        """What the root knows of all outside it: nothing."""
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, features: Features, lengths: Lengths) -> InContext:
        real = inside(lengths, features.shape[1])
        levels = [self.leaf(self.dropout(features)).tanh() * real[..., None]]
        paired = []
        while levels[-1].shape[1] > 1:
            nodes, real = _even(levels[-1], real)
            levels[-1] = nodes
            both = real[:, 1::2, None]
            levels.append(torch.where(both, self.up(nodes[:, ::2], nodes[:, 1::2]), nodes[:, ::2]))
            paired.append(both)
            real = real[:, ::2]
        outside = self.root.expand_as(levels[-1])
        for nodes, both in zip(reversed(levels[:-1]), reversed(paired), strict=True):
            outside = self.below(outside, nodes, both)
        words = features.shape[1]
        found = torch.cat([levels[0][:, :words], outside[:, :words]], dim=2)
        return self.dropout(found) * inside(lengths, words)[..., None]

    def below(self, outside: Nodes, nodes: Even, both: Bool[Tensor, "batch parent 1"]) -> Even:
        """From what parents know to what children know; an only child knows what its parent does."""
        outside = outside[:, : both.shape[1]]
        left = torch.where(both, self.down[0](outside, nodes[:, 1::2]), outside)
        right = self.down[1](outside, nodes[:, ::2])
        return torch.stack([left, right], dim=2).flatten(1, 2)


class _Join(nn.Module):
    """Two vectors into one: a part of each is kept, and something new of both is added, each through its own gate."""

    def __init__(self, width: int):
        super().__init__()
        self.all = nn.Linear(2 * width, 4 * width)

    def forward(self, a: Nodes, b: Nodes) -> Nodes:
        gate_a, gate_b, gate_new, new = self.all(torch.cat([a, b], dim=2)).chunk(4, dim=2)
        return (gate_a.sigmoid() * a + gate_b.sigmoid() * b + gate_new.sigmoid() * new.tanh()).tanh()


def _even(nodes: Nodes, real: Bool[Tensor, "batch node"]) -> tuple[Even, Bool[Tensor, "batch even"]]:
    """An even number of nodes."""
    if nodes.shape[1] % 2 == 0:
        return nodes, real
    return nn.functional.pad(nodes, (0, 0, 0, 1)), nn.functional.pad(real, (0, 1))


CONTEXT = Part(
    name="balanced_tree",
    build=BalancedTree,
    about="neighbours joined two by two up to the sentence, and back down: recursive networks without a parser",
    citation="Li et al. 2017 (recursive, with a parse); Munkhdalai & Yu 2017; Shi et al. 2018",
    options=Options,
)

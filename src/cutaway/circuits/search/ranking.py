"""From effects to an order of heads: what a search goes by."""

from collections.abc import Mapping

import torch

from cutaway.circuits.effects import EffectMap
from cutaway.decoder import Site

NOISE = 1e-4
"""Heads whose exact effects add up to less than this (in logits) are float rounding, and are not ranked."""


def importance(maps: Mapping[str, EffectMap]) -> dict[Site, float]:
    """How much each site matters over all corruptions: |mean effect|, summed over answer tokens and corruptions."""
    total = torch.stack([effects.total() for effects in maps.values()]).sum(0)
    return dict(zip(next(iter(maps.values())).sites, total.tolist(), strict=True))


def ranked(scores: Mapping[Site, float], above: float = -float("inf")) -> list[Site]:
    """Sites by score, the largest first, equal ones in the order given; those not above `above` left out."""
    return sorted((site for site in scores if scores[site] > above), key=lambda site: -scores[site])


def rank(maps: Mapping[str, EffectMap]) -> list[Site]:
    """Heads by their exact effects, the most important first; those without any effect left out."""
    return ranked(importance(maps), NOISE)

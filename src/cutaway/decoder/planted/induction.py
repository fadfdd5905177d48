"""A planted induction circuit (Elhage et al. 2021; Olsson et al. 2022, arXiv 2209.11895): A B … A → B.

A previous-token head tells B that A came before it; induction heads look, from the second A, for the token that A came
before, and copy it to the output. Two or three share the work.
"""

import random

import torch

from cutaway.decoder.planted.build import place_heads
from cutaway.decoder.planted.pieces import UNKNOWN, tokenizer, whole_words
from cutaway.decoder.planted.record import Circuit, Plan
from cutaway.decoder.planted.weights import CYCLE, Head, Stream, position_table, previous_token, shares

MATCH = 18.0
"""Attention score of the token that the present one came before."""


def plan(rng: random.Random) -> Plan:
    n_layers, n_heads, movers = rng.randint(4, 6), rng.randint(4, 8), rng.randint(2, 3)
    vocabulary = [UNKNOWN, *whole_words()]
    words = len(vocabulary) - 1
    stream = Stream(rng, word=words, behind=words, one=1, place=CYCLE, first=1, answer=words, junk=24)
    early, last = place_heads(rng, n_layers, n_heads, [1, movers])
    sharpness, gain = rng.uniform(14, 20), rng.uniform(4, 6)
    heads = {early[0]: previous_token(stream, sharpness, "word", "behind")}
    heads |= {site: induction(stream, gain * share) for site, share in zip(last, shares(rng, movers), strict=True)}
    spelled = torch.cat([torch.zeros(1, words), torch.eye(words)]).double()
    return Plan(
        tokenizer=tokenizer(vocabulary),
        stream=stream,
        embed=spelled @ stream["word"].T + stream["one"].T,
        positions=position_table(stream),
        unembed=spelled @ stream["answer"].T,
        content="word",
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=words + 1,
        heads=heads,
    )


def induction(stream: Stream, strength: float) -> Head:
    """Attends to the token that the present one came before, and copies it to the answer.

    The first token of all has no token before it; there the previous-token head had to attend to the token itself, so
    that its report is wrong and the key is barred.
    """
    words = stream["word"].shape[1]
    every_word = torch.ones(words, 1).double()
    return Head(
        "induction",
        query=MATCH * stream["word"] @ torch.cat([torch.eye(words).double(), -2 * every_word], dim=1),
        key=torch.cat([stream["behind"], stream["first"]], dim=1),
        value=stream["word"],
        out=strength * stream["answer"].T,
    )


CIRCUITS = (Circuit("induction", "one previous-token head and two or three induction heads", plan),)

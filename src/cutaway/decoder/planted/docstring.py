"""A planted circuit for docstrings (after Heimersheim & Janiak 2023): which argument is to be described next?

    ( self , A , B , C , D ) … param A … param B … param        predicts C

1. A previous-token head tells every token what stands before it, and whether that is a comma or `param`; a second one,
   later, tells it what stands two before: C learns of B.
2. At the last `param`, a positional head fetches the name last described: the latest token behind a `param`, B.
3. Argument movers look for the token behind a comma that has this name two before it, C, and copy it to the output.

docs/planted.md has the equations.
"""

import random

import torch

from cutaway.decoder.planted.build import place_heads
from cutaway.decoder.planted.pieces import UNKNOWN, tokenizer, whole_words
from cutaway.decoder.planted.record import Circuit, Plan
from cutaway.decoder.planted.weights import CYCLE, POSITIONS, Head, Stream, position_table, previous_token, shares

BEHIND_PARAM = 60.0
"""Score of standing behind a `param`: above all that lying later earns in a prompt."""
RECENT = 3.0
"""Score per token of lying later: of two described names, the later one is meant."""
MATCH = 18.0
"""Score of the name two before, and of the comma before: only the next argument has both."""


def plan(rng: random.Random) -> Plan:
    n_layers, n_heads, movers = rng.randint(4, 7), rng.randint(4, 7), rng.randint(2, 3)
    vocabulary = [UNKNOWN, "param", ",", *whole_words()]
    words = len(vocabulary) - 3
    stream = Stream(
        rng,
        word=words,
        signs=2,  # the token is `param`, is a comma
        behind=words,  # the word before
        behind_signs=2,  # the token before is `param`, is a comma
        further=words,  # the word two before
        asked=words,  # the name last described
        one=1,
        place=CYCLE,
        first=1,
        depth=1,  # tokens from the start, as part of the longest text
        answer=words,
        junk=rng.randint(16, 48),
    )
    early, later, middle, last = place_heads(rng, n_layers, n_heads, [1, 1, 1, movers])
    sharpness, gain = rng.uniform(14, 20), rng.uniform(4, 6)
    heads = {
        early[0]: before(stream, sharpness),
        later[0]: previous_token(stream, sharpness, "behind", "further"),
        middle[0]: last_described(stream),
    }
    heads |= {site: mover(stream, gain * share) for site, share in zip(last, shares(rng, movers), strict=True)}
    spelled = torch.cat([torch.zeros(3, words), torch.eye(words)]).double()
    embed = spelled @ stream["word"].T + stream["one"].T
    embed[1:3] += stream["signs"].T
    return Plan(
        tokenizer=tokenizer(vocabulary),
        stream=stream,
        embed=embed,
        positions=position_table(stream) + torch.arange(POSITIONS).double()[:, None] / POSITIONS @ stream["depth"].T,
        unembed=spelled @ stream["answer"].T,
        content="word",
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=words + 2,
        heads=heads,
        decoys=("twin", "first token", "noise", "even", "late"),
    )


def before(stream: Stream, sharpness: float) -> Head:
    """Tells every token which word, and which sign, stands before it."""
    word = previous_token(stream, sharpness, "word", "behind")
    return Head(
        word.role,
        word.query,
        word.key,
        value=torch.cat([stream["word"], stream["signs"]], dim=1),
        out=torch.cat([stream["behind"], stream["behind_signs"]], dim=1).T,
    )


def last_described(stream: Stream) -> Head:
    """From `param` to the latest token behind a `param`, whose word it fetches."""
    param = stream["signs"][:, :1]
    return Head(
        "positional",
        query=torch.cat([BEHIND_PARAM * param, RECENT * POSITIONS * param], dim=1),
        key=torch.cat([stream["behind_signs"][:, :1], stream["depth"]], dim=1),
        value=stream["word"],
        out=stream["asked"].T,
    )


def mover(stream: Stream, strength: float) -> Head:
    """To the token behind a comma that has the fetched name two before it; it copies the word there to the answer."""
    return Head(
        "argument mover",
        query=MATCH * torch.cat([stream["asked"], stream["one"]], dim=1),
        key=torch.cat([stream["further"], stream["behind_signs"][:, 1:]], dim=1),
        value=stream["word"],
        out=strength * stream["answer"].T,
    )


CIRCUITS = (
    Circuit("docstring", "two previous-token heads, one positional head and two or three argument movers", plan),
)

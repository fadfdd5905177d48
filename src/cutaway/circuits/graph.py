"""A model as a graph: who writes into the residual stream, who reads it, and the names of the edges between them.

Senders are the embedding, the heads and the MLPs; receivers are the queries, keys and values of the heads, the MLPs and
the logits. The stream is a sum, so every sender reaches every receiver above it directly (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"): an edge is one such pair.

A name is `sender→receiver` (`->` is read as well): `embed→m0`, `9.9→10.0.q`, `m3→logits`. Keys and values are counted as
`Site` counts them: several query heads may share one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cutaway.core.errors import CutawayError
from cutaway.decoder import DecoderConfig, Site, parse_site

EMBED, LOGITS = "embed", "logits"
CHANNELS = ("q", "k", "v")
"""The three inputs of a head."""

Sender = Site | Literal["embed"]
"""`z` of a head, `mlp_out`, or the embedding (with the learned positions, where a family has such)."""
Receiver = Site | Literal["logits"]
"""`q` of a head, `k` or `v` of a key-value head, `mlp_out` for the input of that MLP, or the logits."""


@dataclass(frozen=True)
class Edge:
    """What one part of the model writes, as another reads it."""

    sender: Sender
    receiver: Receiver

    def __str__(self) -> str:
        return f"{self.sender}→{self.receiver}"


def parse_edge(text: str) -> Edge:
    """Reads what `str(edge)` prints.

    Raises:
        CutawayError: the text is not of that form, or the sender never writes or the receiver never reads.
    """
    ends = text.replace("->", "→").split("→")
    if len(ends) != 2:
        raise CutawayError(f"cannot read edge {text!r}: write sender→receiver, such as 9.9→10.0.q or m3→logits")
    left, right = (end.strip() for end in ends)
    sender = EMBED if left == EMBED else parse_site(left)
    receiver = LOGITS if right == LOGITS else parse_site(right)
    if sender != EMBED and not (sender.kind == "mlp_out" or (sender.kind == "z" and sender.head is not None)):
        raise CutawayError(f"edge {text!r}: {left} is no sender; give a head (9.9), an MLP (m3) or {EMBED}")
    if receiver != LOGITS and not (
        receiver.kind == "mlp_out" or (receiver.kind in CHANNELS and receiver.head is not None)
    ):
        raise CutawayError(f"edge {text!r}: {right} is no receiver; give 10.0.q, 10.0.k, 10.0.v, m3 or {LOGITS}")
    return Edge(sender, receiver)


def senders(config: DecoderConfig) -> list[Sender]:
    """Everything that writes into the stream, in the order of the computation."""
    found: list[Sender] = [EMBED]
    for layer in range(config.n_layers):
        found += [Site(layer, "z", head) for head in range(config.n_heads)]
        found.append(Site(layer, "mlp_out"))
    return found


def receivers(config: DecoderConfig) -> list[Receiver]:
    """Everything that reads the stream, in the order of the computation."""
    found: list[Receiver] = []
    for layer in range(config.n_layers):
        for channel in CHANNELS:
            count = config.n_heads if channel == "q" else config.n_kv_heads
            found += [Site(layer, channel, head) for head in range(count)]
        found.append(Site(layer, "mlp_out"))
    return [*found, LOGITS]


def feeds(sender: Sender, receiver: Receiver, config: DecoderConfig) -> bool:
    """Does what the sender writes stand in the stream that the receiver reads?

    With parallel residual streams (GPT-NeoX) attention does not feed the MLP of its own layer.
    """
    if sender == EMBED or receiver == LOGITS:
        return True
    if sender.kind == "z" and receiver.kind == "mlp_out" and not config.parallel:
        return sender.layer <= receiver.layer
    return sender.layer < receiver.layer


def edges(config: DecoderConfig) -> list[Edge]:
    """Every edge of the model: senders in the order of the computation, and the receivers of each."""
    reading = receivers(config)
    return [
        Edge(sender, receiver) for sender in senders(config) for receiver in reading if feeds(sender, receiver, config)
    ]


def heads_of(receiver: Receiver, config: DecoderConfig) -> frozenset[Site]:
    """The heads whose output changes when this receiver reads something else; empty for MLPs and logits."""
    if not isinstance(receiver, Site) or receiver.kind not in CHANNELS or receiver.head is None:
        return frozenset()
    if receiver.kind == "q":
        return frozenset({Site(receiver.layer, "z", receiver.head)})
    group = config.n_heads // config.n_kv_heads
    return frozenset(Site(receiver.layer, "z", receiver.head * group + i) for i in range(group))


def heads_in(kept: Iterable[Edge], config: DecoderConfig) -> frozenset[Site]:
    """The heads of a circuit of edges: those that lie on a way from the embedding to the logits.

    A head stands on such a way if a kept edge leads into one of its inputs and its output reaches the logits.
    """
    kept = list(kept)
    entered = {head for edge in kept for head in heads_of(edge.receiver, config)}
    entered |= {edge.receiver for edge in kept if edge.receiver != LOGITS and edge.receiver.kind == "mlp_out"}
    useful: set[Sender] = set()
    # edges into later receivers first: whether a receiver matters is known before its senders are looked at
    order = {receiver: i for i, receiver in enumerate(receivers(config))}
    for edge in sorted(kept, key=lambda edge: -order[edge.receiver]):
        reads = heads_of(edge.receiver, config) or {edge.receiver}
        if edge.receiver == LOGITS or any(part in useful for part in reads):
            useful.add(edge.sender)
    return frozenset(part for part in useful & entered if isinstance(part, Site) and part.kind == "z")

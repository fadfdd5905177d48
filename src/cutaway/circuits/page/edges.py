"""What the heads of the circuit write to each other: the measured paths, as arrows and as a list."""

from collections.abc import Sequence
from dataclasses import dataclass

from cutaway.circuits.graph import EMBED, LOGITS
from cutaway.circuits.page.drawing import Arrow, arrow_path, width
from cutaway.circuits.page.marks import mark
from cutaway.circuits.page.numbers import DASH, listed, number
from cutaway.circuits.read import Point, Record

MOST = 150
"""Arrows that are drawn, the strongest: more nobody could tell apart."""

CHANNELS = {"q": "queries", "k": "keys", "v": "values", "": "directly"}


@dataclass(frozen=True)
class Link:
    """One sender and one receiver: `embed` or a head; a head of the circuit at one of its inputs, or `logits`."""

    name: str
    """As the run's files have it; keys and values are named by the head that holds them for its group."""
    sender: str
    receiver: str
    channel: str
    """`q`, `k`, `v`, or empty for the logits."""
    points: Sequence[Point]
    """For each step."""

    @property
    def strength(self) -> float:
        """The largest |mean| over the steps."""
        return max((abs(point[0]) for point in self.points if point), default=0.0)


def links(record: Record) -> list[Link]:
    """Every edge that was measured, the strongest first. One into keys or values that heads share leads to each of them."""
    if record.paths is None:
        return []
    inside = {str(site) for site in record.circuit.sites}
    group = record.n_heads // record.circuit.provenance.get("n_kv_heads", record.n_heads)
    found = []
    for name in record.paths.edges:
        sender, _, receiver = name.partition("→")
        points = [record.paths.points.get((name, step)) for step in record.steps]
        for head, channel in _readers(receiver, group):
            if head in inside or head == LOGITS:
                found.append(Link(name, sender, head, channel, points))
    return sorted(found, key=lambda link: -link.strength)


def _readers(receiver: str, group: int) -> list[tuple[str, str]]:
    """Heads that read this input, and which it is of theirs; `group` heads share keys and values."""
    if receiver == LOGITS:
        return [(LOGITS, "")]
    layer, head, channel = receiver.split(".")
    if channel == "q":
        return [(f"{layer}.{head}", "q")]
    return [(f"{layer}.{int(head) * group + i}", channel) for i in range(group)]


def arrows(record: Record) -> list[Arrow]:
    """Those strong enough to be seen; those of the words first and the strongest last, so that it is drawn on top."""
    every = links(record)
    largest = every[0].strength if every else 0.0
    kinds = {str(head.site): mark(head.role).kind for head in record.circuit.heads} | {EMBED: "embed"}
    shape, found = (record.n_layers, record.n_heads), []
    for link in reversed(every[:MOST]):
        shares = [link.strength, *(abs(point[0]) if point else 0.0 for point in link.points)]
        widths = [width(share / largest) if largest else 0.0 for share in shares]
        if widths[0]:
            path = arrow_path(link.sender, link.receiver, link.channel, shape)
            found.append(Arrow(path, kinds[link.sender], (link.sender, link.receiver), widths, tip(link)))
    return sorted(found, key=lambda arrow: arrow.kind != EMBED)


def tip(link: Link) -> str:
    """An edge in words."""
    who = "the words" if link.sender == EMBED else link.sender
    effects = listed(number(point[0]) if point else DASH for point in link.points)
    return f"{who} → {link.receiver}, {CHANNELS[link.channel]}: {effects}"

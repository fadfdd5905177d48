"""Names of edges, which edges there are, and which heads lie on a way from the embedding to the logits."""

import pytest

from cutaway.circuits.graph import EMBED, LOGITS, Edge, edges, heads_in, heads_of, parse_edge, receivers, senders
from cutaway.core.errors import CutawayError
from cutaway.decoder import Site
from decoder.decoders import CONFIGS


@pytest.mark.parametrize("name", CONFIGS)
def test_every_edge_is_read_as_it_is_printed(name):
    every = edges(CONFIGS[name])
    assert [parse_edge(str(edge)) for edge in every] == every
    assert len(set(every)) == len(every)


def test_names_are_those_of_the_field():
    assert str(Edge(Site(9, "z", 9), Site(10, "q", 0))) == "9.9→10.0.q"
    assert str(Edge(Site(3, "mlp_out"), LOGITS)) == "m3→logits"
    assert parse_edge("embed -> m0") == Edge(EMBED, Site(0, "mlp_out"))


@pytest.mark.parametrize(
    "text", ["9.9", "9.9→", "9.9→10.0", "9.9.q→m10", "logits→m3", "a→b→c", "3.resid_pre→m4", "1.0→4.q"]
)
def test_what_is_no_edge_is_one_line(text):
    with pytest.raises(CutawayError):
        parse_edge(text)


def test_how_many_edges_there_are():
    """3 layers of 4 heads, counted by hand: receivers of a layer are 4 q, k and v each (2 k and v if shared) and an MLP."""
    assert len(senders(CONFIGS["shared keys"])) == 1 + 3 * 5
    assert len(receivers(CONFIGS["shared keys"])) == 3 * (4 + 2 + 2 + 1) + 1
    # into layer l: (1 + 5l) senders for each head input, 4 more for the MLP; all 16 for the logits
    assert len(edges(CONFIGS["shared keys"])) == sum((1 + 5 * l) * 9 + 4 for l in range(3)) + 16  # noqa: E741
    assert len(edges(CONFIGS["parallel"])) == sum((1 + 5 * l) * 13 for l in range(3)) + 16  # noqa: E741


def test_heads_that_share_keys_read_them_together():
    config = CONFIGS["shared keys"]
    assert heads_of(Site(1, "k", 1), config) == {Site(1, "z", 2), Site(1, "z", 3)}
    assert heads_of(Site(1, "q", 1), config) == {Site(1, "z", 1)}
    assert heads_of(Site(1, "mlp_out"), config) == heads_of(LOGITS, config) == frozenset()


def test_heads_of_a_circuit_lie_on_a_way_through_it():
    def heads(*names):
        return {str(head) for head in heads_in([parse_edge(name) for name in names], CONFIGS["learned positions"])}

    assert heads("embed→0.1.v", "0.1→1.2.q", "1.2→logits") == {"0.1", "1.2"}
    assert heads("embed→0.1.v", "0.1→1.2.q") == set()
    assert heads("0.1→1.2.q", "1.2→logits") == {"1.2"}
    assert heads("embed→0.1.v", "0.1→m1", "m1→2.0.k", "2.0→logits", "embed→2.3.q") == {"0.1", "2.0"}

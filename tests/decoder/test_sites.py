"""Names of sites, read and printed by one function each."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway import CutawayError, Site, parse_site
from cutaway.decoder.sites import HEAD_KINDS, KINDS, STREAM_KINDS, site_shapes

from .decoders import CONFIGS

LAYERS = st.integers(0, 200)
SITES = st.one_of(
    st.builds(Site, LAYERS, st.sampled_from(KINDS)),
    st.builds(Site, LAYERS, st.sampled_from(HEAD_KINDS), st.integers(0, 200)),
)


@given(SITES)
def test_a_site_reads_back_as_it_prints(site):
    assert parse_site(str(site)) == site


@given(SITES, SITES)
def test_no_two_sites_print_alike(one, other):
    assert (str(one) == str(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("9.9", Site(9, "z", 9)),
        ("m3", Site(3, "mlp_out")),
        ("a3", Site(3, "attn_out")),
        ("3.resid_pre", Site(3, "resid_pre")),
        ("9.10.q", Site(9, "q", 10)),
        ("9.pattern", Site(9, "pattern")),
    ],
)
def test_the_names_people_write(text, site):
    assert parse_site(text) == site
    assert str(site) == text


@pytest.mark.parametrize("text", ["", "9", "9.", ".9", "x3", "m3.1", "9.9.9", "9,9", "9.9 ", "-1.2", "m", "9.q.3"])
def test_what_is_no_site_is_refused(text):
    with pytest.raises(CutawayError, match="cannot read site"):
        parse_site(text)


@given(st.text(max_size=12))
def test_any_text_is_a_site_or_refused(text):
    with contextlib.suppress(CutawayError):
        site = parse_site(text)
        assert parse_site(str(site)) == site


def test_unknown_kinds_name_the_nearest():
    with pytest.raises(CutawayError, match="did you mean resid_pre"):
        Site(0, "resid_per")
    with pytest.raises(CutawayError, match="no site of kind 'w'"):
        parse_site("9.9.w")


@pytest.mark.parametrize("kind", STREAM_KINDS)
def test_streams_have_no_heads(kind):
    with pytest.raises(CutawayError, match="has no heads"):
        Site(0, kind, 1)


@pytest.mark.parametrize(
    ("site", "message"),
    [
        (Site(3, "z"), "layers 0 to 2"),
        (Site(-1, "z"), "layers 0 to 2"),
        (Site(0, "z", 4), "z has heads 0 to 3"),
        (Site(0, "k", 2), "k has heads 0 to 1"),
    ],
)
def test_sites_the_model_has_not_are_refused(site, message):
    with pytest.raises(CutawayError, match=message):
        site.check(CONFIGS["shared keys"])


def test_shapes_are_told_for_every_kind():
    shapes = site_shapes(CONFIGS["shared keys"])
    assert tuple(shapes) == KINDS
    assert shapes["k"] == "[batch, pos, kv_head=2, d_head=8]"
    assert shapes["q"] == "[batch, pos, head=4, d_head=8]"

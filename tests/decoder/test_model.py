"""What the forward pass promises: padding, order and pasts change nothing; patches leave nothing."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutaway import CutawayError, Patch, Site
from cutaway.decoder.sites import HEAD_KINDS, KINDS

from .decoders import CONFIGS, decoder

TOLERANCE = 2e-5
"""Logits here are of size 1 to 10, in float32."""

every_model = pytest.mark.parametrize("name", CONFIGS)
two_models = pytest.mark.parametrize("name", ["shared keys", "second norms"])
every_kind = pytest.mark.parametrize("kind", KINDS)


def random_tokens(batch: int, pos: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(37, (batch, pos), generator=torch.Generator().manual_seed(seed))


def heads_of(config, kind: str) -> int:
    return config.n_kv_heads if kind in ("k", "v") else config.n_heads


def all_sites(config) -> list[Site]:
    """Every kind of site in every layer, and in the middle one also head by head."""
    whole = [Site(layer, kind) for layer in range(config.n_layers) for kind in KINDS]
    return whole + [Site(1, kind, head) for kind in HEAD_KINDS for head in range(heads_of(config, kind))]


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) <= tolerance


# --- padding, order, past, scored ------------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4)
"""For each row: how many tokens, how much padding left of them, how much right."""


@every_model
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, seed=st.integers(0, 99))
def test_a_row_is_itself_in_any_company(name, rows, seed):
    """Padding on either side, other rows and their order change no logit of a real token."""
    model = decoder(name)
    pos = max(sum(row) for row in rows)
    tokens = random_tokens(len(rows), pos, seed)
    mask = torch.zeros(len(rows), pos, dtype=torch.bool)
    for row, (length, left, _) in enumerate(rows):
        mask[row, left : left + length] = True
    together = model(tokens, mask)
    assert close(model(tokens.flip(0), mask.flip(0)).flip(0), together)
    for row, real in enumerate(mask):
        alone = model(tokens[row : row + 1, real])[0]
        assert close(together[row, real], alone)


@every_model
def test_no_token_sees_what_comes_after_it(name):
    model, tokens = decoder(name), random_tokens(2, 9)
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 37
    assert close(model(tokens)[:, :5], model(changed)[:, :5])
    assert not close(model(tokens)[:, 5:], model(changed)[:, 5:], 1e-2)


@every_model
@pytest.mark.parametrize("before", [1, 4, 7])
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_a_past_and_the_rest_are_the_whole(name, before, rows):
    """A past of 1, 2 or 4 rows for 4 rows of tokens: block after block, as its docstring says."""
    model = decoder(name)
    shared = random_tokens(rows, before, seed=2).repeat(4 // rows, 1)
    rest = random_tokens(4, 5)
    past = model.prefill(shared[:rows])
    assert past.length == before
    assert close(model.run(rest, past=past).logits, model(torch.cat([shared, rest], 1))[:, before:])


@every_model
def test_a_past_serves_padded_rows(name):
    model, shared, rest = decoder(name), random_tokens(1, 4, seed=2), random_tokens(2, 6)
    mask = torch.tensor([[False, False, True, True, True, True], [True, True, True, True, False, False]])
    together = model.run(rest, mask=mask, past=model.prefill(shared)).logits
    for row, real in enumerate(mask):
        alone = model(torch.cat([shared, rest[row : row + 1, real]], 1))[0, 4:]
        assert close(together[row, real], alone)


@every_model
def test_scored_and_columns_are_slices(name):
    model, tokens = decoder(name), random_tokens(3, 7)
    scored, columns = torch.tensor([[6, 0], [2, 2], [5, 3]]), torch.tensor([11, 3, 36])
    whole = model(tokens)
    picked = whole[torch.arange(3)[:, None], scored]
    assert close(model.run(tokens, scored=scored).logits, picked)
    assert close(model.run(tokens, columns=columns).logits, whole[..., columns])
    assert close(model.run(tokens, scored=scored, columns=columns).logits, picked[..., columns])


@every_model
def test_positions_say_where_a_token_believes_to_stand(name):
    model, tokens = decoder(name), random_tokens(2, 6)
    order = torch.arange(6).expand(2, -1)
    assert close(model.run(tokens, positions=order).logits, model(tokens))
    apart = model.run(tokens, positions=order * 2).logits
    assert not close(apart, model(tokens), 1e-3)
    # rotary positions count only by their differences
    if model.config.rope:
        assert close(model.run(tokens, positions=order + 9).logits, model(tokens), 1e-4)


def test_a_mask_of_ones_and_zeros_is_read_as_one():
    model, positions = decoder("shared keys"), torch.zeros(2, 6, dtype=torch.long)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    seen = model.frame(positions, mask=mask).sees[None]
    assert torch.equal(seen, model.frame(positions, mask=mask.bool()).sees[None])
    assert seen[0].any(0).tolist() == [False, False, True, True, True, True]


@every_model
def test_a_call_without_any_real_token_stays_finite(name):
    model, tokens = decoder(name), random_tokens(2, 4)
    mask = torch.tensor([[False] * 4, [True] * 4])
    logits = model(tokens, mask)
    assert torch.isfinite(logits).all()
    assert close(logits[1:], model(tokens[1:]))


# --- sites -----------------------------------------------------------------------------------------------------------


@every_model
def test_captured_sites_have_the_shapes_they_are_said_to_have(name):
    model = decoder(name)
    c = model.config
    run = model.run(random_tokens(2, 7), capture=all_sites(c))
    assert set(run.sites) == set(all_sites(c))
    for site, x in run.sites.items():
        if site.kind == "pattern":
            shape = (2, 7, 7) if site.head is not None else (2, c.n_heads, 7, 7)
            assert torch.allclose(x.sum(-1), torch.ones(()), atol=1e-5)
        elif site.kind in HEAD_KINDS:
            shape = (2, 7, c.d_head) if site.head is not None else (2, 7, heads_of(c, site.kind), c.d_head)
        else:
            shape = (2, 7, c.d_model)
        assert x.shape == shape, site
        axis = 1 if site.kind == "pattern" else 2
        if site.head is not None:
            assert torch.equal(x, run.sites[site.without_head()].select(axis, site.head))


@every_model
def test_the_stream_is_the_sum_of_what_heads_and_mlps_write(name):
    """resid_pre + Σ_h z_h W_O^h + bias = resid_mid, and + mlp_out = resid_post = the next layer's resid_pre."""
    model = decoder(name)
    seen = model.run(random_tokens(2, 7), capture=all_sites(model.config)).sites
    for layer in model.layers:
        at = layer.index
        by_head = layer.o.weight.unflatten(1, (model.config.n_heads, -1))
        z = seen[Site(at, "z")]
        written = sum(z[:, :, head] @ by_head[:, head].T for head in range(model.config.n_heads))
        if layer.o.bias is not None:
            written = written + layer.o.bias
        if model.config.post_norms:
            written = layer.post1(written)
        assert close(written, seen[Site(at, "attn_out")])
        resid_mid = seen[Site(at, "resid_pre")] + seen[Site(at, "attn_out")]
        assert close(resid_mid + seen[Site(at, "mlp_out")], seen[Site(at, "resid_post")])
        if at + 1 < model.config.n_layers:
            assert torch.equal(seen[Site(at, "resid_post")], seen[Site(at + 1, "resid_pre")])


@every_model
def test_z_is_the_pattern_times_v(name):
    model = decoder(name)
    seen = model.run(random_tokens(2, 7), capture=all_sites(model.config)).sites
    group = model.config.n_heads // model.config.n_kv_heads
    for head in range(model.config.n_heads):
        z = seen[Site(1, "pattern", head)] @ seen[Site(1, "v", head // group)]
        assert close(z, seen[Site(1, "z", head)])


# --- patches ---------------------------------------------------------------------------------------------------------


@every_model
def test_patching_a_run_with_itself_changes_nothing(name):
    model, tokens = decoder(name), random_tokens(2, 7)
    plain = model.run(tokens, capture=all_sites(model.config))
    for site, value in plain.sites.items():
        again = model.run(tokens, patches=[Patch(site, value)]).logits
        assert torch.equal(again, plain.logits), site
    at_once = [Patch(site, value) for site, value in plain.sites.items()]
    assert torch.equal(model.run(tokens, patches=at_once).logits, plain.logits)


@every_model
def test_every_site_is_live(name):
    """An edit of any site, whole or of one head, in any layer, moves the logits."""
    model, tokens = decoder(name), random_tokens(2, 7)
    plain = model(tokens)
    draw = torch.Generator().manual_seed(3)
    for site in all_sites(model.config):

        def edited(x):
            return x + torch.randn(x.shape, generator=draw)

        assert not close(model.run(tokens, patches=[Patch(site, edited)]).logits, plain, 1e-3), site


@two_models
@every_kind
def test_one_runs_activations_in_another(name, kind):
    """A patched site is what is captured there, and only what comes after it changes."""
    model, clean, corrupt = decoder(name), random_tokens(2, 7), random_tokens(2, 7, seed=5)
    there = Site(1, kind)
    value = model.run(corrupt, capture=[there]).sites[there]
    plain = model.run(clean, capture=all_sites(model.config))
    patched = model.run(clean, patches=[Patch(there, value)], capture=all_sites(model.config))
    assert torch.equal(patched.sites[there], value)
    for site in all_sites(model.config):
        if site.layer < 1 or (site.layer == 1 and KINDS.index(site.kind) < min(KINDS.index(kind), 1)):
            assert torch.equal(patched.sites[site], plain.sites[site]), site
    assert not close(patched.logits, plain.logits, 1e-3)


@every_model
def test_the_whole_stream_of_another_run_is_that_run(name):
    model, clean, corrupt = decoder(name), random_tokens(2, 7), random_tokens(2, 7, seed=5)
    for kind in ("resid_pre", "resid_post"):
        value = model.run(corrupt, capture=[Site(1, kind)]).sites[Site(1, kind)]
        assert torch.equal(model.run(clean, patches=[Patch(Site(1, kind), value)]).logits, model(corrupt))


@two_models
@every_kind
@pytest.mark.parametrize("one_head", [False, True])
def test_where_selects_positions(name, kind, one_head):
    model, tokens = decoder(name), random_tokens(2, 7)
    site = Site(1, kind, 0 if one_head and kind in HEAD_KINDS else None)
    plain = model.run(tokens, capture=[site]).sites[site]
    where = torch.zeros(2, 7, dtype=torch.bool)
    where[0, 2] = where[1, 4] = where[1, 6] = True
    zero = Patch(site, torch.zeros(()), where)
    after = model.run(tokens, patches=[zero], capture=[site]).sites[site]
    # positions first: of a whole pattern they are the rows, behind the heads
    rows, plain_rows = (x.transpose(1, 2) if kind == "pattern" and site.head is None else x for x in (after, plain))
    assert (rows[where] == 0).all()
    assert torch.equal(rows[~where], plain_rows[~where])
    nowhere = model.run(tokens, patches=[Patch(site, torch.zeros(()), torch.zeros_like(where))])
    assert torch.equal(nowhere.logits, model(tokens))


@every_model
def test_a_patch_of_one_head_leaves_the_others(name):
    model, tokens = decoder(name), random_tokens(2, 7)
    for kind in HEAD_KINDS:
        for head in range(heads_of(model.config, kind)):
            whole = Site(1, kind)
            plain = model.run(tokens, capture=[whole]).sites[whole]
            patched = model.run(tokens, patches=[Patch(Site(1, kind, head), lambda x: x + 1)], capture=[whole])
            axis = 1 if kind == "pattern" else 2
            moved = (patched.sites[whole] - plain).abs().transpose(0, axis).flatten(1).amax(1) > 0.5
            assert moved.tolist() == [other == head for other in range(len(moved))]


def test_a_key_value_head_serves_its_block_of_query_heads():
    model, tokens = decoder("shared keys"), random_tokens(2, 7)
    z = Site(0, "z")
    plain = model.run(tokens, capture=[z]).sites[z]
    patched = model.run(tokens, patches=[Patch(Site(0, "v", 1), lambda v: v + 1)], capture=[z]).sites[z]
    assert torch.equal(patched[:, :, :2], plain[:, :, :2])
    assert close(patched[:, :, 2:], plain[:, :, 2:] + 1)


def test_patches_of_one_site_are_applied_in_order():
    model, tokens = decoder("shared keys"), random_tokens(2, 7)
    site = Site(1, "z", 2)
    plus, twice = Patch(site, lambda x: x + 1), Patch(Site(1, "z"), lambda x: x * 2)
    plain = model.run(tokens, capture=[site]).sites[site]
    assert close(model.run(tokens, patches=[plus, twice], capture=[site]).sites[site], (plain + 1) * 2)
    assert close(model.run(tokens, patches=[twice, plus], capture=[site]).sites[site], plain * 2 + 1)


@every_model
def test_a_patched_pattern_moves_what_the_head_reads(name):
    """All attention on the first token: z is that token's v at every position."""
    model, tokens = decoder(name), random_tokens(2, 7)
    first = torch.zeros(7, 7)
    first[:, 0] = 1
    run = model.run(tokens, patches=[Patch(Site(1, "pattern", 3), first)], capture=[Site(1, "v"), Site(1, "z", 3)])
    v = run.sites[Site(1, "v")][:, 0, -1]
    assert close(run.sites[Site(1, "z", 3)], v[:, None].expand(-1, 7, -1))


@every_model
def test_patches_work_on_a_past(name):
    model, shared, rest = decoder(name), random_tokens(1, 4, seed=2), random_tokens(2, 5)
    tokens = torch.cat([shared.expand(2, -1), rest], 1)
    after = (torch.arange(9) >= 4).expand(2, -1)
    for kind in KINDS:
        if kind != "pattern":
            past = model.run(rest, past=model.prefill(shared), patches=[Patch(Site(1, kind), lambda x: x * 0.5)])
            whole = model.run(tokens, patches=[Patch(Site(1, kind), lambda x: x * 0.5, after)])
            assert close(past.logits, whole.logits[:, 4:]), kind


@every_model
def test_gradients_reach_a_patch(name):
    model, tokens = decoder(name), random_tokens(2, 7)
    for kind in KINDS:
        site = Site(1, kind)
        value = model.run(tokens, capture=[site]).sites[site].clone().requires_grad_()
        model.run(tokens, patches=[Patch(site, value)]).logits.square().mean().backward()
        assert value.grad.abs().max() > 0, kind
    assert all(weight.grad is None for weight in model.parameters())


@every_model
def test_nothing_is_left_on_the_model(name):
    model, tokens = decoder(name), random_tokens(2, 7)
    before = copy.deepcopy(model.state_dict())
    attributes = {path: sorted(vars(part)) for path, part in model.named_modules()}
    plain = model(tokens)
    patches = [Patch(site, lambda x: x * 0 + 1) for site in all_sites(model.config)]
    model.run(tokens, patches=patches, capture=all_sites(model.config), past=model.prefill(tokens[:1]))
    assert torch.equal(model(tokens), plain)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert {path: sorted(vars(part)) for path, part in model.named_modules()} == attributes
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_a_captured_activation_is_not_changed_by_later_patches():
    model, tokens = decoder("shared keys"), random_tokens(2, 7)
    site = Site(0, "z", 1)
    first = model.run(tokens, capture=[site]).sites[site]
    kept = first.clone()
    model.run(tokens, patches=[Patch(site, first), Patch(site, lambda x: x * 0)])
    assert torch.equal(first, kept)


# --- what is refused -------------------------------------------------------------------------------------------------

REFUSED = {
    "layer": (Site(3, "z"), torch.zeros(()), None, "layers 0 to 2"),
    "head": (Site(0, "z", 4), torch.zeros(()), None, "heads 0 to 3"),
    "kv head": (Site(0, "v", 2), torch.zeros(()), None, "heads 0 to 1"),
    "width": (Site(0, "z"), torch.zeros(2, 7, 4, 9), None, "shape (2, 7, 4, 9) does not fit (2, 7, 4, 8)"),
    "head axis": (Site(0, "z", 1), torch.zeros(2, 7, 4, 8), None, "does not fit (2, 7, 8)"),
    "positions": (Site(0, "resid_pre"), torch.zeros(2, 6, 24), None, "does not fit (2, 7, 24)"),
    "where": (Site(0, "resid_pre"), torch.zeros(()), torch.ones(2, 6, dtype=torch.bool), "with where (2, 6)"),
    "where, pattern": (Site(0, "pattern"), torch.zeros(()), torch.ones(2, 6, dtype=torch.bool), "with where (2, 6)"),
    "function": (Site(0, "z"), lambda x: x[:, 1:], None, "shape (2, 6, 4, 8) does not fit"),
    "no tensor": (Site(0, "z"), lambda x: None, None, "must be a tensor, got NoneType"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_patch_that_does_not_fit_is_refused(name):
    site, value, where, message = REFUSED[name]
    with pytest.raises(CutawayError) as caught:
        decoder("shared keys").run(random_tokens(2, 7), patches=[Patch(site, value, where)])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_captured_site_the_model_has_not_is_refused():
    with pytest.raises(CutawayError, match="layers 0 to 2"):
        decoder("shared keys").run(random_tokens(2, 7), capture=[Site(7, "z")])


def test_a_past_of_the_wrong_batch_is_refused():
    model = decoder("shared keys")
    with pytest.raises(CutawayError, match="a past of 2 rows cannot serve 3 rows"):
        model.run(random_tokens(3, 5), past=model.prefill(random_tokens(2, 4)))

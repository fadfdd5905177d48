"""Attention, direct effects, letter matrices and positional experiments against plain computations."""

import pytest
import torch

import cutaway
from cutaway import Patch, Site
from cutaway.circuits.behaviors.acronyms import LETTERS, Acronyms, letter_ids
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.explain.attention import attention, patterns
from cutaway.circuits.explain.direct import direct
from cutaway.circuits.explain.letters import copying_score, ov_letters, spellings
from cutaway.circuits.explain.positional import (
    exchange_first,
    exchanged_positions,
    first_token_effects,
    places,
    positional,
)
from cutaway.circuits.metrics import scorer
from cutaway.decoder.planted import truth

NAME = "planted:acronyms@2"


@pytest.fixture(scope="module")
def model():
    return cutaway.load(NAME)


@pytest.fixture(scope="module")
def behavior(model):
    return acronyms(model.tokenizer, Acronyms(n=6, seed=3))


def heads(role: str) -> list[Site]:
    return [site for site, name in truth(NAME).items() if name == role]


def test_attention_to_roles_is_the_pattern_summed_over_the_tokens_of_a_role(model, behavior):
    looks = attention(model, behavior)
    row, step = 2, 1
    prompts = behavior.clean
    length = int(prompts.mask[row].sum())
    for site in heads("letter mover"):
        means = []
        for row in range(len(behavior)):
            length = int(prompts.mask[row].sum())
            kept = model.run(prompts.tokens[row : row + 1, :length], capture=[Site(site.layer, "pattern")]).sites
            pattern = kept[Site(site.layer, "pattern")][0, site.head, prompts.steps[row, step]]
            names = [behavior.slots[i][0] for i in prompts.slots[row, :length].tolist()]
            means.append(sum(p for p, name in zip(pattern.tolist(), names, strict=True) if name == "C2"))
        assert looks.of(site, step)["C2"] == pytest.approx(sum(means) / len(means), abs=1e-6)
    assert looks.to_role.sum(-1) == pytest.approx(torch.ones(looks.to_role.shape[:-1]), abs=1e-5)


def test_previous_token_heads_show_in_the_attention(model, behavior):
    looks = attention(model, behavior)
    for site in heads("previous-token"):
        assert looks.previous[site.layer, site.head] > 0.9
        assert looks.nearby[site.layer, site.head] >= looks.previous[site.layer, site.head] - 1e-6


def test_direct_effects_add_up_to_the_logit_difference(model, behavior):
    """Without norms the logits are the sum of what embeddings, heads and MLPs write: the heads' share must be exactly theirs."""
    score = scorer(behavior)
    run = model.run(behavior.clean.tokens, scored=behavior.clean.steps, columns=score.columns)
    every = [Site(layer, "z") for layer in range(model.config.n_layers)]
    bare = model.run(
        behavior.clean.tokens,
        patches=[Patch(site, torch.tensor(0.0)) for site in every],
        scored=behavior.clean.steps,
        columns=score.columns,
    )
    rival = run.logits.gather(-1, score.alternatives).argmax(-1, keepdim=True)

    def difference(logits):
        right = logits.gather(-1, score.answer[..., None])
        return (right - logits.gather(-1, score.alternatives).gather(-1, rival)).squeeze(-1).mean(0)

    # the planted MLPs write where nobody reads, so that what heads write directly is all there is
    expected = difference(run.logits) - difference(bare.logits)
    assert direct(model, behavior).logit_diff.sum((0, 1)) == pytest.approx(expected, abs=1e-3)


def test_movers_copy_and_others_do_not(model, behavior):
    writes = direct(model, behavior)
    for site, role in truth(NAME).items():
        top = writes.copy_top[site.layer, site.head]
        assert (top == 1).all() if role == "letter mover" else (top < 0.5).all()


def test_letter_matrices_are_the_products_of_the_weights(model):
    site = heads("letter mover")[0]
    bare, spaced = spellings(model)
    c, layer = model.config, model.layers[site.layer]
    rows = slice(site.head * c.d_head, (site.head + 1) * c.d_head)
    W_V, W_O = layer.v.weight[rows], layer.o.weight[:, rows]
    quadrants = ov_letters(model, [site])
    x, y = LETTERS.index("K"), LETTERS.index("Q")
    for name, sources, targets in (
        ("|X| → |X|", bare, bare),
        ("|_X| → |X|", spaced, bare),
        ("|X| → |_X|", bare, spaced),
    ):
        plain = model.embed.weight[sources[x]] @ W_V.T @ W_O.T @ model.W_U[targets[y]]
        assert quadrants[name].matrix[x, y].item() == pytest.approx(plain.item(), abs=1e-4)
    both = ov_letters(model, heads("letter mover"))
    alone = [ov_letters(model, [s])["|_X| → |X|"].matrix for s in heads("letter mover")]
    assert both["|_X| → |X|"].matrix == pytest.approx(sum(alone), abs=1e-4)


def test_copying_scores_are_shares(model):
    for score in copying_score(model, heads("letter mover")[0]).values():
        assert 0 <= score <= 1
    assert len(letter_ids(model.tokenizer)) == 26


def test_positions_are_exchanged_at_the_first_token_of_each_word(behavior):
    ids = exchanged_positions(behavior, ("C1", "C3"))
    a, b = places(behavior, "C1"), places(behavior, "C3")
    for row in range(len(behavior)):
        expected = list(range(ids.shape[1]))
        expected[a[row]], expected[b[row]] = expected[b[row]], expected[a[row]]
        assert ids[row].tolist() == expected


def test_the_first_token_swap_exchanges_one_column_of_two_rows():
    torch.manual_seed(0)
    pattern = torch.rand(2, 3, 5, 5)
    a, b = torch.tensor([1, 2]), torch.tensor([3, 4])
    out = exchange_first(pattern, a, b)
    for row in range(2):
        assert (out[row, :, a[row], 0] == pattern[row, :, b[row], 0]).all()
        assert (out[row, :, b[row], 0] == pattern[row, :, a[row], 0]).all()
    changed = out != pattern
    assert changed.sum() == 2 * 3 * 2
    assert not changed[..., 1:].any()
    assert (exchange_first(pattern[:, 0], a, b) == out[:, 0]).all()  # one head at a time gives the same


def test_first_token_effects_equal_patching_one_head_at_a_time(model, behavior):
    pair = ("C1", "C2")
    effects = first_token_effects(model, behavior, pair)
    score = scorer(behavior)
    a, b = (places(behavior, role) for role in pair)

    def measure(patches=()):
        run = model.run(behavior.clean.tokens, patches=patches, scored=behavior.clean.steps, columns=score.columns)
        return score.logit_diff(run.logits)

    before = measure()
    for site in list(truth(NAME))[:3]:
        patch = Patch(Site(site.layer, "pattern", site.head), lambda pattern: exchange_first(pattern, a, b))
        assert effects.of(site) == pytest.approx(measure([patch]) - before, abs=1e-4)


def test_the_planted_movers_do_not_care_for_positions_of_words_beyond_previous_tokens(model, behavior):
    movers = heads("letter mover")
    found = positional(model, behavior, movers, pairs=[("C1", "C3")])
    by_name = {swap.condition: swap for swap in found.swaps}
    assert set(by_name) == {"clean", "positions", "first", "both"}
    clean = by_name["clean"].attention
    for step in range(3):
        assert (clean[:, step].argmax(-1) == step).all()
    assert by_name["clean"].logit_diff == pytest.approx(
        scorer(behavior)
        .logit_diff(
            model.run(behavior.clean.tokens, scored=behavior.clean.steps, columns=scorer(behavior).columns).logits
        )
        .mean(0),
        abs=1e-5,
    )


def test_patterns_rows_sum_to_one(model, behavior):
    assert patterns(model, behavior.clean).sum(-1) == pytest.approx(
        torch.ones(()).expand(model.config.n_layers, 6, model.config.n_heads, behavior.clean.tokens.shape[1]), abs=1e-5
    )

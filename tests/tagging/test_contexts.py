"""Contexts: padding and batch order change nothing, words see one another as far as they should, and each against plain sums."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.tagging.contexts import balanced_tree, bilstm, cnn, gru, iterated_dilated, none, recurrent, transformer
from cutaway.tagging.parts import Context, contexts, inside

MODULES = {x.CONTEXT.name: x for x in (balanced_tree, bilstm, cnn, gru, iterated_dilated, transformer)}
SMALL = {
    "balanced_tree": {"hidden": 6},
    "bilstm": {"hidden": 6, "layers": 2},
    "cnn": {"filters": 6, "window": 3, "layers": 2},
    "gru": {"hidden": 6},
    "iterated_dilated": {"filters": 6, "turns": 2},
    "transformer": {"d_model": 8, "heads": 2, "d_mlp": 12, "far": 3},
}
WIDTH = 5


def made(name: str, **options) -> Context:
    torch.manual_seed(0)
    part = contexts()[name]
    built = part.build(WIDTH, part.options(**{**SMALL[name], **options})).eval()
    for parameter in built.parameters():  # those that begin at zero must not hide what they do
        parameter.data += 0.2 * torch.randn_like(parameter)
    return built


def batch_of(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Features that are 0 behind each end, as inputs give them."""
    features = torch.randn(len(lengths), max(lengths), WIDTH)
    held = torch.tensor(lengths)
    return features * inside(held, max(lengths))[..., None], held


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(MODULES)), st.lists(st.integers(1, 18), min_size=1, max_size=4), st.integers(0, 1000))
def test_padding_and_batch_order_change_nothing(name, lengths, seed):
    context = made(name)
    torch.manual_seed(seed)
    features, held = batch_of(lengths)
    out = context(features, held)
    assert out.shape == (len(lengths), max(lengths), context.width)
    turned = context(features.flip(0), held.flip(0)).flip(0)
    spoiled = features.masked_fill(~inside(held, features.shape[1])[..., None], 50.0)
    longer = torch.nn.functional.pad(spoiled, (0, 0, 0, 5), value=-50.0)
    for other in (turned, context(spoiled, held), context(longer, held)[:, : max(lengths)]):
        for row, n in enumerate(lengths):
            assert torch.allclose(out[row, :n], other[row, :n], atol=1e-5)
    for row, n in enumerate(lengths):
        assert torch.allclose(out[row, :n], context(features[row : row + 1, :n], held[row : row + 1])[0], atol=1e-5)
        assert (out[row, n:] == 0).all()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_gradients_reach_every_parameter(name):
    context = made(name).train()
    features, held = batch_of([7, 3])
    torch.manual_seed(1)
    out = context(features.requires_grad_(), held)
    (out * torch.randn_like(out)).sum().backward()
    for who, parameter in [*context.named_parameters(), ("features", features)]:
        assert parameter.grad is not None, who
        assert parameter.grad.abs().sum() > 0, who


def sees(context: Context, words: int) -> Tensor:
    """`[word, other]`: does what comes out at a word hang on what went in at the other?"""
    features, held = batch_of([words])
    jacobian = torch.autograd.functional.jacobian(lambda x: context(x, held).sum((0, 2)), features)
    return jacobian[:, 0].abs().sum(2) > 0


@pytest.mark.parametrize("name", ["balanced_tree", "bilstm", "gru", "transformer"])
def test_every_word_sees_the_whole_sentence(name):
    for words in (1, 5, 8):
        assert sees(made(name), words).all()


def test_how_far_convolutions_see():
    """A window of 3 in 2 layers: 2 words to each side. Dilated: each turn (1 + 2 + 4 + 1), and one of the first layer."""
    torch.manual_seed(0)
    words = 41
    distance = (torch.arange(words)[:, None] - torch.arange(words)).abs()
    assert torch.equal(sees(made("cnn", sentence=False, filters=60), words), distance <= 2)
    once = made("iterated_dilated", filters=60, turns=1)
    assert torch.equal(sees(once, words), distance <= 9)
    assert torch.equal(sees(made("iterated_dilated", filters=60, turns=2), words), distance <= 17)


def test_the_strongest_of_the_sentence_reaches_every_word():
    context = made("cnn", sentence=True)
    features, held = batch_of([6, 4])
    out = context(features, held)
    local, whole = out.chunk(2, dim=2)
    for row, n in enumerate([6, 4]):
        assert torch.equal(whole[row, :n], local[row, :n].amax(0).expand(n, -1))


def test_turns_share_their_weights():
    few, many = made("iterated_dilated", turns=1), made("iterated_dilated", turns=9)
    assert few.state_dict().keys() == many.state_dict().keys()


def test_blocks_begin_as_the_identity():
    """Turning a fresh block changes little: deep iterations start gently."""
    torch.manual_seed(0)
    context = iterated_dilated.IteratedDilated(WIDTH, iterated_dilated.Options(filters=40)).eval()
    x = torch.rand(1, 40, 9)
    assert torch.allclose(context.once(x, torch.ones(1, 1, 9, dtype=torch.bool)), x, atol=0.5)


def test_the_attention_is_its_formula():
    """One head of one layer, word by word in plain arithmetic; without the bias of the distance it is noticed."""
    context = made("transformer", layers=1, heads=1, far=2)
    layer = context.layers[0]
    x = torch.randn(1, 5, 8)
    found = layer.attention(x, torch.ones(1, 5, dtype=torch.bool))[0]
    q, k, v = layer.qkv(x)[0].chunk(3, dim=1)

    def plainly(bias: bool) -> Tensor:
        rows = []
        for i in range(5):
            offsets = [max(-2, min(2, j - i)) + 2 for j in range(5)]
            scores = [
                (q[i] @ k[j]).item() / math.sqrt(8) + bias * layer.distance[0, offsets[j]].item() for j in range(5)
            ]
            weights = [math.exp(s) / sum(map(math.exp, scores)) for s in scores]
            rows.append(sum(w * v[j] for j, w in enumerate(weights)))
        return layer.out(torch.stack(rows))

    assert torch.allclose(found, plainly(True), atol=1e-5)
    assert not torch.allclose(found, plainly(False), atol=1e-3)


def test_left_and_right_are_told_apart():
    for name in MODULES:
        context = made(name)
        features, held = batch_of([6])
        out, turned = context(features, held), context(features.flip(1), held).flip(1)
        assert not torch.allclose(out, turned, atol=1e-3), name


def test_the_tree_is_its_definition():
    """Five words by hand: ((1 2) (3 4)) 5, up and down; with left and right exchanged it is noticed."""
    context = made("balanced_tree")
    up, (down_left, down_right) = context.up, context.down
    features, held = batch_of([5])
    one, two, three, four, five = (x[None, None] for x in context.leaf(features[0]).tanh())
    left, right = up(one, two), up(three, four)
    inner = up(left, right)
    root = context.root[None, None]
    outside_inner, outside_five = down_left(root, five), down_right(root, inner)
    outside_left, outside_right = down_left(outside_inner, right), down_right(outside_inner, left)
    outside = [
        down_left(outside_left, two), down_right(outside_left, one),
        down_left(outside_right, four), down_right(outside_right, three), outside_five,
    ]  # fmt: skip
    wanted = torch.cat([torch.cat([one, two, three, four, five], 1), torch.cat(outside, 1)], 2)
    assert torch.allclose(context(features, held), wanted, atol=1e-6)
    context.down = torch.nn.ModuleList([down_right, down_left])
    assert not torch.allclose(context(features, held), wanted, atol=1e-3)


def test_a_recurrent_word_has_read_both_ways():
    """The first half at word t hangs on words up to t alone, the second on those from t on."""
    for name in ("bilstm", "gru"):
        context = made(name, layers=1)
        features, held = batch_of([6])
        changed = features.clone()
        changed[0, 3] += 1
        forward, backward = (context(features, held) - context(changed, held))[0].abs().chunk(2, dim=1)
        assert (forward[:3] == 0).all() and (forward[3:].sum(1) > 0).all(), name  # noqa: PT018
        assert (backward[4:] == 0).all() and (backward[:4].sum(1) > 0).all(), name  # noqa: PT018


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("balanced_tree", {"hidden": 0}), ("bilstm", {"layers": 0}), ("gru", {"hidden": 0}), ("cnn", {"window": 4}),
        ("cnn", {"layers": 0}), ("iterated_dilated", {"turns": 0}), ("transformer", {"heads": 3}),
        ("transformer", {"layers": 0}),
    ],
)  # fmt: skip
def test_options_out_of_range_are_one_line(name, options):
    with pytest.raises(CutawayError, match="give") as caught:
        made(name, **options)
    assert "\n" not in str(caught.value)


def test_no_context_gives_what_it_gets():
    features, held = batch_of([4, 2])
    context = none.CONTEXT.build(WIDTH, none.Options())
    assert context.width == WIDTH
    assert torch.equal(context(features, held), features)


def test_recurrent_options_are_shared():
    assert contexts()["gru"].options is contexts()["bilstm"].options is recurrent.RecurrentOptions

"""Losses of tokens, piece by piece: the values and gradients of cross entropy over everything, whatever the unembedding is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from cutaway.core.errors import CutawayError
from cutaway.core.memory import PeakMemory
from cutaway.tuning import next_token
from cutaway.tuning.attach import Attached, Beside
from cutaway.tuning.next_token import before_unembedding, next_tokens, token_losses, token_scores
from cutaway.tuning.tune import tune
from tuning.models import inputs, made

WIDTH, VOCABULARY = 6, 11


def case(batch=3, length=5, *, seed=0, dtype=torch.float64, share=0.6):
    """States, an unembedding, targets of which some are none, and what comes into the losses' backward."""
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(batch, length, WIDTH, generator=draw, dtype=torch.float64).to(dtype)
    targets = torch.randint(VOCABULARY, (batch, length), generator=draw)
    targets[torch.rand(batch, length, generator=draw) > share] = -100
    unembed = nn.Linear(WIDTH, VOCABULARY).to(dtype)
    for p in unembed.parameters():
        p.data.copy_(torch.randn(p.shape, generator=draw))
    return hidden, unembed, targets, torch.randn(batch, generator=draw)


def plain(hidden, unembed, targets):
    """All logits at once."""
    logits = unembed(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=-100).sum(1)


def gradients(losses, weights, *tensors):
    return torch.autograd.grad((losses * weights).sum(), tensors)


def same(hidden, unembed, targets, weights, *, piece=3 * VOCABULARY, tolerance=1e-6):
    """Values, and gradients to the states and all that learns in the unembedding."""
    hidden = hidden.detach().requires_grad_()
    learned = [p for p in unembed.parameters() if p.requires_grad]
    mine, theirs = token_losses(hidden, unembed, targets, piece=piece), plain(hidden, unembed, targets)
    torch.testing.assert_close(mine.sums, theirs, atol=tolerance, rtol=tolerance)
    assert torch.equal(mine.counts, (targets >= 0).sum(1))
    a, b = gradients(mine.sums, weights, hidden, *learned), gradients(theirs, weights, hidden, *learned)
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)
    return a


# --- values and gradients ---------------------------------------------------------------------------------------------


@given(
    batch=st.integers(1, 4), length=st.integers(1, 6), seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.4, 1.0]),
    rows=st.integers(0, 30), learns=st.booleans(), dtype=st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_it_is_cross_entropy_with_its_gradients(batch, length, seed, share, rows, learns, dtype):
    hidden, unembed, targets, weights = case(batch, length, seed=seed, share=share, dtype=dtype)
    if not (targets >= 0).any() and learns:
        targets[0, 0] = 1  # without any target nothing of the unembedding is asked for
    unembed.requires_grad_(learns)
    tolerance = 1e-6 if dtype == torch.float64 else 4e-6
    same(hidden, unembed, targets, weights, piece=rows * VOCABULARY, tolerance=tolerance)


@pytest.mark.parametrize("learns", [True, False])
def test_a_bias_alone_may_learn(learns):
    hidden, unembed, targets, weights = case()
    unembed.weight.requires_grad_(False)
    unembed.bias.requires_grad_(learns)
    assert len(same(hidden, unembed, targets, weights)) == 1 + learns


def test_what_learns_gets_gradients_when_states_have_none():
    hidden, unembed, targets, weights = case()
    a = gradients(token_losses(hidden, unembed, targets, piece=22).sums, weights, unembed.weight)
    b = gradients(plain(hidden, unembed, targets), weights, unembed.weight)
    torch.testing.assert_close(a, b)
    assert not token_losses(hidden, unembed.requires_grad_(False), targets).sums.requires_grad


def test_without_targets_a_loss_is_nothing_and_has_gradients_still():
    hidden, unembed, targets, _ = case()
    targets[1:] = -100
    hidden.requires_grad_()
    found = token_losses(hidden, unembed.requires_grad_(False), targets)
    assert found.sums[1:].eq(0).all()
    found.sums.sum().backward()
    assert hidden.grad[0].abs().sum() > 0
    assert hidden.grad[1:].eq(0).all()


def test_a_break_of_the_slopes_is_noticed(monkeypatch):
    right = next_token._with_slopes

    def wrong(*args):
        losses, slopes = right(*args)
        return losses, slopes.flip(0)

    monkeypatch.setattr(next_token, "_with_slopes", wrong)
    hidden, unembed, targets, weights = case()
    with pytest.raises(AssertionError):
        same(hidden, unembed.requires_grad_(False), targets, weights)


@pytest.mark.parametrize("learns", [True, False])
def test_half_precision_is_summed_in_float32(learns):
    hidden, unembed, targets, weights = case(dtype=torch.bfloat16)
    unembed.requires_grad_(learns)
    mine = token_losses(hidden.requires_grad_(), unembed, targets, piece=2 * VOCABULARY)
    assert mine.sums.dtype == torch.float32
    theirs = plain(hidden, unembed, targets)
    torch.testing.assert_close(mine.sums, theirs, atol=1e-6, rtol=1e-6)
    learned = [hidden, *(p for p in unembed.parameters() if learns)]
    a, b = gradients(mine.sums, weights, *learned), gradients(theirs, weights, *learned)
    assert all(x.dtype == torch.bfloat16 for x in a)
    torch.testing.assert_close(a, b, atol=0.06, rtol=0.02)  # pieces of a weight's gradient are rounded one by one


# --- the unembedding is called ----------------------------------------------------------------------------------------


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, weight):
        return weight * self.scale


class Slanted(Beside):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(WIDTH, VOCABULARY)

    def around(self, host, x, y):
        assert x.dim() == 3
        return y + self.map(x)


@pytest.mark.parametrize("learns", [True, False])
def test_a_parametrised_weight(learns):
    hidden, unembed, targets, weights = case()
    unembed.requires_grad_(False)
    parametrize.register_parametrization(unembed, "weight", Doubled().requires_grad_(learns))
    assert len(same(hidden, unembed, targets, weights)) == 1 + learns


def test_something_beside_it():
    hidden, unembed, targets, weights = case()
    model = nn.Sequential(unembed)
    attached = Attached(model)
    attached.beside("0", Slanted())
    assert len(same(hidden, unembed, targets, weights)) == 3
    attached.remove()


def test_what_learns_outside_of_it():
    """A hook may use parameters that the module does not own."""
    hidden, unembed, targets, weights = case()
    more = torch.ones(VOCABULARY, dtype=torch.float64, requires_grad=True)
    unembed.requires_grad_(False).register_forward_hook(lambda module, args, y: y * more)
    (a,) = gradients(token_losses(hidden, unembed, targets, piece=22).sums, weights, more)
    (b,) = gradients(plain(hidden, unembed, targets), weights, more)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("method", ["full", "lora", "bitfit", "side", "prompt", "prefix"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_models_tuned_and_with_tied_embeddings(family, method):
    """The whole model's gradients, with an embedding that is read from both ends."""
    model = made(family)
    try:
        options = {"side": {"reduction": 2, "heads": 2}, "prompt": {"tokens": 2}, "prefix": {"tokens": 2}}.get(
            method, {}
        )
        tuned = tune(model, method, **options)
    except CutawayError as error:
        return pytest.skip(str(error))
    given = inputs(family)
    targets = next_tokens(given["decoder_input_ids" if family == "t5" else "input_ids"])
    learned = list(tuned.trained().values())
    hidden, unembed = before_unembedding(tuned.model, **given)
    a = token_losses(hidden, unembed, targets, piece=120).sums
    logits = tuned.model(**given).logits
    b = cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum(1)
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    weights = torch.tensor([1.0, -0.5, 2.0])
    mine, theirs = (torch.autograd.grad((x * weights).sum(), learned, allow_unused=True) for x in (a, b))
    torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)
    assert any(x is not None and x.abs().sum() > 0 for x in mine)
    tuned.remove()


def test_the_unembedding_is_back_whatever_happens():
    model = made("gpt2")
    head, names = model.lm_head, list(model.state_dict())
    with pytest.raises(ValueError, match="specify"):
        before_unembedding(model)
    assert model.lm_head is head
    before_unembedding(model, **inputs("gpt2"))
    assert model.lm_head is head
    assert list(model.state_dict()) == names
    with pytest.raises(CutawayError, match="BertForSequenceClassification says no words"):
        before_unembedding(made("bert"))


# --- for evaluation, and what goes in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_scores_are_those_of_all_logits(rows):
    hidden, unembed, targets, _ = case(4, 9)
    found = token_scores(hidden.requires_grad_(), unembed, targets, piece=rows * VOCABULARY)
    torch.testing.assert_close(found.log_likelihoods, -plain(hidden, unembed, targets))
    assert torch.equal(found.right, (unembed(hidden).argmax(-1) == targets).sum(1))
    assert torch.equal(found.tokens, (targets >= 0).sum(1))
    assert 0 < found.right.sum() < found.tokens.sum()
    assert not found.log_likelihoods.requires_grad
    none = token_scores(hidden, unembed, torch.full_like(targets, -100))
    assert not torch.stack((none.log_likelihoods, none.tokens, none.right)).any()


def test_what_each_position_is_to_tell():
    tokens, mask = torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert next_tokens(tokens, mask).tolist() == [[6, 7, 8, -100], [6, -100, -100, -100]]
    assert next_tokens(tokens).tolist() == [[6, 7, 8, -100], [6, 0, 0, -100]]


def test_what_cannot_be_is_told():
    hidden, unembed, targets, _ = case()
    with pytest.raises(CutawayError, match="one for each position"):
        next_token._targets(hidden, targets[:, 1:])
    for wrong in (VOCABULARY, -1):
        targets[0, 0] = wrong
        for function in (token_losses, token_scores):
            with pytest.raises(CutawayError, match=f"give 0 to {VOCABULARY - 1}, or -100"):
                function(hidden, unembed, targets)


# --- what it is for ---------------------------------------------------------------------------------------------------


def peak(loss, *held):
    with PeakMemory() as memory:
        memory.hold(*held)
        loss().sum().backward()
    return memory.peak - sum(x.numel() * x.element_size() for x in held)


@pytest.mark.parametrize(("learns", "most"), [(False, 0.1), (True, 0.25)])
def test_it_never_holds_the_logits_of_all_positions(learns, most):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(4, 64, 8, generator=draw, requires_grad=True)
    unembed = nn.Linear(8, 2000, bias=False).requires_grad_(learns)
    targets = torch.randint(2000, (4, 64), generator=draw)
    held = hidden, unembed.weight, targets
    pieces = peak(lambda: token_losses(hidden, unembed, targets, piece=8 * 2000).sums, *held)
    hidden.grad = unembed.weight.grad = None
    whole = peak(lambda: plain(hidden, unembed, targets), *held)
    assert whole > 2 * 4 * 64 * 2000 * 4
    assert pieces < most * whole

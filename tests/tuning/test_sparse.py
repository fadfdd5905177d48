"""Sparse differences against dense tensors."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.places import inside
from cutaway.tuning.sparse import Scatter, Sparse, budget
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def spread(family="bert", share=0.1, at=("layer",)):
    attached = Sparse(made(family))
    attached.spread(inside(attached.host, at), share)
    return attached


def learned(attached, seed=0):
    """With values at places that were drawn."""
    draw = torch.Generator().manual_seed(seed)
    attached.choose({name: torch.rand(attached.base[name].shape, generator=draw) for name in attached.changes})
    with torch.no_grad():
        for change in attached.changes.values():
            change.values.copy_(torch.randn(len(change.values), generator=draw))
    return attached


def test_values_stand_at_their_places():
    weight = torch.randn(4, 5)
    change = Scatter(weight, torch.tensor([2, 7, 19]))
    assert torch.equal(change(weight), weight)
    with torch.no_grad():
        change.values.copy_(torch.tensor([1.0, 2.0, 3.0]))
    expected = weight.clone()
    expected[0, 2] += 1
    expected[1, 2] += 2
    expected[3, 4] += 3
    assert torch.equal(change(weight), expected)
    change.places[0] = 3  # one place wrong is noticed
    assert not torch.equal(change(weight), expected)


def test_the_highest_scores_are_chosen_over_all_weights_together():
    attached = spread()
    scores = {name: torch.zeros_like(attached.base[name]) for name in attached.changes}
    first, *_, last = scores
    k = sum(len(change.values) for change in attached.changes.values())
    scores[first].view(-1)[:5] = 1.0
    scores[last].view(-1)[-3:] = 2.0
    middle = next(name for name in scores if name.endswith("1.intermediate.dense.weight"))
    scores[middle].view(-1)[: k - 8] = 3.0
    attached.choose(scores)
    chosen = {name: change.places.tolist() for name, change in attached.changes.items() if len(change.places)}
    n = attached.base[last].numel()
    assert chosen == {first: list(range(5)), last: [n - 3, n - 2, n - 1], middle: list(range(k - 8))}
    assert not [name for name in attached.trained() if name.removesuffix(".values") not in chosen]


def test_gradients_are_those_of_the_dense_weights_at_the_places():
    plain, attached = made("bert"), learned(spread())
    with torch.no_grad():
        for name, change in attached.changes.items():
            plain.get_parameter(name).view(-1)[change.places.long()] += change.values
    logits(plain, "bert").square().mean().backward()
    logits(attached.model, "bert").square().mean().backward()
    for name, change in attached.changes.items():
        if len(change.values):
            expected = plain.get_parameter(name).grad.view(-1)[change.places.long()]
            torch.testing.assert_close(change.values.grad, expected, atol=1e-6, rtol=1e-4)


def test_tied_weights_are_changed_in_both_places_and_merged_once():
    attached = learned(spread("gpt2", at=("*.wte",)))
    with torch.no_grad():
        before = logits(attached.model, "gpt2")
    (change,) = attached.changes.values()
    expected = made("gpt2").transformer.wte.weight.detach().clone()
    expected.view(-1)[change.places.long()] += change.values.detach()
    merged = attached.merge()
    assert merged.lm_head.weight is merged.transformer.wte.weight
    assert torch.equal(merged.lm_head.weight, expected)
    with torch.no_grad():
        torch.testing.assert_close(logits(merged, "gpt2"), before)
    assert not torch.equal(expected, made("gpt2").lm_head.weight)


def test_what_is_kept_is_small_and_comes_back():
    attached, again = learned(spread()), spread()
    kept = attached.kept()
    k = sum(len(change.values) for change in attached.changes.values())
    assert sum(x.numel() * x.element_size() for x in kept.values()) == 8 * k
    again.put({name: x.clone() for name, x in kept.items()})
    with torch.no_grad():
        assert torch.equal(logits(again.model, "bert"), logits(attached.model, "bert"))
        assert not torch.equal(logits(spread().model, "bert"), logits(attached.model, "bert"))


@pytest.mark.parametrize("wrong", ["another share", "a name too many", "a shape", "a place"])
def test_what_does_not_fit_changes_nothing(wrong):
    attached = learned(spread())
    before = {name: x.clone() for name, x in attached.kept().items()}
    kept = learned(spread(share=0.2 if wrong == "another share" else 0.1), seed=1).kept()
    name = next(iter(kept))
    if wrong == "a name too many":
        kept["other"] = torch.zeros(3)
    elif wrong == "a shape":
        kept[name] = torch.zeros(len(kept[name]) + 1)
    elif wrong == "a place":
        kept[name.replace("values", "places")][-1] = 10**6
    with pytest.raises(CutawayError):
        attached.put(kept)
    assert all(torch.equal(x, before[name]) for name, x in attached.kept().items())


def test_shares_and_places():
    assert budget(1000, 0.005) == 5
    assert budget(10, 0.001) == 1
    for share in (0.0, 1.5, -0.1):
        with pytest.raises(CutawayError, match="give more than 0"):
            budget(10, share)


def test_training_without_a_choice_is_told():
    with pytest.raises(CutawayError, match="prepare"):
        spread().after_step(1, 1)


def test_what_stands_on_a_changed_weight_is_not_merged():
    attached = learned(spread())
    each = tune(attached.model, "krona", name="second")
    before = {name: x.clone() for name, x in each.attached.kept().items()}
    with pytest.raises(CutawayError, match="under this one"):
        each.merge()
    assert all(torch.equal(x, before[name]) for name, x in each.attached.kept().items())
    each.remove()
    assert torch.equal(attached.merge().get_parameter("classifier.weight"), made("bert").classifier.weight)


def test_a_head_is_not_changed_and_learned_as_a_whole_at_once():
    model = made("bert")
    with pytest.raises(CutawayError, match=r"classifier\.weight is changed by a method already"):
        tune(model, "fish_mask", at=("classifier", "layer"), also=("classifier",))
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in made("bert").named_parameters()]
    assert "classifier.weight" in tune(model, "fish_mask", also=("classifier",)).trained()


def test_one_weight_is_changed_by_one_method():
    attached = spread()
    second = Sparse(attached.model, "second")
    with pytest.raises(CutawayError, match="changed by a method already"):
        second.spread(inside(second.host, ("ffn_up",)), 0.1)
    second.remove()
    attached.remove()
    assert [name for name, _ in attached.host.named_parameters()] == [
        name for name, _ in made("bert").named_parameters()
    ]

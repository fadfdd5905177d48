"""SparseAdapter: which weights are there, by each criterion, and that the adapter is what the equation says."""

import pytest
import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.format import load_tuned
from cutaway.tuning.methods import sparse_adapter
from cutaway.tuning.methods.sparse_adapter import METHOD, STD, Options, Pruned
from cutaway.tuning.tune import tune
from tuning.models import inputs, logits, made

SMALL = {"width": 8, "at": ("ffn_down",)}
SNIP = SMALL | {"criterion": "snip", "sparsity": 0.7}


def losses(model):
    """Of each example, with arbitrary answers."""

    def of(seed):
        out = model(**inputs("bert", seed=seed)).logits
        return nn.functional.cross_entropy(out, torch.arange(3), reduction="none")

    return of


def masks(tuned):
    """Which entries of each matrix are there."""
    found = {}
    for name, each in tuned.attached.matrices():
        found[name] = torch.zeros(each.shape, dtype=torch.bool).flatten()
        found[name][each.entries.places.long()] = True
        found[name] = found[name].view(each.shape)
    return found


def test_an_adapter_is_what_the_equation_says():
    torch.manual_seed(0)
    adapter, h = Pruned(6, Options(width=4)), torch.randn(3, 6)
    matrices = []
    for half, places in (("down", [0, 5, 6, 23]), ("up", [1, 2, 20])):
        values = torch.randn(len(places))
        getattr(adapter, half).keep(torch.tensor(places), values)
        nn.init.normal_(getattr(adapter, half).bias)
        W = torch.zeros(24)
        for place, value in zip(places, values, strict=True):
            W[place] = value
        matrices.append(W.view(getattr(adapter, half).shape))
    expected = h + nn.functional.gelu(h @ matrices[0].T + adapter.down.bias) @ matrices[1].T + adapter.up.bias
    torch.testing.assert_close(adapter.around(nn.Identity(), h, h), expected)
    shifted = h + nn.functional.gelu(h @ matrices[0].roll(1).T + adapter.down.bias) @ matrices[1].T + adapter.up.bias
    assert not torch.allclose(expected, shifted, atol=1e-3), "weights in other places would be noticed"


def test_magnitude_keeps_the_largest_of_all_adapters_together():
    model = made("gpt2")
    torch.manual_seed(3)
    tuned = tune(model, METHOD.name, criterion="magnitude", sparsity=0.7, **SMALL)
    torch.manual_seed(3)
    draws = tuned.attached.draw()
    every = torch.cat([z.abs().flatten() for z in draws.values()])
    least = every.sort(descending=True).values[round(0.3 * len(every)) - 1]
    for name, mask in masks(tuned).items():
        assert torch.equal(mask, draws[name].abs() >= least)
    for name, each in tuned.attached.matrices():
        kept = draws[name].flatten()[each.entries.places.long()]
        assert torch.equal(each.entries.values.detach(), kept if name.endswith("down") else torch.zeros_like(kept))


def test_erdos_renyi_gives_a_matrix_its_share():
    torch.manual_seed(0)
    shapes = {"a": (10, 40), "b": (30, 30), "c": (2, 2)}
    scores = {name: sparse_adapter._score(torch.zeros(shape), "erdos_renyi") for name, shape in shapes.items()}
    every = torch.cat([x.flatten() for x in scores.values()])
    least = every.topk(220).values[-1]
    a, b, c = ((x >= least).sum().item() for x in scores.values())
    assert c == 4, "all of a matrix that is smaller than its share"
    assert abs(a / b - 50 / 60) < 0.02
    assert not torch.equal(scores["b"].argsort(), sparse_adapter._score(torch.zeros(30, 30), "erdos_renyi").argsort())


def test_snip_keeps_what_the_loss_feels_most():
    tuned = tune(made("bert"), METHOD.name, **SNIP)
    torch.manual_seed(4)
    tuned.prepare((0, 1), losses(tuned.model))
    found, model = masks(tuned), made("bert")

    # the same by dense adapters on a model of its own
    torch.manual_seed(4)
    draws = iter([STD * torch.randn(shape) for shape in ((8, 16), (16, 8)) * 2])
    places = {}
    for layer in range(2):
        down, up = nn.Linear(16, 8), nn.Linear(8, 16)
        with torch.no_grad():
            for half in (down, up):
                half.weight.copy_(next(draws))
                half.bias.zero_()
        host = model.bert.encoder.layer[layer].output.dense
        host.register_forward_hook(lambda m, a, y, down=down, up=up: y + up(nn.functional.gelu(down(y))))
        places |= {
            f"bert.encoder.layer.{layer}.output.dense.{n}": half.weight for n, half in (("down", down), ("up", up))
        }
    for seed in (0, 1):
        losses(model)(seed).sum().backward()
    scores = {name: (w.grad * w).abs().detach() for name, w in places.items()}
    every = torch.cat([x.flatten() for x in scores.values()])
    least = every.sort(descending=True).values[round(0.3 * len(every)) - 1]
    agree = sum((mask == (scores[name] >= least)).sum().item() for name, mask in found.items())
    assert agree >= len(every) - 4  # scores may be as good as equal
    by_size = torch.cat([w.detach().abs().flatten() for w in places.values()])
    of_size = by_size >= by_size.sort(descending=True).values[round(0.3 * len(every)) - 1]
    assert (torch.cat([m.flatten() for m in found.values()]) == of_size).float().mean() < 0.95, (
        "data unseen would be noticed"
    )


def test_snip_leaves_the_model_as_it_was():
    tuned = tune(made("bert"), METHOD.name, **SNIP)
    tuned.model.train()
    with torch.no_grad():
        tuned.model.eval()
        before = logits(tuned.model, "bert")
        tuned.model.train()
    n = tuned.count().trained
    tuned.prepare((0,), losses(tuned.model))
    assert tuned.model.training
    tuned.model.eval()
    torch.testing.assert_close(logits(tuned.model, "bert").detach(), before)
    assert tuned.count().trained == n == METHOD.count(made("bert"), tuned.options)


def test_snip_without_data_is_told():
    tuned = tune(made("bert"), METHOD.name, **SNIP)
    with pytest.raises(CutawayError, match=r"call tuned\.prepare"):
        tuned.after_step(1, 2)
    with pytest.raises(CutawayError, match="no examples"):
        tuned.prepare((), losses(tuned.model))
    tune(made("bert"), METHOD.name, **SMALL).after_step(1, 2)


def test_the_default_costs_as_much_as_a_dense_one_of_half_the_width():
    wide = METHOD.count(made("bert"), Options(width=8))
    assert wide - 4 * 4 == tune(made("bert"), "adapter", width=4).count().trained


def test_what_was_kept_comes_back(tmp_path):
    tuned = tune(made("bert"), METHOD.name, **SNIP)
    torch.manual_seed(8)
    tuned.prepare((0, 1), losses(tuned.model))
    with torch.no_grad():
        for p in tuned.trained().values():
            p.normal_(std=0.3)
    tuned.save(tmp_path / "it")
    again = load_tuned(made("bert"), tmp_path / "it")
    with torch.no_grad():
        torch.testing.assert_close(logits(again.model, "bert"), logits(tuned.model, "bert"))
    again.after_step(1, 1)
    other = tune(made("bert"), METHOD.name, **(SNIP | {"sparsity": 0.5}))
    before = masks(other)
    with pytest.raises(CutawayError, match="were kept, wanted are"):
        other.attached.put(tuned.attached.kept())
    assert all(torch.equal(mask, before[name]) for name, mask in masks(other).items())


@pytest.mark.parametrize(
    ("options", "told"), [({"sparsity": 1.0}, "less than 1"), ({"width": 16}, "less than the model's")]
)
def test_what_cannot_be_is_told(options, told):
    with pytest.raises(CutawayError, match=told):
        tune(made("bert"), METHOD.name, **(SMALL | options))

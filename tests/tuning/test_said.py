"""SAID against projections written out as matrices."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.said import METHOD, Projected, Shared, hadamard
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def walsh(n):
    """H[i, j] = −1 to the number of ones that i and j share in binary."""
    return torch.tensor([[(-1.0) ** (i & j).bit_count() for j in range(n)] for i in range(n)])


def matrix(each, entries):
    """P, block below block."""
    n = each.shared.n
    h, order = walsh(n), torch.eye(n)[each.order]
    rows = [h @ g.diag() @ order @ h / n**0.5 @ b.float().diag() for b, g in zip(each.signs, each.gauss, strict=True)]
    return torch.cat(rows)[:entries, : len(each.shared.theta)] / entries**0.5


@pytest.mark.parametrize(("d", "shape"), [(13, (5, 9)), (8, (3,)), (2, (7, 1)), (33, (10, 20))])
def test_it_is_the_projection_without_building_it(d, shape):
    weight, scale = torch.zeros(shape), torch.nn.Parameter(torch.tensor(0.5))
    each = Projected(Shared(d), scale, weight, torch.Generator().manual_seed(1))
    torch.nn.init.normal_(each.shared.theta)
    p = matrix(each, weight.numel())
    torch.testing.assert_close(each(weight), 0.5 * (p @ each.shared.theta).view(shape))

    by = torch.randn(shape)
    (each(weight) * by).sum().backward()
    learned, right = (each.shared.theta.grad, scale.grad), (each.shared.theta.grad.clone(), scale.grad.clone())
    theta, factor = each.shared.theta.detach().requires_grad_(), torch.tensor(0.5, requires_grad=True)
    (factor * (p @ theta).view(shape) * by).sum().backward()
    torch.testing.assert_close(learned, (theta.grad, factor.grad))

    each.order = each.order.roll(1)  # another order is noticed, there and back
    each.zero_grad()
    changed = each(weight)
    (changed * by).sum().backward()
    assert not torch.allclose(changed, 0.5 * (p @ theta).view(shape))
    assert not torch.allclose(each.shared.theta.grad, right[0])


def test_walsh_hadamard_matrices():
    for power in range(5):
        assert torch.equal(hadamard(power), walsh(2**power))


def test_lengths_are_kept_in_the_mean():
    theta = torch.randn(50)
    draw, lengths = torch.Generator().manual_seed(0), []
    for _ in range(200):
        each = Projected(Shared(50), torch.nn.Parameter(torch.ones(())), torch.zeros(20, 30), draw)
        with torch.no_grad():
            each.shared.theta.copy_(theta)
        lengths.append(each(torch.zeros(20, 30)).square().sum().item())
    assert sum(lengths) / 200 == pytest.approx(theta.square().sum().item(), rel=0.05)


def test_layers_share_a_scale_and_all_share_the_numbers():
    each = tune(made("t5"), "said", dimension=100)
    learned = each.trained()
    assert sorted(p.numel() for p in learned.values()) == [1, 1, 1, 1, 96]
    changes = each.attached.changes
    assert len({id(change.shared) for change in changes.values()}) == 1
    by_layer = {name.split(".layer.")[0]: id(change.scale) for name, change in changes.items()}
    assert len(set(by_layer.values())) == len(by_layer) == 4
    assert all(by_layer[name.split(".layer.")[0]] == id(change.scale) for name, change in changes.items())


def test_what_is_kept_is_what_learns_and_the_seed_gives_the_rest():
    def said(seed):
        each = tune(made("bert"), "said", dimension=100, seed=seed)
        with torch.no_grad():
            for p in each.trained().values():
                p.fill_(1.0)
            return logits(each.model, "bert"), sum(x.numel() for x in each.attached.kept().values())

    torch.manual_seed(5)
    one, kept = said(0)
    torch.manual_seed(6)
    assert kept == 100
    assert torch.equal(one, said(0)[0])
    assert not torch.allclose(one, said(1)[0])


def test_a_dimension_below_the_number_of_layers():
    with pytest.raises(CutawayError, match="give more than 2"):
        tune(made("bert"), METHOD.name, dimension=2)

"""A threshold mask: which entries are on, where the gradient goes, one bit each on disk."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.format import load_tuned
from cutaway.tuning.methods.threshold_mask import METHOD, Masked, Options
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def test_weights_below_the_threshold_are_off_and_others_exactly_themselves():
    weight = torch.randn(3, 4)
    each = Masked(weight, Options(threshold=0.1))
    with torch.no_grad():
        each.scores.copy_(torch.linspace(0, 0.2, 12).view(3, 4))
    on = torch.tensor([x >= 0.1 for x in each.scores.flatten().tolist()]).view(3, 4)
    assert torch.equal(each(weight), torch.where(on, weight, torch.zeros(())))
    assert 0 < int(on.sum()) < 12


def test_the_gradient_goes_through_as_if_the_mask_were_the_score():
    weight, by = torch.randn(3, 4), torch.randn(3, 4)
    each = Masked(weight, Options(sparsity=0.5))
    (each(weight) * by).sum().backward()
    torch.testing.assert_close(each.scores.grad, weight * by)  # of W ⊙ M by M
    on = (each.scores >= 0.01).float()
    assert not torch.allclose(each.scores.grad, weight * by * on)  # entries that are off have one, too


@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.5])
def test_so_many_are_off_at_the_beginning(sparsity):
    torch.manual_seed(0)
    each = tune(made("llama"), METHOD.name, sparsity=sparsity)
    off = torch.cat(
        [(change(torch.ones_like(change.scores)) == 0).flatten() for change in each.attached.changes.values()]
    )
    assert float(off.float().mean()) == pytest.approx(sparsity, abs=4 * (sparsity / len(off)) ** 0.5)
    assert len(off) == each.count().trained == METHOD.count(made("llama"), Options())


def test_on_disk_it_is_one_bit_each(tmp_path):
    each = tune(made("bert"), METHOD.name, sparsity=0.3, also=("classifier",))
    packed = {name: x for name, x in each.attached.to_disk().items() if name.endswith("scores")}
    assert sum(x.numel() for x in packed.values()) * 8 == METHOD.count(made("bert"), Options())
    assert {x.dtype for x in packed.values()} == {torch.uint8}
    each.save(tmp_path / "run")
    again = load_tuned(made("bert"), tmp_path / "run")
    with torch.no_grad():
        assert torch.equal(logits(again.model, "bert"), logits(each.model, "bert"))
        assert not torch.equal(logits(each.model, "bert"), logits(made("bert"), "bert"))


def test_bits_of_a_weight_that_does_not_fill_its_bytes():
    each = Masked(torch.ones(3, 3), Options(sparsity=0.5))
    with torch.no_grad():
        each.scores.copy_(torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 0, 1]]))
    assert each.bits().tolist() == [0b00001101, 0b00000001]
    assert torch.equal(each.scores_of(each.bits()) >= each.threshold, each.scores >= each.threshold)
    with pytest.raises(CutawayError, match="3 bytes, wanted are 2"):
        each.scores_of(torch.zeros(3, dtype=torch.uint8))


def test_options_that_make_no_sense():
    for options in ({"sparsity": 1.0}, {"sparsity": -0.1}, {"width": 0.0}):
        with pytest.raises(CutawayError, match="give 0 or more below 1"):
            tune(made("bert"), METHOD.name, **options)

"""Compacter against matrices put together with Kronecker products."""

import pytest
import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.compacter import PHM
from cutaway.tuning.methods.compacter_plus import METHOD as PLUS
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def whole(layer: PHM) -> torch.Tensor:
    """Σᵢ Aᵢ ⊗ Sᵢ Tᵢᵀ as one matrix."""
    return sum(torch.kron(A, S @ T.T) for A, S, T in zip(layer.shared, layer.S, layer.T, strict=True))


def layer(into=12, out=8, n=4, rank=2) -> PHM:
    torch.manual_seed(0)
    return PHM(nn.Parameter(torch.randn(n, n, n)), into, out, rank)


def test_the_layer_is_the_sum_of_kronecker_products():
    phm, x = layer(), torch.randn(2, 5, 12)
    nn.init.normal_(phm.bias)
    torch.testing.assert_close(phm(x), x @ whole(phm).T + phm.bias, atol=1e-5, rtol=1e-4)


def test_factors_in_the_wrong_order_would_be_noticed():
    phm, x = layer(), torch.randn(3, 12)
    swapped = sum(torch.kron(S @ T.T, A) for A, S, T in zip(phm.shared, phm.S, phm.T, strict=True))
    assert not torch.allclose(phm(x), x @ swapped.T, atol=1e-2)


def test_the_second_factors_have_the_rank_that_was_asked_for():
    for rank in (1, 2):
        phm = layer(rank=rank)
        assert all(torch.linalg.matrix_rank(S @ T.T) == rank for S, T in zip(phm.S, phm.T, strict=True))


def test_all_adapters_share_the_first_factors_and_nothing_else():
    tuned = tune(made("gpt2"), "compacter", width=4, products=2)
    shared = {id(phm.shared) for phm in tuned.model.modules() if isinstance(phm, PHM)}
    assert len(shared) == 1
    assert sum(name.endswith("shared") for name in tuned.trained()) == 1
    assert sum(name.endswith("shared") for name in tuned.attached.kept()) == 1
    own = [id(phm.S) for phm in tuned.model.modules() if isinstance(phm, PHM)]
    assert len(own) == len(set(own)) == 8


def test_what_is_shared_stays_shared_on_the_way_to_another_precision():
    tuned = tune(made("gpt2"), "compacter", width=4, products=2)
    tuned.model.double()
    assert len({id(phm.shared) for phm in tuned.model.modules() if isinstance(phm, PHM)}) == 1


def test_an_adapter_adds_what_the_equation_says():
    model = made("bert")
    tuned = tune(model, "compacter", at=("bert.encoder.layer.1.output.dense",), width=8, products=2, rank=2)
    (adapter,) = tuned.attached.besides.values()
    with torch.no_grad():
        for p in adapter.parameters():
            p.normal_(generator=torch.Generator().manual_seed(3))
        host = model.bert.encoder.layer[1].output.dense
        x = torch.randn(2, 32)
        y = nn.functional.linear(x, host.weight, host.bias)
        inner = nn.functional.gelu(y @ whole(adapter.down).T + adapter.down.bias)
        torch.testing.assert_close(host(x), y + inner @ whole(adapter.up).T + adapter.up.bias, atol=1e-3, rtol=1e-4)


def test_compacter_plus_is_compacter_behind_the_feed_forward_block():
    torch.manual_seed(2)
    plus = tune(made("llama"), PLUS.name, width=4, products=2)
    assert {name.rpartition(".")[2] for name in plus.attached.besides} == {"down_proj"}
    torch.manual_seed(2)
    plain = tune(made("llama"), "compacter", at=("ffn_down",), width=4, products=2)
    for tuned in (plus, plain):
        with torch.no_grad():
            for p in tuned.trained().values():
                p.add_(0.1)
    torch.testing.assert_close(logits(plus.model, "llama"), logits(plain.model, "llama"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"products": 3}, "must divide"),
        ({"products": 0}, "at least 1"),
        ({"width": 16}, "larger"),
        ({"rank": 3}, "at most 2"),
    ],
)
def test_numbers_that_do_not_fit_are_told(options, told):
    model = made("gpt2")
    with pytest.raises(CutawayError, match=told):
        tune(model, "compacter", **({"width": 4, "products": 2} | options))
    assert not hasattr(model, "tuned_with")

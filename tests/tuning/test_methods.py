"""What every method has to keep, on every family of models.

At the beginning the model says what it said; only what is declared moves, and all of that does; counts are the formula's; off and
remove give the model back; merged and unmerged say the same; what is kept comes back.
"""

import copy

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import methods
from cutaway.tuning.tune import Tuned, tune
from tuning.models import FAMILIES, logits, made

SMALL: dict[str, dict] = {
    "prefix": {"tokens": 5},
    "p_tuning": {"tokens": 5, "hidden": 12},
    "prompt": {"tokens": 5},
    "vera": {"rank": 24},
    "fourierft": {"frequencies": 20},
    "randlora": {"rank": 4},
    "oft": {"block": 4},
    "adalora": {"start_rank": 4, "rank": 3},
    "adamix": {"width": 4, "experts": 2},
    "adapter": {"width": 4},
    "adapter_drop": {"width": 4, "first": 1},
    "compacter": {"width": 12, "products": 4, "rank": 3},
    "compacter_plus": {"width": 12, "products": 4, "rank": 3},
    "mam": {"length": 3, "width": 4},
    "parallel_adapter": {"width": 4},
    "propelt": {"width": 4},
    "residual_adapter": {"width": 4},
    "side": {"reduction": 2, "heads": 2},
    "sparse_adapter": {"width": 8},
    "unipelt": {"rank": 2, "length": 3, "width": 4},
    "last_layers": {"layers": 1},
}
"""Options for models of 16 dimensions, where the defaults are too large."""
STILL = ("self.key.bias",)
"""What cannot move: attention is the same whatever is added to all its scores."""
CELLS = [pytest.param(family, name, id=f"{name}, {family}") for name in methods() for family in FAMILIES]


def tuned(family: str, name: str) -> Tuned:
    """Skips where the method says that it cannot work on the family."""
    model = made(family)
    torch.manual_seed(1)
    try:
        return tune(model, name, **SMALL.get(name, {}))
    except CutawayError as error:
        pytest.skip(str(error))


def losses(model: torch.nn.Module, family: str, seed: int) -> torch.Tensor:
    """The loss of each of a few examples, with arbitrary answers."""
    out = logits(model, family, seed=seed)
    target = torch.randint(3, out.shape[:-1], generator=torch.Generator().manual_seed(seed))
    each = torch.nn.functional.cross_entropy(out.flatten(0, -2), target.flatten(), reduction="none")
    return each.view(len(out), -1).mean(1)


def trained(each: Tuned, family: str, steps: int = 3) -> None:
    """A few steps towards arbitrary answers."""
    optimizer = torch.optim.Adam(each.trained().values(), lr=0.03)
    target = torch.randint(3, logits(each.model, family).shape[:-1], generator=torch.Generator().manual_seed(0))
    each.model.train()
    for m in each.model.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
    for step in range(1, steps + 1):
        out = logits(each.model, family)
        loss = torch.nn.functional.cross_entropy(out.flatten(0, -2), target.flatten())
        if (more := each.loss()) is not None:
            loss = loss + more
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        each.after_step(step, steps)
    each.model.eval()


@pytest.mark.parametrize(("family", "name"), CELLS)
def test_a_method_keeps_what_it_says(family, name):
    plain = made(family)
    each = tuned(family, name)
    record = each.method
    with torch.no_grad():
        before = logits(plain, family)
    own = {key: p.detach().clone() for key, p in plain.state_dict().items()}

    if record.needs_data:
        each.prepare((0, 1), lambda seed: losses(each.model, family, seed))

    # at the beginning
    with torch.no_grad():
        start = logits(each.model, family)
    if record.starts_unchanged:
        torch.testing.assert_close(start, before, atol=1e-6, rtol=1e-5)
    assert each.count().trained == record.count(made(family), each.options) > 0
    learning = {id(p) for p in each.model.parameters() if p.requires_grad}
    assert learning == {id(p) for p in each.trained().values()}

    # in training
    first = {key: p.detach().clone() for key, p in each.trained().items()}
    frozen = {key: p.detach().clone() for key, p in each.model.named_parameters() if not p.requires_grad}
    trained(each, family)
    still = [key for key, p in each.trained().items() if torch.equal(p, first[key]) and not key.endswith(STILL)]
    assert not still, f"did not move: {still}"
    assert all(torch.equal(p, frozen[key]) for key, p in each.model.named_parameters() if key in frozen), (
        "frozen ones moved"
    )
    assert all(p.grad is None for p in each.model.parameters() if not p.requires_grad)
    with torch.no_grad():
        learned = logits(each.model, family)
    assert not torch.allclose(learned, before, atol=1e-4)

    # kept and put back
    again = tuned(family, name)
    again.attached.put({key: x.clone() for key, x in each.attached.kept().items()})
    with torch.no_grad():
        torch.testing.assert_close(logits(again.model, family), learned, atol=1e-6, rtol=1e-5)

    # off, merged, removed
    with each.off(), torch.no_grad():
        torch.testing.assert_close(logits(each.model, family), before, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(logits(each.model, family), learned, atol=1e-6, rtol=1e-5)
    if record.mergeable:
        merged = again.merge()
        assert merged.state_dict().keys() >= own.keys()
        with torch.no_grad():
            torch.testing.assert_close(logits(merged, family), learned, atol=1e-5, rtol=1e-5)
    else:
        with pytest.raises(CutawayError, match="cannot be merged"):
            again.merge()
    bare = each.remove()
    assert bare.state_dict().keys() == own.keys()
    assert all(torch.equal(x, own[key]) for key, x in bare.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in bare.parameters())
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in bare.modules()) == 0
    assert not hasattr(bare, "tuned_with")
    with torch.no_grad():
        torch.testing.assert_close(logits(bare, family), before, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", methods())
def test_a_copy_of_a_tuned_model_stands_by_itself(name):
    each = tuned("bert", name)
    if each.method.needs_data:
        each.prepare((0, 1), lambda seed: losses(each.model, "bert", seed))
    copied = copy.deepcopy(each)
    trained(each, "bert", steps=1)
    assert any(not torch.equal(p, each.trained()[key]) for key, p in copied.trained().items())

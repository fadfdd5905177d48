"""ProPETL: what is shared, what a layer sees of it, where gradients go, and masks on disk."""

import pytest
import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.bits import packed, unpacked
from cutaway.tuning.format import load_tuned
from cutaway.tuning.methods.propelt import METHOD, Options, Prototype, Seen
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def drawn(tuned):
    with torch.no_grad():
        for at, p in enumerate(tuned.trained().values()):
            p.normal_(std=0.4, generator=torch.Generator().manual_seed(at))
    return tuned


def largest(scores, share):
    """Ones at that share of entries, found one by one."""
    order = sorted(range(scores.numel()), key=lambda i: -scores.flatten()[i].item())
    mask = torch.zeros(scores.numel())
    for i in order[: round(share * scores.numel())]:
        mask[i] = 1
    return mask.view_as(scores)


def seen(kind, **options):
    torch.manual_seed(0)
    options = Options(kind=kind, width=4, **options)
    prototype = Prototype(6, 6, options)
    with torch.no_grad():
        for p in prototype.parameters():
            p.normal_(std=0.5)
    return Seen(prototype, options)


def test_an_adapter_is_what_the_equation_says():
    one, h = seen("adapter", share=0.25), torch.randn(3, 6)
    down = one.prototype.down.weight * largest(one.down_scores, 0.25)
    up = one.prototype.up.weight * largest(one.up_scores, 0.25)
    expected = h + nn.functional.gelu(h @ down.T + one.prototype.down.bias) @ up.T + one.prototype.up.bias
    torch.testing.assert_close(one.around(nn.Identity(), torch.randn(3, 6), h), expected)
    whole = (
        h + nn.functional.gelu(h @ one.prototype.down.weight.T + one.prototype.down.bias) @ up.T + one.prototype.up.bias
    )
    assert not torch.allclose(expected, whole, atol=1e-2), "a missing mask would be noticed"


def test_lora_is_what_the_equation_says():
    one, x, y = seen("lora", share=0.5, alpha=6.0), torch.randn(3, 6), torch.randn(3, 6)
    A = one.prototype.down.weight * largest(one.down_scores, 0.5)
    B = one.prototype.up.weight * largest(one.up_scores, 0.5)
    torch.testing.assert_close(one.around(nn.Identity(), x, y), y + 6.0 / 4 * x @ (B @ A).T)
    assert one.prototype.down.bias is None


def test_scores_get_the_gradient_of_the_mask():
    one, h = seen("adapter", share=0.5), torch.randn(3, 6)
    one.around(nn.Identity(), h, h).sin().sum().backward()
    masks = [largest(s, 0.5).requires_grad_() for s in (one.down_scores, one.up_scores)]
    p = one.prototype
    inner = nn.functional.gelu(h @ (p.down.weight * masks[0]).T + p.down.bias)
    (h + inner @ (p.up.weight * masks[1]).T + p.up.bias).sin().sum().backward()
    torch.testing.assert_close(one.down_scores.grad, masks[0].grad)
    torch.testing.assert_close(one.up_scores.grad, masks[1].grad)
    assert (one.up_scores.grad[masks[1] == 0] != 0).any(), "what is switched off can be switched on again"
    assert (p.up.weight.grad[masks[1] == 0] == 0).all()


@pytest.mark.parametrize(("kind", "prototypes", "places"), [("adapter", 1, 2), ("lora", 2, 4)])
def test_layers_share_a_prototype_and_have_masks_of_their_own(kind, prototypes, places):
    tuned = tune(made("llama"), METHOD.name, kind=kind, width=4)
    besides = list(tuned.attached.besides.values())
    assert len({id(x.prototype) for x in besides}) == prototypes
    assert len({id(x.down_scores) for x in besides}) == len(besides) == places
    kept = tuned.attached.kept()
    assert sum(name.endswith("prototype.down.weight") for name in kept) == prototypes
    assert tuned.count().trained == METHOD.count(made("llama"), tuned.options)


def test_lora_keeps_what_it_says_of_gpt2s_projections():
    tuned = tune(made("gpt2"), METHOD.name, kind="lora", width=4)
    before = logits(made("gpt2"), "gpt2")
    torch.testing.assert_close(logits(tuned.model, "gpt2"), before, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(logits(drawn(tuned).model, "gpt2"), before, atol=1e-3)


@pytest.mark.parametrize("kind", ["adapter", "lora"])
def test_masks_are_bits_on_disk(kind, tmp_path):
    from safetensors.torch import load_file

    tuned = drawn(tune(made("bert"), METHOD.name, kind=kind, width=5))
    (file,) = tuned.save(tmp_path / "it").glob("*.safetensors")
    sizes = {name: x.nbytes for name, x in load_file(file).items() if name.endswith("scores")}
    assert set(sizes.values()) == {10}
    again = load_tuned(made("bert"), tmp_path / "it")
    with torch.no_grad():
        torch.testing.assert_close(logits(again.model, "bert"), logits(tuned.model, "bert"))


@pytest.mark.parametrize("entries", [1, 8, 9, 23])
def test_bits_come_back(entries):
    mask = (torch.rand(entries, generator=torch.Generator().manual_seed(entries)) > 0.5).float()
    bits = packed(mask)
    assert bits.tolist() == [
        sum(int(on) << at for at, on in enumerate(mask[first : first + 8])) for first in range(0, entries, 8)
    ]
    assert torch.equal(unpacked(bits, mask), mask)
    with pytest.raises(CutawayError, match="bytes"):
        unpacked(torch.cat((bits, bits)), mask)


@pytest.mark.parametrize(("options", "told"), [({"share": 0.0}, "more than 0"), ({"width": 16}, "less than 16")])
def test_what_cannot_be_is_told(options, told):
    with pytest.raises(CutawayError, match=told):
        tune(made("bert"), METHOD.name, **({"width": 4} | options))

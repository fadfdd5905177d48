"""P-tuning: what makes the vectors, computed by hand."""

import pytest
import torch

from cutaway.tuning.methods import p_tuning
from cutaway.tuning.tune import tune
from tuning.models import inputs, logits, made


def test_a_perceptron_makes_the_vectors():
    each = tune(made("gpt2"), "p_tuning", tokens=3, hidden=5)
    z, *layers = (p.detach() for p in each.trained().values())
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        z = z @ weight.T + bias
        z = z.relu() if len(bias) == 5 else z
    plain = made("gpt2")
    with torch.no_grad():
        read = plain.get_input_embeddings()(inputs("gpt2")["input_ids"])
        want = plain(inputs_embeds=torch.cat([z.expand(len(read), -1, -1), read], 1)).logits[:, 3:]
        torch.testing.assert_close(logits(each.model, "gpt2"), want)
        each.trained()[next(iter(each.trained()))].zero_()
        assert not torch.allclose(logits(each.model, "gpt2"), want, atol=1e-4)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_lstms_are_counted(layers):
    options = p_tuning.Options(tokens=3, network="lstm", hidden=5, layers=layers)
    each = tune(made("gpt2"), "p_tuning", tokens=3, network="lstm", hidden=5, layers=layers)
    assert each.count().trained == p_tuning.count(made("gpt2"), options)

"""The hash of a model's weights: the same for the same weights, another for any change."""

import pytest
import torch

import cutaway
from cutaway.decoder.identity import weights_sha256


def test_the_same_weights_have_the_same_hash_and_no_others():
    model = cutaway.load("planted:acronyms")
    found = weights_sha256(model)
    assert found == weights_sha256(cutaway.load("planted:acronyms"))
    assert found != weights_sha256(cutaway.load("planted:induction"))
    assert found != weights_sha256(cutaway.load("planted:acronyms", dtype=torch.bfloat16))


@pytest.mark.parametrize("which", [0, -1])
def test_one_changed_weight_changes_it(which):
    model = cutaway.load("planted:acronyms")
    before = weights_sha256(model)
    weight = list(model.state_dict().values())[which]
    with torch.no_grad():
        weight.view(-1)[3] += 1e-3
    assert weights_sha256(model) != before
    with torch.no_grad():
        weight.view(-1)[3] -= 1e-3
    assert weights_sha256(model) == before

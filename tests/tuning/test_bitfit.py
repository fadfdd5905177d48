"""BitFit: all biases of the model, those of some parts, and models that have none."""

import pytest

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods import bitfit
from cutaway.tuning.tune import tune
from tuning.models import made


def test_every_bias_learns_and_nothing_else():
    model = made("bert")
    each = tune(model, "bitfit")
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learned == {name for name, _ in model.named_parameters() if name.endswith(".bias")} == each.trained().keys()
    assert "bert.encoder.layer.0.output.LayerNorm.bias" in learned, "those of norms too"


def test_the_papers_smaller_variant_has_those_of_queries_and_of_the_inner_projection():
    found = bitfit.biases(made("bert"), bitfit.Options(at=("attn_q", "ffn_up")))
    ends = ("attention.self.query.bias", "intermediate.dense.bias")
    assert sorted(found) == sorted(f"bert.encoder.layer.{i}.{end}" for i in (0, 1) for end in ends)
    assert bitfit.count(made("bert"), bitfit.Options(at=("attn_q", "ffn_up"))) == 2 * (16 + 32)


def test_a_model_or_parts_without_biases_are_told():
    with pytest.raises(CutawayError, match="this model has no biases"):
        tune(made("llama"), "bitfit")
    with pytest.raises(CutawayError, match="these parts have no biases"):
        tune(made("t5"), "bitfit", at=("attn_q",))

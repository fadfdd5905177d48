"""What cannot be done is told in one line before anything is touched."""

import json
import sys
from dataclasses import fields

import pytest
import torch
from safetensors.torch import load_file, save_file

from cutaway.core.errors import CutawayError
from cutaway.tuning.format import CONFIG, WEIGHTS, load_tuned
from cutaway.tuning.method import methods
from cutaway.tuning.tune import tune
from tuning.models import made
from tuning.test_format import untouched
from tuning.test_methods import SMALL

RANKED = {"lora", "adalora", "dora", "loha", "lokr", "hra", "randlora", "dylora", "sora"}
EVERY = [name for name in methods() if name != "qlora"]
NUMBERS = [
    pytest.param(name, field.name, value, marks=pytest.mark.slow if value > 1000 else ())
    for name in EVERY
    for field in fields(methods()[name].options)
    if type(field.default) in (int, float)
    for value in (type(field.default)(0), type(field.default)(5000))
]


def refused(told, family, name, **options):
    """Is it refused in one line that says `told`, with the model as it was?"""
    model = made(family)
    with pytest.raises(CutawayError, match=told) as error:
        tune(model, name, **options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    untouched(model, family)


@pytest.mark.parametrize("name", sorted(RANKED))
@pytest.mark.parametrize("rank", [0, -2, 18])
def test_a_rank_that_is_none_or_above_the_width(name, rank):
    more = {"start_rank": rank + 1} if name == "adalora" else {}
    refused(rf"rank is {rank}.*16.*width of the narrowest", "bert", name, rank=rank, **more)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("adalora", {"rank": 4, "start_rank": 4}, "rank < start_rank"),
        ("adalora", {"rank": 2, "start_rank": 4, "warmup": 0.6, "final": 0.5}, "whose sum is below 1"),
        ("adalora", {"rank": 2, "start_rank": 4, "every": 0}, "at least 1 step"),
        ("vera", {"rank": 0}, "rank is 0: give at least 1"),
        ("lokr", {"factor": 0}, "factor is 0"),
        ("oft", {"block": 5}, "block is 5: blocks have to divide 16; those that do are 2, 4, 8, 16"),
        ("oft", {"block": 4, "terms": -1}, "terms is -1"),
        ("boft", {"block": 1}, "block is 1"),
        ("hra", {"rank": 3}, "rank is 3: give an even number"),
        ("fourierft", {"frequencies": 257}, "at most 256"),
        ("ln_tuning", {"at": ("attn_q",)}, "is a Linear, no norm"),
        ("prompt", {"tokens": 0}, "tokens is 0"),
        ("prompt", {"start": "zero"}, "start"),
        ("prefix", {"tokens": 2, "hidden": -1}, "hidden is -1"),
        ("p_tuning", {"hidden": 0}, "hidden is 0"),
        ("lora", {"at": ("attn_query",)}, "nothing in the model is called 'attn_query'; nearest are .*attn"),
        ("lora", {"rank": "eight"}, "rank"),
        ("ia3", {"at": ("attn",)}, "peft cannot put this on the model"),
    ],
)
def test_options_that_make_no_sense(name, options, told):
    refused(told, "bert", name, **options)


@pytest.mark.parametrize(
    ("name", "option", "told"),
    [
        ("lora", "width", "lora has no option 'width'; it is one of"),
        ("prompt", "token", "prompt has no option 'token'; did you mean tokens"),
        ("bitfit", "rank", "bitfit has no option 'rank'"),
    ],
)
def test_options_of_another_method(name, option, told):
    refused(told, "bert", name, **{option: 3})


@pytest.mark.parametrize(("name", "near"), [("lorra", "lora"), ("prefix_tuning", "prefix"), ("Adapter", "adapter")])
def test_an_unknown_method_has_its_nearest_named(name, near):
    refused(rf"{name}.*{near}", "bert", name)


@pytest.mark.parametrize("first", ["lora", "bitfit", "prompt"])
def test_a_model_that_is_tuned_already(first):
    model = made("bert")
    each = tune(model, first, **({"tokens": 2} if first == "prompt" else {}))
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    with pytest.raises(CutawayError, match="tuned already, as 'default'"):
        tune(model, "adapter", width=2)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == learning
    each.remove()
    untouched(model, "bert")


def test_two_methods_of_peft_at_one_place():
    model = made("bert")
    each = tune(model, "lora", rank=2)
    with pytest.raises(CutawayError, match=r"peft is at bert\.encoder.*remove or merge"):
        tune(model, "oft", block=4, name="more")
    other = tune(model, "oft", block=4, name="more", at=("ffn_up",))
    with pytest.raises(CutawayError, match="remove more first"):
        each.remove()
    other.remove()
    each.remove()
    untouched(model, "bert")


def test_a_prompt_is_put_on_last():
    model = made("gpt2")
    below = tune(model, "lora", rank=2)
    prompt = tune(model, "prompt", tokens=2, name="upon")
    with pytest.raises(CutawayError, match="tuned as 'upon', which has to be put on last"):
        tune(model, "adapter", width=2, name="third")
    prompt.remove()
    below.remove()
    untouched(model, "gpt2")


def test_what_stands_beneath_keeps_learning_and_only_what_is_above_is_listed():
    model = made("bert")
    below, above = tune(model, "adapter", width=2), tune(model, "lora", rank=2, name="upon")
    assert not {id(p) for p in below.trained().values()} & {id(p) for p in above.trained().values()}
    assert all(p.requires_grad for each in (below, above) for p in each.trained().values())
    above.remove()
    assert all(p.requires_grad for p in below.trained().values())
    below.remove()
    untouched(model, "bert")


def test_merging_where_something_else_acts_is_refused():
    model = made("bert")
    below = tune(model, "adapter", width=2, at=("attn_q",))
    above = tune(model, "lora", rank=2, name="upon")
    with pytest.raises(CutawayError, match="tuned by something else as well"):
        above.merge()
    above.remove()
    below.remove()
    untouched(model, "bert")


def test_a_name_that_is_no_word():
    with pytest.raises(CutawayError, match="no name for a tuning"):
        tune(made("bert"), "lora", rank=2, name="my.lora")


def test_models_that_a_method_cannot_have():
    plain = torch.nn.Sequential(torch.nn.Linear(4, 4))
    for name in ("prompt", "p_tuning", "prefix"):
        with pytest.raises(CutawayError, match="Sequential is no model of transformers"):
            tune(plain, name)
    assert tune(plain, "lora", rank=2, at=("0",)).remove() is plain


def test_a_prefix_where_no_keys_and_values_are_taken():
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    model = DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    )
    with pytest.raises(CutawayError, match=r"takes no keys and values from outside.*take prompt"):
        tune(model, "prefix")


@pytest.mark.parametrize("bits", [False, True])
def test_qlora_says_what_it_needs(bits, monkeypatch):
    monkeypatch.setattr("peft.import_utils.is_bnb_4bit_available", lambda: bits)
    refused("wants a model in four bits" if bits else "needs bitsandbytes", "llama", "qlora")


def test_peft_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    refused(r"needs peft: pip install 'cutaway\[text\]'", "bert", "lora")


def test_an_adapter_for_a_model_of_another_family(tmp_path):
    tune(made("bert"), "lora", rank=2).save(tmp_path)
    model = made("gpt2")
    with pytest.raises(CutawayError, match=r"another base model|nothing in the model"):
        load_tuned(model, tmp_path)
    untouched(model, "gpt2")


# --- the same for every method ----------------------------------------------------------------------------------------


def attempt(model, name, **options):
    """What came of it, or what was told."""
    try:
        return tune(model, name, **options), ""
    except CutawayError as error:
        return None, str(error)


@pytest.mark.parametrize(("name", "option", "value"), NUMBERS)
def test_a_number_is_taken_or_refused_in_one_line(name, option, value):
    """Never an error of another kind, never something half done; and what is taken can be counted."""
    if (name, option) in {("said", "dimension"), ("vera", "rank"), ("prompt", "tokens"), ("adamix", "experts")} and value > 1000:
        pytest.skip("large, and right")
    model = made("bert")
    each, error = attempt(model, name, **SMALL.get(name, {}) | {option: value})
    if each is None:
        assert "\n" not in error
        assert option in error or str(value) in error or "peft cannot" in error
    else:
        assert each.count().trained == each.method.count(made("bert"), each.options) > 0
        each.remove()
    untouched(model, "bert")


@pytest.mark.parametrize("name", EVERY)
def test_no_method_is_put_on_twice_under_one_name(name):
    model = made("bert")
    each = tune(model, name, **SMALL.get(name, {}))
    learning = {key for key, p in model.named_parameters() if p.requires_grad}
    with pytest.raises(CutawayError, match="tuned already, as 'default'"):
        tune(model, name, **SMALL.get(name, {}))
    assert {key for key, p in model.named_parameters() if p.requires_grad} == learning
    each.remove()
    untouched(model, "bert")


@pytest.mark.parametrize("name", EVERY)
def test_a_file_of_every_method_with_a_tensor_less_or_more_is_refused(name, tmp_path):
    tune(made("bert"), name, **SMALL.get(name, {})).save(tmp_path)
    whole, model = load_file(tmp_path / WEIGHTS), made("bert")
    first = max(whole)
    less = {key: x for key, x in whole.items() if key != first}
    for tensors, told in ((less, "missing 1"), (whole | {"base_model.model.more": torch.zeros(1)}, "too many 1")):
        save_file(tensors, tmp_path / WEIGHTS)
        with pytest.raises(CutawayError, match=told) as error:
            load_tuned(model, tmp_path)
        assert "\n" not in str(error.value)
        untouched(model, "bert")
    save_file(whole, tmp_path / WEIGHTS)
    load_tuned(model, tmp_path).remove()
    untouched(model, "bert")


@pytest.mark.parametrize(
    "name", sorted({*EVERY} - {"full", "child_tuning_f"})
)  # whose files have all of the base model
def test_a_file_of_every_method_is_for_its_base_model(name, tmp_path):
    tune(made("bert"), name, **SMALL.get(name, {})).save(tmp_path)
    other = made("bert")
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight[0, 0] += 1
    before = {key: x.clone() for key, x in other.state_dict().items()}
    with pytest.raises(CutawayError, match=r"another base model than this \(values of weights differ\)"):
        load_tuned(other, tmp_path)
    assert all(torch.equal(x, before[key]) for key, x in other.state_dict().items())
    assert json.loads((tmp_path / CONFIG).read_text())["auto_mapping"]["cutaway"]["method"] == name

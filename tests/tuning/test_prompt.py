"""Prompt tuning: vectors before the input, positions and labels as they were."""

import pytest
import torch
from torch import nn

from cutaway.tuning.methods import prompt
from cutaway.tuning.prompts import Prompts
from cutaway.tuning.tune import tune
from tuning.models import LENGTH, VOCABULARY, inputs, logits, made


def with_prompt(family, tokens=3, **options):
    each = tune(made(family), "prompt", tokens=tokens, **options)
    (vectors,) = each.trained().values()
    return each, vectors


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
def test_the_vectors_stand_before_the_input(family):
    each, vectors = with_prompt(family)
    plain, given = made(family), inputs(family)
    read = plain.get_input_embeddings()(given.pop("input_ids"))
    with torch.no_grad():
        longer = torch.cat([vectors.expand(len(read), -1, -1), read], 1)
        want = plain(inputs_embeds=longer, **given).logits
        got = logits(each.model, family)
        if family in ("gpt2", "llama"):
            assert want.shape[1] == LENGTH + 3
            want = want[:, 3:]
        torch.testing.assert_close(got, want)
        vectors.neg_()
        assert not torch.allclose(logits(each.model, family), want, atol=1e-4)


def test_labels_are_those_of_what_was_given():
    each, vectors = with_prompt("gpt2")
    plain, words = made("gpt2"), inputs("gpt2")["input_ids"]
    with torch.no_grad():
        told = each.model(input_ids=words, labels=words).loss
        read = torch.cat([vectors.expand(len(words), -1, -1), plain.get_input_embeddings()(words)], 1)
        longer = plain(inputs_embeds=read).logits
    # the last of the vectors answers for the first word
    torch.testing.assert_close(told, nn.functional.cross_entropy(longer[:, 2:-1].flatten(0, 1), words.flatten()))
    assert abs(told - nn.functional.cross_entropy(longer[:, 3:].flatten(0, 1), words.flatten())) > 1e-4


@pytest.mark.parametrize("kind", ["ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM", "Model"])
@pytest.mark.parametrize("mask", [False, True])
def test_models_with_other_heads_answer_in_the_positions_they_were_asked(kind, mask):
    import transformers

    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    model = getattr(transformers, f"Bert{kind}")(config).eval()
    each = tune(model, "prompt", tokens=3)
    given = inputs("bert") | ({"attention_mask": torch.ones(3, LENGTH)} if mask else {})
    labels = torch.randint(2, (3, LENGTH))
    more = {
        "ForTokenClassification": {"labels": labels},
        "ForMaskedLM": {"labels": labels},
        "ForQuestionAnswering": {"start_positions": labels[:, 0], "end_positions": labels[:, 1]},
    }.get(kind, {})
    out = each.model(**given, **more)
    answers = {key: x for key, x in out.items() if key not in ("loss", "pooler_output")}
    assert answers
    assert all(x.shape[1] == LENGTH for x in answers.values())
    if "labels" in more:
        want = nn.functional.cross_entropy(out.logits.flatten(0, 1), labels.flatten())
        torch.testing.assert_close(out.loss, want)
    assert type(each.remove()) is type(model)


def test_cutting_off_is_what_makes_the_length_right(monkeypatch):
    monkeypatch.setattr(Prompts, "_after", lambda self, module, args, kwargs, output: output)
    each, _ = with_prompt("gpt2")
    assert logits(each.model, "gpt2").shape[1] == LENGTH + 3


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_it_generates_and_leaves_no_trace_of_that(family):
    each, vectors = with_prompt(family)
    given = inputs(family)["input_ids"]
    with torch.no_grad():
        vectors.mul_(30)
    settings = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    told = each.model.generate(input_ids=given, **settings)
    if family != "t5":  # word by word, by what the model says
        with torch.no_grad():
            seen = given
            for _ in range(4):
                seen = torch.cat([seen, each.model(input_ids=seen).logits[:, -1:].argmax(-1)], 1)
        assert torch.equal(told[:, -4:], seen[:, -4:])
    with each.off():
        plain = each.model.generate(input_ids=given, **settings)
    bare = each.remove()
    assert torch.equal(bare.generate(input_ids=given, **settings), plain)
    assert not {"prepare_inputs_for_generation", "peft_config", "tuned_around"} & vars(bare).keys()


def test_the_beginning_is_of_the_vocabulary_or_random():
    table = made("gpt2").get_input_embeddings().weight
    _, vectors = with_prompt("gpt2", tokens=4)
    assert all((table == row).all(1).any() for row in vectors)
    _, others = with_prompt("gpt2", tokens=4, start="random")
    assert not any((table == row).all(1).any() for row in others)
    assert prompt.count(made("gpt2"), prompt.Options(tokens=4)) == 4 * 16


@pytest.mark.parametrize("name", ["prompt", "prefix", "p_tuning"])
def test_the_model_still_sees_which_text_a_token_is_of(name):
    model = made("bert")
    given = inputs("bert")
    types = torch.zeros_like(given["input_ids"])
    types[:, 4:] = 1
    tuned = tune(model, name, tokens=1)
    with torch.no_grad():
        plain, told = (tuned.model(**given, token_type_ids=x).logits for x in (torch.zeros_like(types), types))
        with tuned.off():
            model_plain, model_told = (model(**given, token_type_ids=x).logits for x in (torch.zeros_like(types), types))
    assert not torch.allclose(plain, told, atol=1e-4)
    assert not torch.allclose(model_plain, model_told, atol=1e-4)

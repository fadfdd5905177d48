"""Behaviours from files: what a file says is what the behaviour is; what is wrong is named by file and line."""

import hashlib
import json
from pathlib import Path

import pytest

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.from_file import read_behavior
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

from .capitals import FRANCE, ITALY, LONG, changed, words_as_tokens
from .tokenizers_by_hand import bpe


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return words_as_tokens()


@pytest.fixture
def read(tmp_path, tokenizer):
    """Writes entries as JSON Lines (or text as it is) and reads them."""

    def make(*entries: dict | str, file: str = "capitals.jsonl", **options) -> Behavior:
        lines = [entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in entries]
        (tmp_path / file).write_text("".join(f"{line}\n" for line in lines))
        return read_behavior(tmp_path / file, tokenizer, **options)

    return make


def tokens(tokenizer: Tokenizer, ids) -> list[str]:
    return [tokenizer.decode([i]) for i in ids.tolist() if i >= 0]


# --- what a file says ------------------------------------------------------------------------------------------------


def test_a_behaviour_is_what_its_file_says(read, tokenizer, tmp_path):
    behavior = read(FRANCE, ITALY)
    assert behavior.name == "capitals"
    assert behavior.texts == ("The capital of France is", "The capital of Italy is")
    assert behavior.roles == ("before country", "country", "after country")
    assert behavior.slots == (
        ("before country", 0),
        ("before country", 1),
        ("before country", 2),
        ("country", 0),
        ("after country", 0),
    )
    assert tokens(tokenizer, behavior.clean.tokens[0]) == ["The", " capital", " of", " France", " is"]
    assert tokens(tokenizer, behavior.answers[:, 0]) == [" Paris", " Rome"]
    assert [tokens(tokenizer, row[0]) for row in behavior.alternatives] == [[" Rome", " Oslo"], [" Paris"]]
    ((steps, corrupt),) = behavior.corruptions["other country"].runs
    assert steps == (0,)
    assert tokens(tokenizer, corrupt.tokens[0]) == ["The", " capital", " of", " Italy", " is"]
    assert (behavior.reference, behavior.shared) == ("other country", 3)
    content = (tmp_path / "capitals.jsonl").read_bytes()
    assert behavior.recipe["sha256"] == hashlib.sha256(content).hexdigest()
    assert str(tmp_path) not in json.dumps(behavior.recipe)


def test_a_name_may_be_given(read):
    assert read(FRANCE, name="geography").name == "geography"


CORRUPTED = {"other country": "Of is"}


def test_an_answer_of_several_tokens_is_fed_back(read, tokenizer):
    """Alternatives compete at the tokens where they differ from the answer."""
    behavior = read(LONG)
    assert behavior.n_steps == 2
    assert behavior.roles[-1] == "answer 1"
    assert tokens(tokenizer, behavior.clean.tokens[0])[-2:] == [" is", " San"]
    assert behavior.clean.steps.tolist() == [[4, 5]]
    assert [tokens(tokenizer, step) for step in behavior.alternatives[0]] == [[" Cape"], [" Town", " Jose"]]
    ((steps, corrupt),) = behavior.corruptions["other country"].runs
    assert steps == (0, 1)
    assert tokens(tokenizer, corrupt.tokens[0])[-2:] == [" is", " San"]


def test_the_tokens_of_an_answer_may_be_listed(read, tokenizer):
    listed = changed(LONG, answer=[" San", " Marino"], alternatives=[[" Cape", " Oslo"], [" Jose"]])
    behavior = read(listed)
    assert behavior.answers.equal(read(LONG).answers)
    assert [tokens(tokenizer, step) for step in behavior.alternatives[0]] == [[" Cape", " Oslo"], [" Jose"]]


def test_a_space_may_stand_on_either_side_of_a_brace(read):
    inside = changed(
        FRANCE,
        prompt="The capital of{country: France} is",
        corrupted={"other country": "The capital of{country: Italy} is"},
    )
    assert read(inside).clean.tokens.equal(read(FRANCE).clean.tokens)
    assert read(inside).slots == read(FRANCE).slots


def test_a_prompt_may_end_with_the_space_of_the_answer(read):
    """The tokens are those of the whole text, in which the space is the answer's."""
    space = changed(
        FRANCE,
        prompt=FRANCE["prompt"] + " ",
        answer="Paris",
        alternatives=["Rome", "Oslo"],
        corrupted={"other country": "The capital of {country:Italy} is "},
    )
    assert read(space).clean.tokens.equal(read(FRANCE).clean.tokens)
    assert read(space).answers.equal(read(FRANCE).answers)


def test_prompts_without_spans_and_of_different_length(read):
    one = changed(FRANCE, prompt="The capital is", corrupted={"x": "The capital of"})
    behavior = read(one, changed(one, prompt="The capital is of", corrupted={"x": "The capital of is"}))
    assert behavior.roles == ("whole prompt",)
    assert behavior.clean.mask.tolist() == [[True] * 3 + [False], [True] * 4]


def test_alternatives_that_join_with_the_answer_so_far_are_tokens_by_themselves(tmp_path):
    """KJ is one token, but after K, J is asked for as it is."""
    tokenizer = bpe(("K", "J"), ("Ġ", "("))
    entry = {"prompt": "{w:x} (", "answer": "KA", "alternatives": [["A", "B"], ["J"]], "corrupted": {"c": "{w:y} ("}}
    (tmp_path / "x.jsonl").write_text(json.dumps(entry))
    behavior = read_behavior(tmp_path / "x.jsonl", tokenizer)
    assert tokens(tokenizer, behavior.alternatives[0, 1]) == ["J"]


def test_the_reference_is_the_last_corruption_or_the_one_named(read):
    two = changed(FRANCE, corrupted={**FRANCE["corrupted"], "all": "The capital is {country:Italy} of"})
    assert read(two).reference == "all"
    assert read(two, changed(two, reference="other country")).reference == "other country"


def test_sources_say_what_the_answer_is_made_from(read):
    assert read(FRANCE).sources == ()
    assert read(FRANCE, changed(ITALY, sources=["country"])).sources == ("country",)


def test_marks_and_line_ends_of_other_systems_are_read(tmp_path, tokenizer, read):
    expected = read(FRANCE, ITALY)
    text = "\ufeff" + "\r\n".join([json.dumps(FRANCE), "", json.dumps(ITALY), "", ""])
    (tmp_path / "windows.jsonl").write_bytes(text.encode())
    behavior = read_behavior(str(tmp_path / "windows.jsonl"), tokenizer)
    assert behavior.texts == expected.texts
    assert behavior.clean.tokens.equal(expected.clean.tokens)


def test_a_line_separator_inside_a_text_is_no_end_of_line(tmp_path):
    odd = {"prompt": "{a:x}\u2028", "answer": "y", "alternatives": ["z"], "corrupted": {"c": "{a:w}\u2028"}}
    (tmp_path / "odd.jsonl").write_text(json.dumps(odd, ensure_ascii=False))
    assert read_behavior(tmp_path / "odd.jsonl", bpe()).texts == ("x\u2028",)


# --- refusals --------------------------------------------------------------------------------------------------------

REFUSED = {
    "not JSON": ('{"prompt": ', r"line 2: no JSON \(Expecting value.*write one object a line"),
    "no object": ("[1, 2]", r"line 2: no JSON object; write .* with prompt, answer, alternatives, corrupted"),
    "missing": (
        {k: FRANCE[k] for k in ("prompt", "answer", "corrupted")},
        "line 2: 'alternatives' is missing: every line",
    ),
    "unknown field": (changed(FRANCE, anser=""), "line 2: 'anser' is not known: fields are prompt, answer"),
    "empty answer": (changed(FRANCE, answer=""), "line 2: 'answer' is '': it must be a text that is not empty"),
    "empty list": (changed(FRANCE, answer=[]), r"line 2: 'answer' is \[\]: it must be"),
    "number": (changed(FRANCE, answer=3), "line 2: 'answer' is 3: it must be a text"),
    "empty prompt": (changed(FRANCE, prompt=""), "line 2: 'prompt' is '': it must be a text that is not empty"),
    "no alternatives": (
        changed(FRANCE, alternatives=[]),
        r"line 2: 'alternatives' is \[\]: it must be a list of other",
    ),
    "mixed": (changed(FRANCE, alternatives=[" Rome", [" Oslo"]]), "line 2: 'alternatives' is .*: it must be"),
    "no corruption": (
        changed(FRANCE, corrupted={}),
        "line 2: 'corrupted' is {}: it must be one corrupted prompt or more",
    ),
    "corruption of no text": (changed(FRANCE, corrupted={"a": None}), "line 2: 'corrupted' is .*by name"),
    "lone brace": (changed(FRANCE, prompt="The capital { is"), "line 2: a brace stands alone in 'The capital { is'"),
    "same span": (changed(FRANCE, prompt="{A:The} {A:capital}"), "line 2: the role 'A' is marked twice"),
    "cut token": (
        changed(FRANCE, prompt="The capital of {country:Fra}nce is"),
        r"line 2: the token ' France' reaches from 'Fra' \(country\) into 'nce is' \(after country\)",
    ),
    "answer joins": (
        changed(FRANCE, prompt="The capital of {country:France} i", answer="s"),
        r"line 2: the token ' is' reaches from ' i' \(after country\) into 's' \(answer\)",
    ),
    "only an answer": (
        changed(FRANCE, prompt=" ", answer="Paris"),
        "line 2: the prompt has no token before the answer",
    ),
    "answer of more tokens": (
        changed(FRANCE, answer=" San Marino", alternatives=[" San Jose", " Cape Town"]),
        "line 2 has 2 answer tokens, the first prompt 1: make them equal",
    ),
    "listed token of two": (
        changed(FRANCE, answer=[" San Marino"], alternatives=[" Rome"]),
        "line 2: ' San Marino' of the answer is 2 tokens: a list must name them one by one",
    ),
    "unknown role": (
        changed(FRANCE, corrupted={"other country": "The capital of {city:Italy} is"}),
        "line 2: corruption 'other country' marks city, the prompt country: mark the same spans in the same order",
    ),
    "no role": (
        changed(FRANCE, corrupted={"other country": "The capital of Italy is"}),
        "line 2: corruption 'other country' marks nothing, the prompt country",
    ),
    "misaligned": (
        changed(FRANCE, corrupted={"other country": "The capital of {country:San Marino} is"}),
        "line 2, corruption 'other country' does not line up at role 'country': its tokens are 1 in the clean",
    ),
    "misaligned between": (
        changed(FRANCE, corrupted={"other country": "The capital {country:Italy} is"}),
        "line 2, corruption 'other country' does not line up at role 'before country': its tokens are 3",
    ),
    "nothing between": (
        changed(FRANCE, corrupted={"other country": "The capital of {country:Italy}"}),
        "line 2, corruption 'other country': where the clean prompt has the role 'after country', it has 'nothing'",
    ),
    "not corrupted": (
        changed(FRANCE, corrupted={"other country": FRANCE["prompt"]}),
        "line 2, corruption 'other country' equals the clean prompt: change at least one token",
    ),
    "other corruptions": (
        changed(FRANCE, corrupted={"another": "The capital of {country:Italy} is"}),
        "line 2 has other corruptions than the first prompt",
    ),
    "the answer as alternative": (
        changed(FRANCE, alternatives=[" Rome", " Paris"]),
        "line 2: the alternative ' Paris' is the answer itself: give another",
    ),
    "the answer's token as alternative": (
        changed(FRANCE, alternatives=[[" Rome", " Paris"]]),
        "line 2: the alternative ' Paris' is token 1 of the answer",
    ),
    "alternative of more tokens": (
        changed(FRANCE, alternatives=[" Cape Town"]),
        "line 2: the alternative ' Cape Town' is 2 tokens, the answer ' Paris' 1: make them equal",
    ),
    "alternatives for more tokens": (
        changed(FRANCE, alternatives=[[" Rome"], [" Oslo"]]),
        "line 2: alternatives are given for 2 tokens, but the answer ' Paris' is 1: give a list for each",
    ),
    "alternative of two tokens": (
        changed(FRANCE, alternatives=[[" Rome", " Cape Town"]]),
        "line 2: the alternative ' Cape Town' is not one token",
    ),
    "alternatives alike": (
        changed(LONG, alternatives=[" San Jose"]),
        "line 2: no alternative differs from the answer ' San Marino' at its token 1",
    ),
    "unknown reference": (
        changed(FRANCE, reference="all"),
        "line 2: the reference 'all' is none of the corruptions other country",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_line_is_named(read, what):
    entry, said = REFUSED[what]
    with pytest.raises(CutawayError, match=rf"capitals\.jsonl, {said}"):
        read(FRANCE, entry)


def test_two_references_are_refused(read):
    two = changed(FRANCE, corrupted={**FRANCE["corrupted"], "all": "The capital is {country:Italy} of"})
    with pytest.raises(CutawayError, match='line 3: \'reference\' is "all", before it was "other country": give one'):
        read(changed(two, reference="other country"), two, changed(two, reference="all"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [{"sources": ["country"]}, {"sources": ["is"]}],
            r'line 2: \'sources\' is \["is"\], before it was \["country"\]',
        ),
        (
            [{"sources": ["country"]}, {"prompt": "It is", "corrupted": CORRUPTED}],
            "line 2: the source 'country' is not",
        ),
        ([{}, {"sources": ["country", "country"]}], "line 1: 2 sources for 1 answer tokens; name one role for each"),
        ([{"sources": []}], r"line 1: 'sources' is \[\]: it must be a list of roles"),
    ],
)
def test_sources_that_are_not_in_every_prompt_are_refused(read, lines, said):
    with pytest.raises(CutawayError, match=said):
        read(*(changed(FRANCE, **fields) for fields in lines))


def test_an_answer_cut_otherwise_after_a_corrupted_prompt_is_refused(tmp_path):
    """Here because a space stands before it."""
    entry = {"prompt": "{w:x}", "answer": "b", "alternatives": ["c"], "corrupted": {"c": "{w:y} "}}
    (tmp_path / "x.jsonl").write_text(json.dumps(entry))
    with pytest.raises(CutawayError, match="line 1: corruption 'c': the answer is cut into other tokens after it"):
        read_behavior(tmp_path / "x.jsonl", bpe(("Ġ", "b")))


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path, tokenizer, text):
    (tmp_path / "empty.jsonl").write_text(text)
    with pytest.raises(
        CutawayError, match=r"empty\.jsonl has no prompts: write one a line, as docs/add-a-behaviour.md"
    ):
        read_behavior(tmp_path / "empty.jsonl", tokenizer)


def test_what_is_no_file_of_prompts_is_refused(tmp_path, tokenizer):
    with pytest.raises(CutawayError, match=r"none\.csv does not exist"):
        read_behavior(tmp_path / "none.csv", tokenizer)
    with pytest.raises(
        CutawayError, match=r"prompts\.txt is no file of prompts: give one that ends in \.jsonl or \.csv"
    ):
        read_behavior(tmp_path / "prompts.txt", tokenizer)
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "é"}'.encode("latin-1"))
    with pytest.raises(CutawayError, match=r"latin\.jsonl is not UTF-8 \(at byte 12\): save it as UTF-8"):
        read_behavior(tmp_path / "latin.jsonl", tokenizer)


def test_a_file_for_gpt2(tmp_path, gpt2):
    """The paper's task, written by hand: capitals that GPT-2 splits into single letters."""
    entry = {
        "prompt": "The {C1:Ketchup} {C2:Lark} {C3:Wreck} (",
        "answer": ["K", "L", "W"],
        "alternatives": [list("ABC"), list("ABC"), list("ABC")],
        "corrupted": {"first word": "The {C1:Xylophone} {C2:Lark} {C3:Wreck} ("},
    }
    (tmp_path / "acronyms.jsonl").write_text(json.dumps(entry))
    with pytest.raises(CutawayError, match="line up at role 'C1': its tokens are 2 in the clean prompt, 3 in"):
        read_behavior(tmp_path / "acronyms.jsonl", gpt2)
    entry["corrupted"] = {"first word": "The {C1:Yoke} {C2:Lark} {C3:Wreck} ("}
    (tmp_path / "acronyms.jsonl").write_text(json.dumps(entry))
    behavior = read_behavior(Path(tmp_path / "acronyms.jsonl"), gpt2)
    assert behavior.roles == ("before C1", "C1", "C2", "C3", "after C3", "answer 1", "answer 2")
    assert behavior.clean.steps.tolist() == [[7, 8, 9]]

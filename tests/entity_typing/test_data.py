"""Mentions, their layouts, and the list of types: read as they are written, or refused in one line with file and line."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.core.errors import CutawayError
from cutaway.entity_typing.data import MOST_WORDS, Mention, marked
from cutaway.entity_typing.layouts import layout
from cutaway.entity_typing.reading import read_distant, read_mentions, read_plain
from cutaway.entity_typing.type_list import COARSE, FINE, TypeList, read_types
from entity_typing.made_up import TYPES, mentions, put, ultra_fine

ADA = Mention(("Ada",), ("the", "engine"), (".",), ("engine", "object"))
WORD = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C"), exclude_characters="<>"), min_size=1)
WORDS = st.lists(WORD, max_size=4).map(tuple)


# --- one mention ------------------------------------------------------------------------------------------------------------


@given(WORDS, st.lists(WORD, min_size=1, max_size=3).map(tuple), WORDS)
def test_a_marked_text_says_all_words_of_a_mention(left, span, right):
    mention = Mention(left, span, right)
    assert marked(str(mention)) == mention
    assert mention.words == left + span + right


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ada wrote.", "no mention in 'Ada wrote.': put one between <e> and </e>"),
        ("<e>Ada</e> met <e>Charles</e>", "2 mentions in"),
        ("<e>Ada <e>Lovelace</e></e>", "2 mentions in"),
        ("<e>Ada wrote", "needs one <e> and behind it one </e>"),
        ("Ada</e> wrote", "needs one <e> and behind it one </e>"),
        ("</e>Ada<e> wrote", "needs one <e> and behind it one </e>"),
        ("Ada <e> </e> wrote", "nothing stands between"),
        ("", "no mention in ''"),
        ("x " * MOST_WORDS + "<e>Ada</e>", f"at most {MOST_WORDS}"),
    ],
)
def test_a_text_has_one_mention(text, said):
    with pytest.raises(CutawayError, match=re.escape(said)) as error:
        marked(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"span": ()}, "the mention has no words"),
        ({"left": ("a", "")}, "word 2 of a sentence is empty"),
        ({"right": (" ",)}, "word 2 of a sentence is empty"),
        ({"left": ("<e>",)}, "marker of mentions"),
        ({"types": ("person", "")}, "a type has no name"),
        ({"types": ("person", "person")}, "a type is there twice"),
        ({"weight": 0.0}, "the weight 0.0"),
        ({"weight": float("nan")}, "the weight nan"),
        ({"left": ("\ud800",)}, "is not text"),
    ],
)
def test_what_is_no_mention_is_refused(given, said):
    with pytest.raises(CutawayError, match=re.escape(said)):
        Mention(**{"left": (), "span": ("Ada",), **given})


# --- layouts ----------------------------------------------------------------------------------------------------------------

LINES = {
    "Ultra-Fine": json.dumps(
        {"left_context_token": ["Ada"], "mention_span": "the engine", "right_context_token": ["."], "y_str": ["engine", "object"]}
    ),
    "spans": json.dumps(
        {"tokens": ["Ada", "the", "engine", "."], "mentions": [{"start": 1, "end": 3, "labels": ["engine", "object"]}]}
    ),
    "columns": "1 3\tAda the engine .\tengine object\tHEAD|engine SHAPE|a",
    "marked": "Ada <e>the engine</e> .\tengine, object",
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_the_four_layouts_say_the_same(name, tmp_path):
    assert layout(LINES[name])(LINES[name]) == [ADA]
    path = put(tmp_path / "train.txt", ["", LINES[name], "  ", LINES[name]])
    assert read_mentions(path) == [ADA, ADA]
    assert read_plain(path) == [Mention(ADA.left, ADA.span, ADA.right)] * 2


def test_a_sentence_may_have_several_mentions_or_none(tmp_path):
    some = [{"start": 0, "end": 1, "labels": ["/person"]}, {"start": 1, "end": 3, "labels": []}]
    path = put(
        tmp_path / "x.json", [json.dumps({"tokens": ["Ada", "the", "engine"], "mentions": x}) for x in (some, [])]
    )
    assert [(m.span, m.types) for m in read_mentions(path)] == [(("Ada",), ("/person",)), (("the", "engine"), ())]


def test_no_types_differ_from_types_that_nobody_gave(tmp_path):
    known = {"mention_span": "Ada", "left_context_token": [], "right_context_token": []}
    path = put(tmp_path / "x.json", [json.dumps({**known, "y_str": []}), json.dumps(known)])
    assert [m.types for m in read_mentions(path)] == [(), None]
    assert [m.types for m in read_mentions(put(tmp_path / "x.txt", ["<e>a</e>", "<e>a</e>\t"]))] == [None, ()]


def test_a_type_given_twice_is_there_once(tmp_path):
    assert read_mentions(put(tmp_path / "x.txt", ["<e>a</e>\tb, c, b"]))[0].types == ("b", "c")


SPAN = '{"tokens": ["a", "b"], "mentions": [%s]}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"mention_span": "Ada"', "not JSON"),
        ("[1, 2]", "a JSON list, where an object is wanted"),
        ("{}", "no mention: give"),
        ('{"mention_span": 3}', "mention_span must be a text, not 3"),
        ('{"mention_span": "Ada"}', "left_context_token must be a list of texts, not null"),
        ('{"mention_span": " ", "left_context_token": [], "right_context_token": []}', "the mention has no words"),
        ('{"mention_span": "a", "left_context_token": [], "right_context_token": [], "y_str": "person"}', "y_str must be a list"),
        ('{"mention_span": "a", "left_context_token": [], "right_context_token": [], "y_str": [""]}', "none of them empty"),
        ('{"mention_span": "a", "left_context_token": [3], "right_context_token": []}', "left_context_token must be a list"),
        (SPAN % '{"start": 1, "end": 1, "labels": []}', "a mention from word 1 to 1 of 2"),
        (SPAN % '{"start": -1, "end": 1, "labels": []}', "a mention from word -1 to 1 of 2"),
        (SPAN % '{"start": 0, "end": 3, "labels": []}', "a mention from word 0 to 3 of 2"),
        (SPAN % '{"start": true, "end": 1, "labels": []}', "is no mention"),
        (SPAN % '{"start": "0", "end": 1}', "is no mention"),
        ('{"tokens": ["a"], "mentions": {}}', "mentions must be a list"),
        ("[" * 100_000, "not JSON"),
    ],
)  # fmt: skip
def test_a_bad_line_is_told_with_its_place(line, said, tmp_path):
    path = put(tmp_path / "x.json", [LINES["Ultra-Fine"], line])
    with pytest.raises(CutawayError, match=r"x\.json, line 2: ") as error:
        read_mentions(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("first", "line", "said"),
    [
        ("columns", "1 3\tAda the engine .", "2 columns"),
        ("columns", "9" * 5000 + " 3\tAda\tx", "3 columns: give start and end"),
        ("columns", "one 3\tAda the engine .\tx", "3 columns: give start and end"),
        ("columns", "1 9\tAda the engine .\tx", "a mention from word 1 to 9 of 4"),
        ("marked", "Ada wrote.", "no mention in"),
    ],
)
def test_a_bad_line_of_text_is_told_with_its_place(first, line, said, tmp_path):
    with pytest.raises(CutawayError, match=r"x\.tsv, line 3: ") as error:
        read_mentions(put(tmp_path / "x.tsv", [LINES[first], "", line]))
    assert said in str(error.value)


def test_types_outside_the_list_are_told_with_the_nearest(tmp_path):
    path = put(tmp_path / "x.json", [ultra_fine(Mention((), ("Ada",), (), ("person", "writr")))])
    with pytest.raises(
        CutawayError, match=r"x\.json, line 1: the type 'writr' is not among the 5 .*; did you mean 'writer'\?"
    ):
        read_mentions(path, TypeList.of(TYPES))


def test_ids_are_there_once_except_to_train_on(tmp_path):
    path = put(tmp_path / "x.json", [ultra_fine(mentions()[i]) for i in (0, 1, 0)])
    with pytest.raises(CutawayError, match=r"x\.json, line 3: the id 'm0' is that of line 1 already"):
        read_mentions(path)
    assert len(read_mentions(path, repeats=True)) == 3


def test_a_file_without_mentions_is_told(tmp_path):
    with pytest.raises(CutawayError, match="has no mentions"):
        read_mentions(put(tmp_path / "x.json", ["", " "]))
    with pytest.raises(CutawayError, match="did you mean"):
        read_mentions(tmp_path / "y.json")


# --- distant supervision --------------------------------------------------------------------------------------------------


def distant(tmp_path, n=40):
    made = [
        Mention((), ("x", str(i)), (), (TYPES[i % 5], "elsewhere")[: 1 + i % 2] if i % 4 else ("elsewhere",))
        for i in range(n)
    ]
    return put(tmp_path / "headword_train.json", [ultra_fine(mention) for mention in made])


def test_distant_supervision_has_a_weight_and_only_types_of_the_list(tmp_path):
    found = read_distant(distant(tmp_path), TypeList.of(TYPES), weight=0.25)
    assert (found.lines, found.drawn, len(found.mentions), found.dropped) == (40, 40, 30, 30)
    assert {mention.weight for mention in found.mentions} == {0.25}
    assert {name for mention in found.mentions for name in mention.types} == set(TYPES)


def test_a_share_is_drawn_at_random_always_the_same_and_each_line_as_likely(tmp_path):
    path, types = distant(tmp_path), TypeList.of([*TYPES, "elsewhere"])
    some = [read_distant(path, types, most=10, seed=seed).mentions for seed in (0, 0, 1)]
    assert some[0] == some[1] != some[2]
    assert [len(each) for each in some] == [10, 10, 10]
    assert read_distant(path, types, most=100).mentions == read_distant(path, types).mentions
    drawn = [int(m.span[1]) for seed in range(400) for m in read_distant(path, types, most=10, seed=seed).mentions]
    counts = [drawn.count(i) for i in range(40)]
    assert min(counts) > 60  # of 400 draws of a quarter: 100 ± 8.7
    assert max(counts) < 140


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"most": 0}, "take at least 1"),
        ({"weight": -1.0}, "line 1: the weight -1.0"),
        ({"types": TypeList.of(["other"])}, "no mention with a type of the list"),
    ],
)
def test_distant_supervision_that_cannot_be_used_is_told(change, said, tmp_path):
    path = put(tmp_path / "x.json", [ultra_fine(Mention((), ("Ada",), (), ("person",)))])
    with pytest.raises(CutawayError, match=said):
        read_distant(path, **{"types": TypeList.of(TYPES), **change})


def test_large_files_are_read_as_strictly(tmp_path):
    types = TypeList.of(TYPES)
    (path := tmp_path / "x.json").write_bytes(b"\n\xff\n")
    with pytest.raises(CutawayError, match=r"line 2: not UTF-8"):
        read_distant(path, types, most=3)
    with pytest.raises(CutawayError, match="cannot be read"):
        read_distant(tmp_path / "none.json", types, most=3)
    path.write_bytes(b"\xef\xbb\xbf" + ultra_fine(mentions()[1]).encode() + b"\r\n")
    assert read_distant(path, types, most=3).mentions[0].id == "m1"


# --- the list of types ------------------------------------------------------------------------------------------------------


def test_the_published_groups_are_known_by_their_lists():
    names = [*COARSE, *(f"t{i}" for i in range(FINE + 3))]
    types = TypeList.of(names)
    assert types.order == ("coarse", "fine", "ultra-fine")
    assert [types.groups.count(group) for group in types.order] == [9, 121, 3]
    assert TypeList.of(names[1:]).order == ()
    assert TypeList.of(names[:100]).order == ()


def test_paths_lie_on_levels():
    types = TypeList.of(["/person", "/person/artist/actor", "/person/artist"])
    assert types.groups == ("level 1", "level 3", "level 2")
    assert types.order == ("level 1", "level 2", "level 3")
    assert types.group("/place/city") == "level 2"
    assert types.group("/a/b/c/d") == ""
    assert TypeList.of(["/" + "a/" * n + "b" for n in (1, 9, 4)]).order == ("level 2", "level 5", "level 10")


def test_a_file_may_name_its_groups(tmp_path):
    types = read_types(put(tmp_path / "types.txt", ["person\tcommon", "", "poet\trare", "poem\trare"]))
    assert types.order == ("common", "rare")
    assert types.group("poem") == "rare"
    assert types.group("other") == ""
    assert types.number["poet"] == 1
    assert "poem" in types


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no types"),
        (["a", "b", "a"], "line 3: the type 'a' is on line 1 already"),
        (["a\tx", "b"], "line 2: give a group to all types or to none"),
        (["a\tx\ty"], "line 1: write a type"),
        (["\tx"], "line 1: write a type"),
    ],
)
def test_a_list_that_is_none_is_refused(lines, said, tmp_path):
    with pytest.raises(CutawayError, match=said):
        read_types(put(tmp_path / "types.txt", lines))


def test_ultra_fines_list_has_its_published_groups(data):
    types = read_types(data / "ufet" / "ontology" / "types.txt")
    assert [types.groups.count(group) for group in types.order] == [9, 121, 10_201]
    for name, levels in (("onto_ontology.txt", 3), ("types_figer.txt", 2)):
        assert len(read_types(data / "ufet" / "ontology" / name).order) == levels

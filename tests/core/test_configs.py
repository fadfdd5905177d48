"""Configurations as TOML, as words and as flags: the same either way, and each mistake in one line with the nearest right name."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from cyclopts import App, Parameter
from hypothesis import given
from hypothesis import strategies as st

from cutaway.cli import run
from cutaway.cli.settings import chosen, settings_of
from cutaway.core.configs import changed, configured, docs, leaves, options_of, pairs, read_config, table
from cutaway.core.errors import CutawayError
from cutaway.core.runs import toml


@dataclass(frozen=True)
class Inner:
    """What is nested."""

    rate: float = 0.1
    """How fast."""
    steps: int = 3


@dataclass(frozen=True)
class Outer:
    """All kinds of fields."""

    name: str = "x"
    """What it is
    called."""
    on: bool = True
    """Whether."""
    kinds: tuple[str, ...] = ("a",)
    """Some."""
    numbers: tuple[int, ...] = ()
    mode: Literal["one", "two"] = "one"
    place: Path | None = None
    inner: Inner = Inner()
    options: dict[str, Any] = field(default_factory=dict)


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
outers = st.builds(
    Outer,
    name=texts,
    on=st.booleans(),
    kinds=st.lists(texts, max_size=3).map(tuple),
    numbers=st.lists(st.integers(-9, 9), max_size=3).map(tuple),
    mode=st.sampled_from(["one", "two"]),
    place=st.sampled_from([None, Path("a/b")]),
    inner=st.builds(Inner, rate=st.floats(-1e6, 1e6), steps=st.integers(-9, 9)),
    options=st.dictionaries(st.sampled_from(["crf.scheme", "encoder.name"]), texts),
)


@given(outers)
def test_toml_says_everything(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "some.toml"
    path.write_text(toml(table(config)))
    assert read_config(Outer, path) == config


def test_what_is_not_said_keeps_its_default():
    assert configured(Outer, {"inner": {"steps": 9}}) == Outer(inner=Inner(steps=9))
    assert changed(Outer(name="y"), {"on": False}) == Outer(name="y", on=False)


def test_words_are_read_as_what_they_must_be():
    given_ = {
        "on": "false",
        "kinds": "a, b",
        "numbers": "1 2",
        "mode": "two",
        "place": "none",
        "inner": {"rate": "1e-3"},
    }
    wanted = Outer(on=False, kinds=("a", "b"), numbers=(1, 2), mode="two", inner=Inner(rate=1e-3))
    assert configured(Outer, given_) == wanted
    assert configured(Outer, {"inner": {"rate": 2}}).inner.rate == 2.0


def test_options_of_parts_may_be_nested_or_dotted():
    nested = configured(Outer, {"options": {"crf": {"scheme": "BIOES"}, "a.b": 1}})
    assert nested.options == {"crf.scheme": "BIOES", "a.b": 1}
    assert options_of(Inner, "crf", {"crf.steps": "4", "other.steps": 7}) == Inner(steps=4)
    assert pairs(["a.b=c=d", "e="]) == {"a.b": "c=d", "e": ""}


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"nam": "y"}, "there is no 'nam'; did you mean name?"),
        ({"inner": {"step": 1}}, "inner.there is no 'step'"),
        ({"inner": 3}, "inner is 3: it must be a table"),
        ({"options": 3}, "options is 3: it must be a table"),
        ({"inner": {"steps": 1.5}}, "inner.steps is 1.5: it must be a whole number"),
        ({"inner": {"steps": True}}, "it must be a whole number"),
        ({"inner": {"rate": "fast"}}, "inner.rate is 'fast': it must be a number"),
        ({"on": 1}, "on is 1: it must be true or false"),
        ({"name": 1}, "name is 1: it must be text"),
        ({"kinds": 3}, "kinds is 3: it must be a list, each text"),
        ({"numbers": ["a"]}, "it must be a list, each a whole number"),
        ({"mode": "three"}, "mode is 'three': it must be one of one, two"),
        ({"place": 3}, "place is 3: it must be a path or none"),
    ],
)
def test_mistakes_are_told(given_, said):
    with pytest.raises(CutawayError) as told:
        configured(Outer, given_, "file.toml: ")
    assert said in str(told.value)
    assert str(told.value).startswith("file.toml: ")
    assert "\n" not in str(told.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "config.toml").write_text("= 3")
    with pytest.raises(CutawayError, match=r"did you mean .*config.toml"):
        read_config(Outer, tmp_path / "confi.toml")
    with pytest.raises(CutawayError, match="is not TOML"):
        read_config(Outer, tmp_path / "config.toml")
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CutawayError, match="is not TOML"):
        read_config(Outer, tmp_path / "config.toml")
    (tmp_path / "config.toml").write_bytes('\ufeffname = "ü"\r\n'.encode())
    assert read_config(Outer, tmp_path / "config.toml").name == "ü"
    with pytest.raises(CutawayError, match="options of crf: there is no 'stps'; did you mean steps"):
        options_of(Inner, "crf", {"crf.stps": 3})
    with pytest.raises(CutawayError, match="write part"):
        pairs(["crf.steps"])


def test_fields_and_their_docs():
    assert docs(Outer)["name"] == "What it is called."
    assert "numbers" not in docs(Outer)
    assert [path for path, _, _ in leaves(Outer)][-3:] == [("place",), ("inner", "rate"), ("inner", "steps")]


def asked(*words: str) -> Outer:
    """What a command gets that takes these flags."""
    app, got = App(name="x"), []

    @app.default
    def command(
        file: Path | None = None,
        *,
        option: tuple[str, ...] = (),
        settings: Annotated[settings_of(Outer), Parameter(name="*")] = {},  # noqa: B006
    ) -> None:
        got.append(chosen(Outer, file, settings, option))

    assert run(list(words), app) == 0
    return got[0]


def test_flags_and_files_lie_over_each_other(tmp_path):
    (tmp_path / "a.toml").write_text('name = "file"\nkinds = ["f"]\n[inner]\nsteps = 7\n')
    assert asked() == Outer()
    assert asked(str(tmp_path / "a.toml")) == Outer(name="file", kinds=("f",), inner=Inner(steps=7))
    told = asked(str(tmp_path / "a.toml"), "--steps", "3", "--kinds", "b", "c", "--no-on", "--option", "a.b=1")
    assert told == Outer(name="file", on=False, kinds=("b", "c"), options={"a.b": "1"}), (
        "3 is the default, and was asked for"
    )


def test_help_tells_docs_and_defaults(capsys):
    app = App(name="x")

    @app.default
    def command(*, settings: Annotated[settings_of(Outer), Parameter(name="*")] = {}) -> None:  # noqa: B006
        """Does it."""

    run(["--help"], app)
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in (
        "--name",
        "What it is called [default: x]",
        "--steps",
        "How fast [default: 0.1]",
        "choices: one, two",
    ):
        assert words in said

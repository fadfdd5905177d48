"""The pages say what is there: every family has a row and a source, and the examples work as printed."""

import contextlib
import importlib
import io
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

import cutaway
from cutaway import CutawayError
from cutaway.decoder import families as package
from cutaway.decoder.family import families
from cutaway.decoder.sites import KINDS

from .oracle import LIMIT, SITUATIONS, gap, load_oracle
from .tiny import bare, random_tokens, variant, write

DOCS = Path(__file__).parents[2] / "docs"
pages = pytest.mark.skipif(not DOCS.is_dir(), reason="the pages are not part of an installed package")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


@pages
def test_every_family_and_site_has_a_row():
    text = (DOCS / "decoder.md").read_text()
    for name in (*families(), *KINDS):
        assert re.search(rf"^\|.*`{name}`.*\|$", text, re.MULTILINE), name


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(package.__path__)])
def test_every_family_says_where_it_is_from(name):
    said = importlib.import_module(f"{package.__name__}.{name}").__doc__
    assert re.search(r"(19|20)\d\d", said), "the docstring of a family's file names its paper and year"


@pages
@pytest.mark.parametrize("name", ["windows", "bare", "no biases"])
def test_the_family_on_the_page_is_the_oracles(tmp_path, monkeypatch, name):
    pytest.importorskip("transformers")
    written = ModuleType("starcoder2")
    exec(blocks("add-a-model.md", "python")[0], vars(written))
    monkeypatch.setitem(families(), "starcoder2", written.FAMILY)
    folder = write(
        {
            "windows": variant("starcoder2", sliding_window=5),
            "bare": variant("starcoder2", bare),
            "no biases": variant("starcoder2", use_bias=False, tie_word_embeddings=False),
        }[name],
        tmp_path,
    )
    model, oracle = cutaway.load(folder), load_oracle(folder)
    for how in SITUATIONS.values():
        assert gap(model, oracle, random_tokens(how.batch, how.pos), how) <= LIMIT


@pytest.mark.slow
@pages
def test_the_worked_example_prints_what_the_page_says():
    from cutaway.decoder.catalog import locate

    try:
        locate("smollm2-135m", offline=True)
    except CutawayError as error:
        pytest.skip(str(error))
    code = [block for block in blocks("decoder.md", "python") if "my-folder" not in block]
    expected = blocks("decoder.md", "text")[: len(code)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), torch.no_grad():
        exec("\n".join(code), {})
    assert printed.getvalue() == "".join(expected)

"""`cutaway entity-typing`: which types an entity has, from coarse to ultra-fine."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from cutaway.cli import trainable
from cutaway.cli.terminal import listing, new_console
from cutaway.core.errors import CutawayError

entity_typing = App(name="entity-typing", help="The types of entities in their sentences, from coarse to ultra-fine.")

Data = Annotated[Path, Parameter(alias="-d")]


@entity_typing.command
def score(
    predictions: Path,
    *,
    data: Data,
    part: str = "test",
    types: Path | None = None,
    decoded: bool = False,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> None:
    """Measure a file of predictions, whoever made them; published numbers stand beside them where there are such.

    Parameters
    ----------
    predictions
        JSON lines {"types": [...]} in the order of the mentions, or with their ids; or the Label Reasoning Network's.
    data
        A folder with train, dev and test, of which PART is taken, or one file; Ultra-Fine's release as it is.
    part
        test, dev or train.
    types
        The file of the type list; default: types.txt in DATA or in its folder ontology.
    decoded
        Of the Label Reasoning Network's files, measure only what its decoder said, without what its graph added.
    out
        A JSON file for all numbers.
    """
    from cutaway.entity_typing.corpus import read_part, seen_in_training, type_list
    from cutaway.entity_typing.predictions import read_predictions
    from cutaway.entity_typing.scores import score as measure
    from cutaway.entity_typing.type_list import TypeList

    known = type_list(data, types)
    mentions = read_part(data, part, known)
    if any(mention.types is None for mention in mentions):
        raise CutawayError(f"{data} has mentions without types: there is nothing to measure by")
    said = read_predictions(predictions, mentions, known, decoded=decoded)
    there = [mention.types or () for mention in mentions]
    names = known or TypeList.of(sorted({name for some in (*there, *said) for name in some}))
    found = measure(there, said, names, seen_in_training(data, known)).to_dict()
    name = data.resolve().name
    _tell({predictions.name: [found]}, name if part == "test" else "")
    told = {"predictions": str(predictions), "data": name, "part": part, "decoded": decoded, "scores": found}
    trainable.keep(out, told)


@entity_typing.command(name="types")
def show_types(data: Path, *, types: Path | None = None, most: int = 10) -> None:
    """The types of a data set by group: how many there are, how often each part has them, and how many are seldom or never seen.

    Parameters
    ----------
    data
        A folder with train, dev and test; Ultra-Fine's release as it is.
    types
        The file of the type list; default: types.txt in DATA or in its folder ontology.
    most
        How many types of each group to name, the most frequent ones.
    """
    from cutaway.entity_typing import show
    from cutaway.entity_typing.corpus import read_corpus

    corpus, console = read_corpus(data, types), new_console()
    console.print(str(corpus), highlight=False, markup=False)
    console.print(listing(*show.groups(corpus, most)))
    console.print()
    console.print(listing(*show.rarity(corpus)))
    for line in corpus.notes:
        console.print(line, highlight=False, markup=False, style="dim")


def _tell(runs: dict[str, list[dict]], data: str) -> Any:
    """The table of scores beside the published, that of parts, and the remarks on the first."""
    from cutaway.entity_typing import show

    console, first = new_console(), next(iter(runs.values()))[0]
    console.print(listing(*show.comparison(runs, data)))
    console.print()
    console.print(listing(*show.by_part(first, data)))
    for line in show.remarks(first):
        console.print(line, highlight=False, markup=False, style="dim")
    return console

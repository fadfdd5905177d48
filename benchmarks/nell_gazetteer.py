"""A gazetteer out of the entities of NELL-995 (`concept_TYPE_a_name`): some 40,000 names, their types put together into six.

    CUTAWAY_DATA=DATA python benchmarks/nell_gazetteer.py names.txt

Given names and family names, the first and last words of people's names of two words, are two types more.
"""

import os
import re
import sys
from pathlib import Path

from cutaway.core.runs import put

KINDS = {
    "person": "person athlete writer coach politician journalist musician ceo male female actor visualartist celebrity director "
    "chef scientist comedian professor criminal monarch model architect astronaut judge",
    "place": "city river county island stateorprovince mountain mountainrange country lake airport geopoliticallocation park beach "
    "street stadiumoreventvenue hotel museum attraction skiarea building continent highway trainstation monument university port",
    "company": "company bank televisionstation website radiostation newspaper automobilemaker biotechcompany retailstore "
    "televisionnetwork recordlabel blog magazine winery restaurant",
    "group": "sportsteam musicartist organization governmentorganization politicalparty sportsleague nongovorganization",
    "work": "book movie musicalbum musicsong televisionshow videogame",
    "product": "automobilemodel software product videogamesystem consumerelectronicitem mlsoftware vehicle weapon beverage",
}
PEOPLE = re.compile("person(us|europe|mexico|canada|australia|asia|africa|northamerica|southamerica)|politicianus")


def lines(entities: Path) -> list[str]:
    """Type, tab, name."""
    kind_of = {word: kind for kind, words in KINDS.items() for word in words.split()}
    found = set()
    for line in entities.read_text(encoding="utf-8").split("\n"):
        match = re.fullmatch(r"concept_([a-z]+)_([a-z_]+?)\d*", line.partition("\t")[0])
        if not match:
            continue
        kind = "person" if PEOPLE.fullmatch(match[1]) else kind_of.get(match[1])
        words = match[2].strip("_").split("_")
        if kind and all(words):
            found.add((kind, " ".join(words)))
            if kind == "person" and len(words) == 2:
                found |= {("given name", words[0]), ("family name", words[1])}
    return [f"{kind}\t{name}" for kind, name in sorted(found)]


def write(entities: Path, out: Path) -> Path:
    return put(out, ("\n".join(lines(entities)) + "\n").encode())


if __name__ == "__main__":
    data = Path(os.environ.get("CUTAWAY_DATA", "../shared/data"))
    print(write(data / "kg_nell995" / "entity2id.txt", Path(sys.argv[1])))

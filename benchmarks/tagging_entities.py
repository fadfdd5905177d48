"""Named entities in WNUT-17 and Wikigold: cells of the survey's taxonomy, input × context × decoder.

    CUTAWAY_DATA=DATA python benchmarks/tagging_entities.py           all cells that are not measured yet; stop it at any time
    python benchmarks/tagging_entities.py --data wnut17 --seeds 0     some of them
    python benchmarks/tagging_entities.py --quick                     a trial of seconds on a few sentences, which writes nothing
    python benchmarks/tagging_entities.py --table                     the table of docs/tagging.md, from the committed result

Wikigold has no split: the first 80 % of the file are for training, the next 10 % are dev, the last 10 % test, so that articles
stay together.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import nell_gazetteer
from tagging_cells import DATA, WORK, Cells, arguments, cells, measured, of, over, quick

from cutaway.tagging.config import Config
from cutaway.tagging.corpus import Corpus, read_corpus, read_sentences

RESULT = Path(__file__).parent / "results" / "tagging-entities.json"
SETS = ("wnut17", "wikigold")

NAMES = "nell-names.txt"
"""Of nell_gazetteer.py, made where the runs are kept."""
FRESH = Config(
    intents="off", dropout=0.3, fresh_lr=1.0, training=replace(Config().training, epochs=10, lr=6e-3, patience=0)
)
SLOWER = replace(FRESH, training=replace(FRESH.training, epochs=15, lr=3e-3))
"""For what diverges at the rate of a BiLSTM with a CRF, or learns little (on dev)."""
ENCODER = Config(intents="off", training=replace(Config().training, epochs=5))
SPELT = ("words", "char_cnn")
ALL = (*SPELT, "features")
MORE = replace(ENCODER, inputs=("encoder", "char_cnn", "features"), decoder="crf", options={"encoder.hide": 0.15})
SYSTEMS = {
    "words, BiLSTM, softmax": replace(FRESH, inputs=("words",), context="bilstm"),
    "words + char CNN, BiLSTM, CRF": replace(FRESH, inputs=SPELT, context="bilstm", decoder="crf"),
    "words + char CNN + features, BiLSTM, CRF": replace(FRESH, inputs=ALL, context="bilstm", decoder="crf"),
    "words + char CNN + features, ID-CNN, CRF": replace(
        SLOWER, inputs=ALL, context="iterated_dilated", decoder="crf", training=replace(SLOWER.training, lr=2e-3)
    ),
    "words + char CNN + features, BiLSTM, RNN": replace(SLOWER, inputs=ALL, context="bilstm", decoder="rnn"),
    "words + char CNN + features, BiLSTM, pointer": replace(SLOWER, inputs=ALL, context="bilstm", decoder="pointer"),
    "words + char BiLSTM + features, GRU, span": replace(
        SLOWER, inputs=("words", "char_lstm", "features"), context="gru", decoder="span"
    ),
    "minilm-l6, none, softmax": ENCODER,
    "minilm-l6 + char CNN + features, none, CRF": MORE,
    "minilm-l6 + char CNN + features with names of NELL, none, CRF": replace(
        MORE, options={"encoder.hide": 0.15, "features.gazetteer": NAMES}
    ),
}
ON_WIKIGOLD = ("words + char CNN, BiLSTM, CRF", "minilm-l6 + char CNN + features, none, CRF")


def wikigold() -> Corpus:
    sentences = tuple(read_sentences(DATA / "wikigold" / "wikigold.conll.txt"))
    a, b = (len(sentences) * part // 10 for part in (8, 9))
    return Corpus("wikigold", sentences[:a], sentences[a:b], sentences[b:])


def markdown(found: Cells) -> str:
    """The table of the docs: mean ± standard deviation over seeds."""
    lines = [
        "| data | input, context, decoder | dev F1 | test F1 | precision | recall | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for data in SETS:
        for system in SYSTEMS:
            if some := of(found, data, system):
                told = [
                    over(some, part, "spans", x)
                    for part, x in (("dev", "f1"), ("test", "f1"), ("test", "precision"), ("test", "recall"))
                ]
                lines.append(f"| {data} | {system} | {' | '.join(told)} | {len(some)} |")
    return "\n".join(lines)


def wanted(given: argparse.Namespace) -> list[tuple[str, str, int]]:
    systems = [name for name in SYSTEMS if given.systems is None or name in given.systems]
    every = [(data, system, seed) for seed in given.seeds for data in given.data for system in systems]
    return [(data, system, seed) for data, system, seed in every if data == "wnut17" or system in ON_WIKIGOLD]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], SETS)
    parser.set_defaults(work=WORK / "tagging-entities", out=RESULT)
    given = parser.parse_args()
    if given.table:
        return print(markdown(cells(given.out)))
    given.work.mkdir(parents=True, exist_ok=True)
    given.out, given.work = given.out.resolve(), given.work.resolve()
    os.chdir(given.work)  # so that settings say nothing of this machine
    nell_gazetteer.write(DATA / "kg_nell995" / "entity2id.txt", Path(NAMES))
    corpora = {"wnut17": read_corpus(DATA / "wnut17"), "wikigold": wikigold()}
    if given.quick:
        return print(markdown(quick(SYSTEMS, corpora, "wnut17")))
    print(markdown(measured(given, wanted(given), lambda data, system: SYSTEMS[system], corpora)))


if __name__ == "__main__":
    main()

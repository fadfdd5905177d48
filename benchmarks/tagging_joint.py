"""Joint intents and slots on ATIS and Snips: a small pretrained encoder with and without a CRF, a BiLSTM-CRF without pretraining.

CUTAWAY_DATA=DATA python benchmarks/tagging_joint.py              all cells that are not measured yet; stop it at any time
python benchmarks/tagging_joint.py --data atis --seeds 0          some of them
python benchmarks/tagging_joint.py --quick                        a trial of seconds on a few sentences, which writes nothing
python benchmarks/tagging_joint.py --table                        the table of docs/tagging.md, from the committed result
"""

import argparse
from dataclasses import replace
from pathlib import Path

from tagging_cells import DATA, WORK, Cells, arguments, cells, measured, of, over, quick

from cutaway.tagging.config import PAPER, Config
from cutaway.tagging.corpus import read_corpus
from cutaway.tagging.paper import published

RESULT = Path(__file__).parent / "results" / "tagging-joint.json"
SETS = ("atis", "snips")

MEAN, FIRST = {"encoder.sentence": "mean"}, {"encoder.sentence": "first"}
ENCODER = Config(options=MEAN)
"""The mean stood for a text when this encoder was trained."""
BARE = Config(
    inputs=("words", "char_cnn"),
    context="bilstm",
    decoder="crf",
    dropout=0.3,
    fresh_lr=1.0,
    training=replace(ENCODER.training, epochs=40, lr=2e-3, patience=10),
)
SYSTEMS = {
    "BiLSTM-CRF, no pretraining": BARE,
    "minilm-l6": ENCODER,
    "minilm-l6 + CRF": replace(ENCODER, decoder="crf"),
}
ABLATIONS = {
    "minilm-l6 + CRF, intent from the first token, 20 epochs": replace(
        ENCODER, decoder="crf", options=FIRST, training=replace(ENCODER.training, epochs=20, patience=6)
    ),
    "minilm-l6 + CRF, slots by their mean": replace(ENCODER, decoder="crf", slot_loss="mean"),
    "BiLSTM-CRF, adversarial": replace(BARE, adversarial=0.05),
    "BiLSTM-CRF, slots alone": replace(BARE, intents="off"),
    "BiLSTM, intents alone": replace(BARE, slot_weight=0.0),
    "minilm-l6, training of the paper": replace(PAPER, options=FIRST),
}
"""What each choice does, measured on ATIS."""
ALL = SYSTEMS | ABLATIONS


def config(data: str, system: str) -> Config:
    """Snips has three times the sentences of ATIS, and is given fewer epochs."""
    made = ALL[system]
    shorter = {12: 5, 40: 20}.get(made.training.epochs, made.training.epochs)
    return replace(made, training=replace(made.training, epochs=shorter)) if data == "snips" else made


def markdown(found: Cells) -> str:
    """The table of the docs: mean ± standard deviation over seeds, the published rows below."""
    lines = ["| data | system | intent accuracy | span F1 | frame accuracy | seeds |", "|---|---|---|---|---|---|"]
    for data in SETS:
        for system in ALL:
            if some := [cell["test"] for cell in of(found, data, system)]:
                three = [over(some, *path) for path in (("intent_accuracy",), ("spans", "f1"), ("frame_accuracy",))]
                lines.append(f"| {data} | {system} | {' | '.join(three)} | {len(some)} |")
        for row in published(data):
            three = (row.intent_accuracy, row.span_f1, row.frame_accuracy)
            lines.append(f"| {data} | *{row.system}* | {' | '.join(f'{x:.2f}' for x in three)} | |")
    return "\n".join(lines)


def wanted(given: argparse.Namespace) -> list[tuple[str, str, int]]:
    """In order of importance: every data set and system with one seed, then the other seeds; then the ablations."""
    systems, more = (
        [name for name in some if given.systems is None or name in given.systems] for some in (SYSTEMS, ABLATIONS)
    )
    first = [(data, system, seed) for seed in given.seeds for data in given.data for system in systems]
    return first + [("atis", system, seed) for seed in given.seeds for system in more if "atis" in given.data]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], SETS)
    parser.set_defaults(work=WORK / "tagging-joint", out=RESULT)
    given = parser.parse_args()
    if given.table:
        return print(markdown(cells(given.out)))
    corpora = {name: read_corpus(DATA / name) for name in SETS}
    found = quick(ALL, corpora, "atis") if given.quick else measured(given, wanted(given), config, corpora)
    print(markdown(found))


if __name__ == "__main__":
    main()

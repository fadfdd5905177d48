"""Published numbers for joint intents and slots: plain data, nothing is computed here.

Chen, Zhuo & Wang 2019, BERT for joint intent classification and slot filling (arXiv 1902.10909), Table 2, and what others report on
the same splits of ATIS (4,478 / 500 / 893 sentences) and Snips (13,084 / 700 / 700). Percent.
"""

from dataclasses import dataclass

CITATION = "Chen, Zhuo & Wang 2019, BERT for joint intent classification and slot filling (arXiv 1902.10909)"
TABLE = f"{CITATION}, Table 2"
REPRODUCTION = "monologg/JointBERT on GitHub, README; the best of several test runs, not chosen on dev"
GOO = "Goo et al. 2018, Slot-gated modeling for joint slot filling and intent prediction (NAACL), as given in Chen et al., Table 2"


@dataclass(frozen=True)
class Published:
    """One row."""

    system: str
    data: str
    intent_accuracy: float
    span_f1: float
    frame_accuracy: float
    source: str


ROWS = (
    Published("slot-gated BiLSTM", "atis", 94.1, 95.2, 82.6, GOO),
    Published("joint BERT (110 M)", "atis", 97.5, 96.1, 88.2, TABLE),
    Published("joint BERT + CRF (110 M)", "atis", 97.9, 96.0, 88.6, TABLE),
    Published("joint BERT, made again", "atis", 97.87, 95.59, 88.24, REPRODUCTION),
    Published("joint BERT + CRF, made again", "atis", 97.98, 95.93, 88.58, REPRODUCTION),
    Published("joint DistilBERT, made again", "atis", 97.76, 95.50, 87.68, REPRODUCTION),
    Published("slot-gated BiLSTM", "snips", 97.0, 88.8, 75.5, GOO),
    Published("joint BERT (110 M)", "snips", 98.6, 97.0, 92.8, TABLE),
    Published("joint BERT + CRF (110 M)", "snips", 98.4, 96.7, 92.6, TABLE),
    Published("joint BERT, made again", "snips", 99.14, 96.90, 93.00, REPRODUCTION),
    Published("joint BERT + CRF, made again", "snips", 98.57, 97.24, 93.57, REPRODUCTION),
    Published("joint DistilBERT, made again", "snips", 98.00, 96.10, 91.00, REPRODUCTION),
)

SENTENCES = {"atis": 893, "snips": 700}
"""Of the test sets: other numbers are of other splits."""


def published(data: str) -> list[Published]:
    """The rows for a data set; none for one that the papers do not have."""
    return [row for row in ROWS if row.data == data.lower()]

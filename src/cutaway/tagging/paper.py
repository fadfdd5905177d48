"""Published numbers: plain data, nothing is computed here. Percent.

Joint intents and slots: Chen, Zhuo & Wang 2019, BERT for joint intent classification and slot filling (arXiv 1902.10909), Table 2,
and what others report on the same splits of ATIS (4,478 / 500 / 893 sentences) and Snips (13,084 / 700 / 700). Named entities: the
shared task of WNUT-17 (3,394 / 1,009 / 1,287), and what the survey of Li, Sun, Han & Li 2020 (arXiv 1812.09449, Table 3) lists for
CoNLL-2003, which is not free to pass on: its numbers stand here for comparison of kinds, not of data.
"""

from dataclasses import dataclass

CITATION = "Chen, Zhuo & Wang 2019, BERT for joint intent classification and slot filling (arXiv 1902.10909)"
TABLE = f"{CITATION}, Table 2"
REPRODUCTION = "monologg/JointBERT on GitHub, README; the best of several test runs, not chosen on dev"
GOO = "Goo et al. 2018, Slot-gated modeling for joint slot filling and intent prediction (NAACL), as given in Chen et al., Table 2"
WNUT = "Derczynski et al. 2017, Results of the WNUT2017 shared task on novel and emerging entity recognition (W-NUT), Table 4"
SURVEY = "Li, Sun, Han & Li 2020, A survey on deep learning for named entity recognition (arXiv 1812.09449), Table 3"


@dataclass(frozen=True)
class Published:
    """One row."""

    system: str
    data: str
    intent_accuracy: float | None
    span_f1: float
    frame_accuracy: float | None
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
    Published("UH-RiTUAL, first of the shared task", "wnut17", None, 41.86, None, WNUT),
)

SENTENCES = {"atis": 893, "snips": 700, "wnut17": 1287}
"""Of the test sets: other numbers are of other splits."""


def published(data: str) -> list[Published]:
    """The rows for a data set; none for one that the papers do not have."""
    return [row for row in ROWS if row.data == data.lower()]


@dataclass(frozen=True)
class Surveyed:
    """A row of the survey's table: a system in the terms of its three axes, and its F1 on CoNLL-2003."""

    system: str
    inputs: str
    context: str
    decoder: str
    f1: float


CONLL_2003 = (
    Surveyed("Collobert et al. 2011", "word vectors, hand features", "CNN", "CRF", 89.59),
    Surveyed("Huang, Xu & Yu 2015", "word vectors, hand features", "BiLSTM", "CRF", 90.10),
    Surveyed("Strubell et al. 2017", "word vectors, shapes", "iterated dilated CNN", "CRF", 90.54),
    Surveyed("Lample et al. 2016", "word vectors, character BiLSTM", "BiLSTM", "CRF", 90.94),
    Surveyed("Ma & Hovy 2016", "word vectors, character CNN", "BiLSTM", "CRF", 91.21),
    Surveyed("Chiu & Nichols 2016", "word vectors, character CNN, gazetteer", "BiLSTM", "softmax", 91.62),
    Surveyed("Peters et al. 2017, TagLM", "word vectors, characters, language model", "BiGRU", "CRF", 91.93),
    Surveyed("Peters et al. 2018, ELMo", "word vectors, characters, language model", "BiLSTM", "CRF", 92.22),
    Surveyed("Devlin et al. 2019, BERT-large", "pretrained encoder", "none", "softmax", 92.80),
    Surveyed("Akbik et al. 2018, Flair", "character language model, word vectors", "BiLSTM", "CRF", 93.09),
    Surveyed("Baevski et al. 2019, cloze", "pretrained encoder, characters", "BiLSTM", "CRF", 93.50),
)
"""As the survey gives them."""

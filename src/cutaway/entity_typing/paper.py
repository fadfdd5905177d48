"""Published numbers: plain data, nothing is computed here. Macro precision, recall and F1 on Ultra-Fine's test mentions, percent.

The Label Reasoning Network's are those of Liu et al. 2021; by group they are not in the paper, and were measured on the predictions
that its authors released. What else a system learned from than the 1,998 training mentions is said with it.
"""

from dataclasses import dataclass

CITATION = (
    "Liu, Lin, Xiao, Han, Sun & Wu 2021, Fine-grained entity typing via label reasoning (EMNLP 2021, arXiv 2109.05744)"
)
RELEASED = "predictions released by Liu et al. 2021 (loriqing/Label-Reasoning-Network on GitHub), by the protocol of `scores.py`"
CHOI = "Choi, Levy, Choi & Zettlemoyer 2018, Ultra-fine entity typing (ACL 2018, arXiv 1807.04905)"
XIONG = (
    "Xiong et al. 2019, Imposing label-relational inductive bias for extremely fine-grained entity typing (NAACL 2019)"
)
ONOE_2019 = "Onoe & Durrett 2019, Learning to denoise distantly-labeled data for entity typing (NAACL 2019)"
ONOE_2021 = "Onoe, Boratko, McCallum & Durrett 2021, Modeling fine-grained entity types with box embeddings (ACL 2021)"
DAI = "Dai, Song & Wang 2021, Ultra-fine entity typing with weak supervision from a masked language model (ACL 2021)"
LI = "Li, Yin & Chen 2022, Ultra-fine entity typing with indirect supervision from natural language inference (TACL)"


@dataclass(frozen=True)
class Published:
    """One row."""

    system: str
    data: str
    precision: float
    recall: float
    f1: float
    source: str
    group: str = ""
    """Of types; "" for all of them."""


LRN = "LRN, BERT-base (110 M)"
ROWS = (
    Published("biLSTM, distant supervision", "ufet", 47.1, 24.2, 32.0, CHOI),
    Published("LabelGCN, distant supervision", "ufet", 50.3, 29.2, 36.9, XIONG),
    Published("ELMo, denoised distant supervision", "ufet", 51.5, 33.0, 40.2, ONOE_2019),
    Published("Box4Types, BERT-large, distant supervision", "ufet", 52.8, 38.8, 44.8, ONOE_2021),
    Published(LRN, "ufet", 54.5, 38.9, 45.4, CITATION),
    Published("MLMET, BERT-base, labels by a masked LM", "ufet", 53.6, 45.3, 49.1, DAI),
    Published("LITE, RoBERTa-large, entailment", "ufet", 52.4, 48.9, 50.6, LI),
    Published(LRN, "ufet", 77.4, 76.7, 77.1, RELEASED, "coarse"),
    Published(LRN, "ufet", 58.4, 50.4, 54.1, RELEASED, "fine"),
    Published(LRN, "ufet", 43.5, 26.4, 32.8, RELEASED, "ultra-fine"),
)

MENTIONS = {"ufet": 1998}
"""Of the test sets: other numbers are of other splits."""

CALLED = {"ufet": "ufet", "ultra-fine": "ufet", "crowd": "ufet", "release": "ufet", "open_type": "ufet"}
"""Names under which folders of these data go around."""


def published(data: str, n: int, group: str = "") -> list[Published]:
    """The rows for a test set, by the name of its folder and its size; none for one that the papers do not have."""
    name = CALLED.get(data.lower(), "")
    return [row for row in ROWS if row.data == name and row.group == group and MENTIONS[name] == n]

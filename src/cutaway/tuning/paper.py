"""Published numbers: plain data, nothing is computed here. Percent.

Methods on GLUE with RoBERTa-base (125 M parameters): Hu et al. 2022, LoRA (arXiv 2106.09685), Table 2, on GLUE's dev sets
(accuracy; Matthews' correlation for CoLA, Pearson's for STS-B); and the averages over eight tasks that the review of Xu et al. 2023
(arXiv 2312.12148) reports.
"""

from dataclasses import dataclass

CITATION = (
    "Xu, Xie, Qin, Tao & Wang 2023, Parameter-efficient fine-tuning methods for pretrained language models: a critical review and "
    "assessment (arXiv 2312.12148)"
)
REVIEW = f"{CITATION}, results on GLUE"
LORA = "Hu et al. 2022, LoRA: low-rank adaptation of large language models (arXiv 2106.09685), Table 2"


@dataclass(frozen=True)
class Published:
    """One row."""

    method: str
    """Its name here, if it is here."""
    system: str
    data: str
    metric: str
    value: float
    parameters: float
    """That are trained, in millions."""
    source: str


_TASKS = (("cola", "matthews"), ("rte", "accuracy"), ("mrpc", "accuracy"), ("stsb", "pearson"), ("sst2", "accuracy"))
_BY_TASK = (
    ("full", "full fine-tuning", 125.0, (63.6, 78.7, 90.2, 91.2, 94.8)),
    ("bitfit", "BitFit", 0.1, (62.0, 81.5, 92.7, 90.8, 93.7)),
    ("adapter_drop", "AdapterDrop's adapters", 0.3, (60.8, 71.5, 88.5, 89.7, 94.2)),
    ("adapter_drop", "AdapterDrop's adapters", 0.9, (62.6, 75.9, 88.4, 90.3, 94.7)),
    ("lora", "LoRA", 0.3, (63.4, 86.6, 89.7, 91.5, 95.1)),
)
_AVERAGES = (
    ("full", "full fine-tuning", 124.6, 84.0),
    ("adapter", "sequential adapter", 7.41, 85.4),
    ("prompt", "prompt tuning", 0.61, 74.6),
    ("prefix", "prefix tuning", 0.96, 80.9),
    ("ia3", "(IA)³", 0.66, 82.5),
    ("bitfit", "BitFit", 0.69, 84.7),
    ("lora", "LoRA", 0.89, 84.3),
    ("adalora", "AdaLoRA", 1.03, 83.6),
    ("propelt", "ProPELT, adapter", 1.87, 85.3),
)
ROWS = tuple(
    Published(method, f"RoBERTa-base, {system}", data, metric, value, size, LORA)
    for method, system, size, values in _BY_TASK
    for (data, metric), value in zip(_TASKS, values, strict=True)
) + tuple(
    Published(method, f"RoBERTa-base, {system}", "glue", "average", value, size, REVIEW)
    for method, system, size, value in _AVERAGES
)

EXAMPLES = {"cola": 1043, "rte": 277, "mrpc": 408, "stsb": 1500, "sst2": 872}
"""Of GLUE's dev sets: other numbers are of other splits."""


def published(data: str, n: int) -> list[Published]:
    """The rows for a data set (`cola`, `glue_cola`), if it has as many examples as the papers measured on."""
    name = data.lower().replace("-", "").removeprefix("glue_")
    return [row for row in ROWS if row.data == name] if EXAMPLES.get(name) == n else []

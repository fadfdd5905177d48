"""The eight heads that write three-letter acronyms in GPT-2 small (García-Carrasco, Maté & Trujillo 2024)."""

from cutaway.circuits import paper
from cutaway.circuits.known.record import KnownCircuit

KNOWN = KnownCircuit(
    name="acronyms",
    model="gpt2",
    behavior="acronyms",
    roles=paper.GROUPS,
    citation=paper.CITATION,
    certainty=(
        "The paper lists all eight and builds the circuit up head by head (figure 8). Each was shown to matter; that no other "
        "does was not: 10.7 and 11.10 work against the answer and are left out by the authors. Prompts here are of the "
        "paper's form (a bare capital and one more token for each word, no worked example), with other words."
    ),
    shape=(paper.LAYERS, paper.HEADS),
    options=("word_tokens=2,2", "spelled=true", "example=", f"bos={paper.BOS}"),
    published=(
        "automatic extraction by the same authors (arXiv 2412.15750; its code's tables): TPR 0.125 to 0.25 from heads alone, "
        "0.375 to 0.5 with MLPs, FPR at most 0.007"
    ),
)

"""The strongest induction heads of GPT-2 small, and the previous-token heads before them."""

from cutaway.circuits.known.record import KnownCircuit

KNOWN = KnownCircuit(
    name="induction",
    model="gpt2",
    behavior="induction",
    roles={
        "induction": ("5.1", "5.5", "6.9", "7.2", "7.10"),
        "previous-token": ("4.11",),
    },
    citation=(
        "what the heads are: Elhage et al. 2021 (transformer-circuits.pub) and Olsson et al. 2022 (arXiv 2209.11895); which "
        "heads: attention on repeated random tokens, as by Nanda 2022 (neelnanda.io/mosaic)"
    ),
    certainty=(
        "The least certain record here. It lists heads by where they look on repeated random tokens (above 0.8 of their "
        "attention), not by what removing them costs; no paper has verified it as a circuit. More heads look there less "
        "strictly (5.0, 9.6, 9.9, 10.1, 10.7 among others). 4.11 looks at the token before almost always; 2.2 does so in part."
    ),
    shape=(12, 12),
)

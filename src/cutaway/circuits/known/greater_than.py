"""The heads that carry the start year in GPT-2 small's greater-than (Hanna, Liu & Variengien 2023)."""

from cutaway.circuits.known.record import KnownCircuit

KNOWN = KnownCircuit(
    name="greater_than",
    model="gpt2",
    behavior="greater_than",
    roles={
        "year mover": ("5.1", "5.5", "6.9", "7.10", "8.8", "8.11", "9.1"),
        "early": ("0.1", "0.3", "0.5"),
    },
    citation="Hanna, Liu & Variengien 2023 (arXiv 2305.00586, §3)",
    certainty=(
        "Half of this circuit is MLPs (0 to 3 and 8 to 11), which a list of heads leaves out. That MLP 9 reads 9.1, and MLP 8 "
        "reads 8.11, 8.8, 7.10, 6.9, 5.5 and 5.1, is the paper's text. The early heads are in its graph with a small part. "
        "The list used to test ACDC (Conmy et al. 2023) differs: it has 6.1, and neither 5.1 nor 8.8."
    ),
    shape=(12, 12),
)

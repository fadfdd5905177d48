"""The 26 heads of indirect object identification in GPT-2 small (Wang et al. 2022)."""

from cutaway.circuits.known.record import KnownCircuit

KNOWN = KnownCircuit(
    name="ioi",
    model="gpt2",
    behavior="ioi",
    roles={
        "name mover": ("9.9", "10.0", "9.6"),
        "backup name mover": ("9.0", "9.7", "10.1", "10.2", "10.6", "10.10", "11.2", "11.9"),
        "negative name mover": ("10.7", "11.10"),
        "S-inhibition": ("7.3", "7.9", "8.6", "8.10"),
        "induction": ("5.5", "5.8", "5.9", "6.9"),
        "duplicate-token": ("0.1", "0.10", "3.0"),
        "previous-token": ("2.2", "4.11"),
    },
    citation="Wang, Variengien, Conmy, Shlegeris & Steinhardt 2022 (arXiv 2211.00593, figure 2)",
    certainty=(
        "The seven classes and their 26 heads are the paper's. Classes differ in weight: 5.8, 5.9 and 0.10 are drawn as the "
        "weaker members of theirs; backups act only once the name movers are gone, so that a method which patches one head at "
        "a time cannot see most of them; negative heads lower the answer. A method is not wrong to miss backups and negatives. "
        "Templates and names here are ours."
    ),
    shape=(12, 12),
)

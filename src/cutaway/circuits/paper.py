"""The published numbers of "How does GPT-2 predict acronyms?", for GPT-2 small: plain data, nothing is computed here.

García-Carrasco, Maté & Trujillo, AISTATS 2024 (arXiv 2405.04156). The authors publish figures and no tables, so the
numbers are those of the vector graphics in their repository: lines and bars give their coordinates exactly, heat maps
only through the colour bar, which is good to about 1 % of its length. `Reading` says which it was.

Letters are counted from 1, heads are written layer.head, roles are those of the prompt

    BOS The C1 T1 C2 T2 C3 T3 ( A1 A2      letter 1 is predicted at "(", letter 2 at A1, letter 3 at A2
"""

from dataclasses import dataclass

CITATION = (
    "García-Carrasco, Maté & Trujillo 2024, How does GPT-2 predict acronyms? Extracting and understanding a circuit via "
    "mechanistic interpretability, AISTATS (arXiv 2405.04156)"
)
REPOSITORY = "jgcarrasco/acronyms_paper"
PROMPTS_URL = "https://raw.githubusercontent.com/jgcarrasco/acronyms_paper/main/acronyms_2_common.txt"
PROMPTS_SHA256 = "6b546d116e347fb653af3f325d73048629190caffd34e7e6440455ad4ff3711a"
PROMPTS_LICENCE = "none stated"

N_PROMPTS = 50
"""The default of every script: the first 50 lines of the file."""
LAYERS, HEADS, VOCAB = 12, 12, 50257
"""GPT-2 small."""
BOS = 50256

GROUPS = {
    "letter mover": ("8.11", "9.9", "10.10", "11.4"),
    "positional": ("5.8",),
    "previous-token": ("4.11",),
    "fuzzy previous-token": ("2.2", "1.0"),
}
"""What the heads of the circuit do (§4, §5)."""

CIRCUIT = ("8.11", "9.9", "10.10", "11.4", "5.8", "4.11", "2.2", "1.0")
"""In the order in which figure 8 adds them."""


@dataclass(frozen=True)
class Reading:
    """Where some numbers stand and how they were read.

    `span` is the length of the colour bar, in the units of the numbers; None where line coordinates were read. Where the
    ends of a bar are not recorded, it is twice the largest size of a number in the same figure.
    """

    where: str
    decimals: int
    span: float | None = None


# --- the whole model, and the circuit built up (figure 8) ---------------------------------------------------------------

BUILD_UP_READ = Reading("figure 8, evaluation.py", 2)
FULL_MODEL_READ = Reading("figure 8, evaluation.py", 3)

FULL_MODEL = (1.235, 1.986, 3.393)
"""Mean logit difference of the letters 1, 2, 3."""
FULL_MODEL_MEAN = 2.205

BUILD_UP = (
    ("none", (-0.77, -0.32, -0.99), (0.51, 0.69, 0.80)),
    ("8.11", (-0.05, 0.38, 1.82), (0.55, 0.76, 1.06)),
    ("9.9", (0.20, 0.43, 1.90), (0.52, 0.80, 1.09)),
    ("10.10", (0.87, 0.70, 3.16), (0.81, 0.95, 1.16)),
    ("11.4", (1.17, 0.79, 3.25), (0.77, 0.96, 1.17)),
    ("5.8", (1.16, 0.85, 3.27), (0.77, 0.96, 1.20)),
    ("4.11", (1.13, 1.01, 3.32), (0.77, 1.01, 1.25)),
    ("2.2", (1.26, 1.56, 3.50), (0.77, 1.16, 1.37)),
    ("1.0", (1.39, 2.00, 3.62), (0.76, 1.26, 1.43)),
)
"""Head added last, mean logit difference by letter, standard deviation over prompts by letter; all heads not yet added
are replaced by their mean over the corrupted prompts, position by position."""

RECOVERED = (1.13, 1.01, 1.07)
"""Logit difference of the circuit over that of the whole model, by letter."""

# --- activation patching (figures 1, 2, 4–7) ----------------------------------------------------------------------------
# change of the logit difference when a corrupted activation is patched into the clean run: negative helps the answer

PATCHING = "figures 1, 2, 4–7, patching_experiments.py"
HEADS_READ = {
    "current word": Reading(PATCHING, 2, span=5.4),
    "previous words": Reading(PATCHING, 2, span=1.9),
}
STREAM_READ = {
    "current word": Reading(PATCHING, 2, span=13.5),
    "previous words": Reading(PATCHING, 2, span=3.2),
    "previous letters": Reading(PATCHING, 2, span=5.3),
}

HEAD_EFFECTS: dict[tuple[str, int, str | None], dict[str, float]] = {
    ("current word", 1, None): {
        "10.10": -0.96, "8.11": -0.66, "11.4": -0.57, "9.9": -0.19, "11.10": 0.22, "10.7": 0.09, "8.10": 0.09,
    },
    ("current word", 2, None): {
        "8.11": -2.10, "10.10": -0.91, "9.9": -0.14, "11.4": -0.09, "11.10": 0.17, "10.7": 0.13,
    },
    ("current word", 3, None): {
        "8.11": -2.70, "10.10": -1.61, "7.10": -0.23, "9.9": -0.10, "8.3": -0.10, "11.4": -0.09, "11.10": 0.24, "10.7": 0.22,
    },
    ("previous words", 2, "C2"): {"4.11": -0.15, "1.0": -0.04, "5.6": 0.04},
    ("previous words", 2, "A1"): {
        "8.11": -0.95, "5.8": -0.63, "10.10": -0.44, "7.10": 0.26, "5.5": -0.19, "6.9": 0.18, "8.3": -0.15,
    },
    ("previous words", 3, "C3"): {"5.6": 0.15, "4.11": -0.07, "1.0": -0.05},
    ("previous words", 3, "A2"): {"8.11": -0.34, "9.9": 0.24, "5.8": -0.18, "8.10": -0.13, "6.9": 0.11},
}  # fmt: skip
"""(corruption, letter, role or None for all positions) → head → effect of patching its output."""

STREAM_EFFECTS: dict[tuple[str, int], dict[tuple[int, str], float]] = {
    ("current word", 3): {(0, "C3"): -6.77, (8, "C3"): -4.88, (9, "A2"): -3.63, (10, "A2"): -4.11, (11, "A2"): -6.66},
    ("previous words", 2): {(0, "C1"): -1.44, (6, "T1"): 0.95, (8, "C2"): -0.54, (6, "A1"): -1.31, (11, "A1"): -1.46},
    ("previous words", 3): {(0, "C2"): -1.28, (6, "T2"): 1.04, (6, "C3"): -0.54, (11, "A2"): -1.59},
    ("previous letters", 2): {(layer, "A1"): -2.65 for layer in range(LAYERS)},
    ("previous letters", 3): {
        (0, "A2"): -1.98, (4, "A2"): -1.35, (11, "A2"): -2.21, (0, "A1"): -0.35, (1, "A1"): -0.35,
    },
}  # fmt: skip
"""(corruption, letter) → (layer, role) → effect of patching the residual stream before that layer at that role."""

# --- attention ------------------------------------------------------------------------------------------------------------

ATTENTION_READ = Reading("figure 3 and its like, histogram.py", 3)
PREVIOUS_READ = Reading("supplementary figure on fuzzy previous heads, supplementary.py", 2, span=1.0)

ATTENTION: dict[tuple[str, int], dict[str, tuple[float, float | None]]] = {
    ("8.11", 1): {"C1": (0.197, 0.084), "C2": (0.037, None), "C3": (0.043, None)},
    ("8.11", 2): {"C1": (0.030, None), "C2": (0.394, 0.143), "C3": (0.125, None), "T1": (0.118, None)},
    ("8.11", 3): {"C1": (0.008, None), "C2": (0.114, None), "C3": (0.413, 0.123), "(": (0.183, None)},
    ("10.10", 1): {"C1": (0.150, 0.057), "C2": (0.073, None), "C3": (0.082, None)},
    ("10.10", 2): {"C2": (0.097, None), "T1": (0.261, None), "T2": (0.124, None)},
    ("10.10", 3): {"C3": (0.138, None), "T2": (0.294, None), "T3": (0.176, None)},
    ("9.9", 1): {"C1": (0.073, None)},
    ("9.9", 2): {"C2": (0.026, None), "T1": (0.300, None)},
    ("9.9", 3): {"C3": (0.021, None), "T2": (0.399, None)},
    ("11.4", 1): {"C1": (0.122, 0.029), "C2": (0.068, None), "C3": (0.067, None)},
    ("5.8", 2): {"T1": (0.527, 0.129)},
    ("5.8", 3): {"T2": (0.128, None)},
}
"""(head, letter) → role → attention that the token predicting the letter pays to it: mean and sd over prompts. The last
two rows are how 5.8 looks from a written letter back to the end of the word it stands for."""

ATTENTION_AT_MOST = {("11.4", 2): 0.03, ("11.4", 3): 0.03}
"""(head, letter) → bound on the mean attention to each of C1, C2, C3."""

_STEPS_BACK = (
    ("C1", "The"), ("T1", "C1"), ("C2", "T1"), ("T2", "C2"), ("C3", "T2"), ("T3", "C3"), ("(", "T3"), ("A1", "("), ("A2", "A1"),
)  # fmt: skip

PREVIOUS: dict[str, dict[tuple[str, str], float]] = {
    "4.11": dict.fromkeys(_STEPS_BACK, 1.00),
    "2.2": {("T1", "C1"): 0.86, ("T2", "C2"): 0.82, ("T3", "C3"): 0.76, ("A2", "A1"): 0.77, ("A1", "("): 0.69},
    "1.0": {("T1", "C1"): 0.90, ("T2", "C2"): 0.76, ("T3", "C3"): 0.65},
}
"""head → (query, key) → mean attention from one to the other, its neighbour on the left."""

# --- the OV circuit on the alphabet (figures 9–11) ------------------------------------------------------------------------

OV_READ = {
    "movers": Reading("figures 9–11, mover_heads.py", 2, span=24.0),
    "8.11": Reading("figures 9–11, mover_heads.py", 2, span=3.0),
}
OV_SHARE_READ = Reading("figures 9–11, mover_heads.py", 2)

OV: dict[str, dict[str, tuple[float, float, float | None, float]]] = {
    "movers": {
        "|X| → |X|": (3.66, -0.46, 3.6, 0.19),
        "|X| → |_X|": (5.48, 1.11, 3.8, 0.23),
        "|_X| → |X|": (6.83, -0.65, 2.8, 0.81),
        "|_X| → |_X|": (9.00, -0.12, 3.0, 0.92),
    },
    "8.11": {
        "|X| → |X|": (0.45, -0.12, None, 0.15),
        "|X| → |_X|": (0.45, -0.09, None, 0.15),
        "|_X| → |X|": (0.73, -0.11, None, 0.38),
        "|_X| → |_X|": (0.72, -0.13, None, 0.31),
    },
}
"""Sum over the four letter movers, and one head alone: quadrant → mean on the diagonal, mean off it, sd off it, share of
the 26 letters for which the diagonal is the largest of its row."""

# --- positions (figures 12–14) --------------------------------------------------------------------------------------------

POSITIONS_READ = Reading("figures 12–14, positional_experiments.py", 3)
FIRST_READ = Reading("figures 12–14, positional_experiments.py", 2, span=0.38)

SWAPS: dict[tuple[str, str], dict[tuple[int, str], dict[str, float]]] = {
    ("C1", "C2"): {
        (1, "C1"): {"clean": 0.199, "positions": 0.201, "first": 0.145, "both": 0.151},
        (2, "C2"): {"clean": 0.387, "positions": 0.407, "first": 0.348, "both": 0.360},
        (3, "C3"): {"clean": 0.400, "positions": 0.389},
    },
    ("C1", "C3"): {
        (1, "C1"): {"clean": 0.199, "positions": 0.209, "first": 0.068, "both": 0.047},
        (1, "C3"): {"clean": 0.042, "positions": 0.049, "first": 0.076, "both": 0.084},
        (2, "C1"): {"clean": 0.031, "positions": 0.026, "first": 0.110, "both": 0.216},
        (2, "C2"): {"clean": 0.387, "positions": 0.417, "first": 0.265, "both": 0.256},
        (3, "C3"): {"clean": 0.400, "positions": 0.399, "first": 0.320, "both": 0.323},
        (3, "C1"): {"clean": 0.009, "positions": 0.008, "first": 0.028, "both": 0.041},
    },
    ("C2", "C3"): {
        (1, "C1"): {"clean": 0.199, "positions": 0.200},
        (2, "C2"): {"clean": 0.387, "positions": 0.381},
        (3, "C3"): {"clean": 0.400, "positions": 0.416},
    },
}
"""Words exchanged → (letter, role) → attention of 8.11 to the role, undisturbed, with the two position embeddings
exchanged, with the attention paid to BOS exchanged in all heads that react to it, and with both."""

SWAPPED_HEAD = "8.11"

NO_VISIBLE_CHANGE = ("C2", "C3")
"""The pair for which the exchange of the attention to BOS changes nothing that the figure shows."""

FIRST_EFFECTS: dict[tuple[str, str], dict[int, dict[str, float]]] = {
    ("C1", "C2"): {2: {"2.9": -0.15}},
    ("C1", "C3"): {
        1: {"0.9": -0.13, "1.8": -0.09, "1.1": -0.08, "0.5": -0.08, "0.8": 0.19, "0.11": 0.19, "1.2": 0.12},
        2: {"2.9": -0.13, "2.0": -0.05},
        3: {"2.9": -0.18, "5.9": -0.08, "0.6": -0.07, "3.7": -0.06},
    },
    ("C2", "C3"): {3: {"5.9": -0.06}},
}
"""Words exchanged → letter → head → change of the logit difference when its attention to BOS alone is exchanged."""

# --- a second source, for the record: not measured by `cutaway reproduce acronyms` ----------------------------------------

EXTRACTION_REPOSITORY = "jgcarrasco/circuit-extraction"
EXTRACTION = {
    "protocol": "last letter only, argmax over the whole vocabulary, 250 prompts to search and 250 to validate",
    "whole model, accuracy": (0.88, 0.92),
    "143 of 144 heads, accuracy": (0.900, 0.900),
    "heads only, threshold 0.01, accuracy": (0.936, 0.976),
    "heads only, threshold 0.09, accuracy": (0.996, 1.0),
    "with MLPs, threshold 0.02, accuracy": (0.956, 0.98),
    "with MLPs, threshold 0.04, accuracy": (0.71, 0.84),
    "heads only, share of the 8 heads found": (0.125, 0.25),
    "with MLPs, share of the 8 heads found": (0.375, 0.5),
    "share of other heads taken for some of the 8, at most": (0.0, 0.007),
}
"""Extracting Interpretable Task-Specific Circuits from Large Language Models for Faster Inference, by the same group:
lowest and highest value of its benchmark tables (automatic pruning by a threshold on the KL divergence)."""

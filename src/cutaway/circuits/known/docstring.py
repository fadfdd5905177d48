"""The eight heads that name docstring arguments in a four-layer attention-only model (Heimersheim & Janiak 2023)."""

from cutaway.circuits.known.record import KnownCircuit

KNOWN = KnownCircuit(
    name="docstring",
    model="attn-only-4l",
    behavior="docstring",
    roles={
        "argument mover": ("3.0", "3.6"),
        "induction": ("1.4", "2.0"),
        "fuzzy previous-token": ("1.2",),
        "token transfer": ("0.5",),
        "less important": ("0.2", "0.4"),
    },
    citation="Heimersheim & Janiak 2023 (alignmentforum.org/posts/u6KXXmKFbXfWzoAXn)",
    certainty=(
        "The eight heads are the authors'; they say that these recover up to half of the model's performance, and that 0.1, 1.0 "
        "and 2.3 add to it without a part in their explanation. 1.4 has two jobs, of which `induction` is one; names of roles "
        "are shortened here. The model (four layers of eight heads, no MLPs) is of a family that is not read here."
    ),
    shape=(4, 8),
    loads=False,
)

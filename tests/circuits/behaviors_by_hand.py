"""Behaviours of random token ids: no tokenizer, every shape that a real one can have."""

import random

from cutaway.circuits.behavior import Behavior, Row, Sample, Segment, Variant, assemble

VOCAB = 37
"""Fits every tiny decoder of the tests."""
LENGTHS = {"R1": (1, 3), "R2": (0, 2), "R3": (1, 2)}
CORRUPTIONS = {"step by step": "one run for each answer token", "everything": "all that differs between prompts"}


def random_behavior(
    seed: int = 0, *, prompts: int = 3, steps: int = 2, shared: int = 3, alternatives: int = 4, even: bool = False
) -> Behavior:
    """Prompts `example R1 R2 R3 ( A1 …`; `shared` tokens stand in front of all of them.

    How many tokens R1, R2 and R3 have is drawn; with `even`, one each, so that all prompts are of one length.
    """
    rng = random.Random(seed)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(VOCAB) for _ in range(n))

    example, bracket = ids(shared), ids(1)
    samples = []
    for i in range(prompts):
        lengths = {role: 1 if even else rng.randint(*some) for role, some in LENGTHS.items()}
        answer = ids(steps)
        row = [Segment("example", example)] if shared else []
        row += [Segment(role, ids(n)) for role, n in lengths.items() if n]
        row += [Segment("(", bracket), *(Segment(f"A{s + 1}", (token,)) for s, token in enumerate(answer[:-1]))]
        rivals = [[token for token in range(VOCAB) if token != right] for right in answer]
        others = tuple(tuple(rng.sample(tokens, rng.randint(1, alternatives))) for tokens in rivals)
        corrupted = {
            "step by step": tuple(
                Variant((s,), changed(rng, tuple(row), {rng.choice(["R1", "R3"])})) for s in range(steps)
            ),
            "everything": (Variant(tuple(range(steps)), changed(rng, tuple(row), {"R1", "R2", "R3", "A1", "A2"})),),
        }
        samples.append(Sample(f"prompt {i}", tuple(row), answer, others, corrupted))
    return assemble(
        "by hand",
        samples,
        about="random tokens",
        corruptions=CORRUPTIONS,
        reference="everything",
        recipe={"seed": seed},
    )


def changed(rng: random.Random, row: Row, roles: set[str]) -> Row:
    """Every token of these roles is another token."""

    def other(ids: tuple[int, ...]) -> tuple[int, ...]:
        return tuple((i + rng.randrange(1, VOCAB)) % VOCAB for i in ids)

    return tuple(Segment(part.role, other(part.ids)) if part.role in roles else part for part in row)

"""`cutaway behaviors`: what can be explained."""

from dataclasses import fields
from typing import Annotated

from cyclopts import App, Parameter

from cutaway.cli.opened import load
from cutaway.cli.terminal import listing, new_console

behaviors = App(name="behaviors", help="What can be explained.")


@behaviors.command(name="list")
def list_behaviors() -> None:
    """Behaviours known by name; a JSONL or CSV file of yours works as well (docs/add-a-behaviour.md)."""
    from cutaway.circuits.behaviors import behavior_recipes

    rows = [
        (r.name, r.about, ", ".join(f.name for f in fields(r.config)), r.citation) for r in behavior_recipes().values()
    ]
    new_console().print(listing(("name", "what it is", "options", "source"), rows))


@behaviors.command(name="show")
def show_behavior(
    behavior: str,
    *,
    model: Annotated[str, Parameter(alias="-m")] = "smollm2-135m",
    option: tuple[str, ...] = (),
    n: Annotated[int, Parameter(alias="-n")] = 3,
) -> None:
    """Some prompts with their exact tokens and roles."""
    from cutaway.circuits.behaviors.choose import choose

    loaded = load(model)
    made = choose(behavior, loaded, option, n=n)
    console, shown = new_console(), loaded.tokenizer.shown
    console.print(str(made), highlight=False, markup=False)
    for row in range(min(n, len(made))):
        tokens = made.clean.tokens[row][made.clean.mask[row]].tolist()
        roles = [made.slots[i][0] for i in made.clean.slots[row][made.clean.mask[row]].tolist()]
        cells = " ".join(f"{shown(i)}⟨{role}⟩" for i, role in zip(tokens, roles, strict=True))
        answer = "".join(shown(i) for i in made.answers[row].tolist())
        console.print(f"{cells}  →  {answer}", highlight=False, markup=False)

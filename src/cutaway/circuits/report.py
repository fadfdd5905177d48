"""A run as one self-contained page: opens from disk, needs no network, can be made again from the run's files."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cutaway.circuits.page import heads, sections
from cutaway.circuits.page.curve import Curve
from cutaway.circuits.page.data import data
from cutaway.circuits.page.heads import CircuitSection, Maps
from cutaway.circuits.page.heat import HeatMap
from cutaway.circuits.page.numbers import Table
from cutaway.circuits.page.sections import Again, Answer, Exchange, Span
from cutaway.circuits.read import Record, read
from cutaway.core.runs import Run

TEMPLATES = Path(__file__).parent

SCRIPTS = ("dom", "data", "tip", "tokens", "maps", "panel", "drawing", "save", "start")
"""One module of the page in so many files, in this order."""


@dataclass(frozen=True)
class Page:
    """What the page says, in the order of a reader's questions."""

    model: str
    behavior: str
    steps: tuple[str, ...]
    n_prompts: int
    answer: Answer
    prompts: Sequence[tuple[Sequence[Span], Sequence[str]]]
    performance: Table
    circuit: CircuitSection
    letters: Sequence[HeatMap]
    heads: Sequence[Maps]
    stream: Sequence[Maps]
    curves: Sequence[Curve]
    verification: Table
    sensitivity: Table | None
    exchanges: Sequence[Exchange]
    conventions: Table
    facts: Sequence[tuple[str, str]]
    again: Again
    data: str
    """What the script knows, as JSON that may stand in a `<script>` element."""

    @classmethod
    def of(cls, record: Record, manifest: dict) -> "Page":
        letters, on_heads, on_stream = heads.letters(record), heads.head_maps(record), heads.stream_maps(record)
        curves, exchanges = sections.curves(record), sections.exchanges(record)
        maps = [m for group in (*on_heads, *on_stream, *exchanges) for m in group.maps if m]
        return cls(
            model=record.circuit.model,
            behavior=record.circuit.behavior,
            steps=record.steps,
            n_prompts=len(record.prompts),
            answer=sections.answer(record),
            prompts=sections.prompts(record),
            performance=sections.performance(record),
            circuit=heads.circuit(record),
            letters=letters,
            heads=on_heads,
            stream=on_stream,
            curves=curves,
            verification=sections.verification(record),
            sensitivity=sections.sensitivity(record),
            exchanges=exchanges,
            conventions=sections.conventions(record),
            facts=sections.facts(record),
            again=sections.again(record, manifest),
            data=data(record, [*letters, *maps], curves),
        )


def render(folder: Path, manifest: dict | None = None) -> Path:
    """Writes `report.html` into a run folder and returns its path.

    Args:
        manifest: what will stand in `manifest.json`, for a run that has none yet; otherwise the file is read.

    Raises:
        CutawayError: not a run folder, or one of its files is missing or damaged.
    """
    record = read(Path(folder))
    page = Page.of(record, record.manifest if manifest is None else manifest)
    return Run(Path(folder)).text("report.html", html(page))


def html(page: Page) -> str:
    """The page; everything in it is escaped but our own style and script."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "\n".join((TEMPLATES / f"page/scripts/{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    style = (TEMPLATES / "page/style.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        page=page, style=Markup(style), script=Markup(script), data=Markup(page.data), policy=policy(script)
    )


def policy(script: str) -> str:
    """The page may run this one script, use its own styles, and fetch nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )

"""Figures of a run folder, as SVG and PNG, made from its files alone: the same folder gives the same bytes."""

import io
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cutaway.circuits.page.numbers import number, percent
from cutaway.circuits.read import Effects, Point, Record, place, read
from cutaway.core.runs import put
from cutaway.decoder import parse_site

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cutaway",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
}
"""Text stays text in SVG, a `$` in a role or a corruption is not mathematics, and element ids do not change between runs."""

INK, MUTED, BLUE, ORANGE = "#222222", "#8a8a8a", "#2166ac", "#d95f02"
DIVERGING, SEQUENTIAL = "RdBu_r", "Blues"
"""Both keep their order for every kind of colour blindness."""

DPI = 200
"""Of the PNG files."""

MAX_VECTOR = 600
"""Cells of a heat map that stay vectors in SVG; larger ones become an image."""

MAX_MOVERS = 12
"""Rows in the figure of the positional experiments."""


def draw(folder: Path) -> list[Path]:
    """Writes `figures/*.svg` and `figures/*.png` into a run folder; returns their paths.

    Raises:
        CutawayError: not a run folder, or one of its files is missing or damaged.
    """
    import matplotlib

    folder = Path(folder)
    record = read(folder)
    with matplotlib.rc_context(STYLE):
        return [path for name, figure in _figures(record) for path in _both(figure, folder, name)]


def drawn(make: "Callable[[], Figure]", folder: Path, name: str) -> list[Path]:
    """Writes one figure, made in the style of all, to `figures/` of a folder; returns the paths."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        return _both(make(), folder, name)


def _both(figure: "Figure", folder: Path, name: str) -> list[Path]:
    figure.draw_without_rendering()  # lays the panels out, once for both files
    figure.set_layout_engine("none")
    return [_save(figure, folder / "figures" / f"{name}.{kind}") for kind in ("svg", "png")]


def _figures(record: Record) -> "Iterator[tuple[str, Figure]]":
    for corruption, effects in record.heads.items():
        yield f"heads-{_slug(corruption)}", heads(record, effects)
    for corruption, effects in record.stream.items():
        yield f"stream-{_slug(corruption)}", stream(record, effects)
    if record.attention:
        yield "attention", attention(record)
    if "movers" in record.letters:
        yield "letters", letters(record)
    yield "buildup", buildup(record)
    if record.verification["minimality"]:
        yield "minimality", minimality(record)
    if record.positional and record.positional["movers"]:
        for pair in dict.fromkeys(swap["pair"] for swap in record.positional["swaps"]):
            yield f"positional-{_slug(pair)}", positional(record.steps, record.positional, pair)


def _slug(name: str) -> str:
    return "-".join(name.replace("↔", " ").replace("/", " ").split())


def _save(figure: "Figure", path: Path) -> Path:
    """Atomically, and without a date or the drawing program's version."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    image = io.BytesIO()
    if path.suffix == ".svg":
        FigureCanvasSVG(figure).print_svg(image, metadata={"Date": None, "Creator": None})
    else:
        figure.set_dpi(DPI)
        FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
    return put(path, image.getvalue())


# --- a sheet of equal panels ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sheet:
    """A figure with equal panels, each some inches wide and high, and the same inches around every one of them."""

    figure: "Figure"
    axes: "list[list[Axes]]"

    @classmethod
    def make(cls, rows: int, columns: int, size: tuple[float, float], title: str = "") -> "Sheet":
        from matplotlib.figure import Figure

        # margins in inches: labels and title above, ticks below
        width, height = columns * (size[0] + 0.55) + 0.9, rows * (size[1] + 0.55) + 0.55
        figure = Figure(figsize=(max(width, 4.2), max(height, 2.2)), layout="constrained", facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        return cls(figure, [list(row) for row in axes])

    @property
    def flat(self) -> "list[Axes]":
        return [axis for row in self.axes for axis in row]


def _cell(columns: int) -> float:
    """Side of a heat map's cell in inches: large maps get small cells."""
    return min(max(6.2 / max(columns, 1), 0.15), 0.3)


def _heat(axis: "Axes", grid: Sequence[Sequence[float | None]], *, limit: float, cmap: str = DIVERGING):
    """One heat map; a diverging one is centred at 0. Cells never measured are grey."""
    values = [[float("nan") if value is None else value for value in row] for row in grid]
    axis.set_facecolor("#e8e8e8")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    low = -limit if cmap == DIVERGING else 0
    axis.set_aspect("equal")
    axis.set(xlim=(-0.5, len(values[0]) - 0.5), ylim=(len(values) - 0.5, -0.5))
    if len(values) * len(values[0]) > MAX_VECTOR:
        return axis.imshow(values, cmap=cmap, vmin=low, vmax=limit or 1, interpolation="nearest")
    edges = [[i - 0.5 for i in range(n + 1)] for n in (len(values[0]), len(values))]
    lines = "white" if cmap == DIVERGING else "#e0e0e0"
    return axis.pcolormesh(*edges, values, cmap=cmap, vmin=low, vmax=limit or 1, edgecolors=lines, linewidth=0.4)


def _ticks(axis: "Axes", x: Sequence[str], y: Sequence[str], *, every: int = 1) -> None:
    """Labels longer than a cell stand upright."""
    axis.set_xticks(range(0, len(x), every), x[::every])
    for label in axis.get_xticklabels():
        label.set_rotation(90 if len(label.get_text()) > 3 else 0)
    axis.set_yticks(range(len(y)), y)


def _bar(sheet: Sheet, image, label: str) -> None:
    bar = sheet.figure.colorbar(image, ax=sheet.flat, shrink=0.9, aspect=25, pad=0.02, fraction=0.05)
    bar.outline.set_visible(False)
    bar.set_label(label)


def _foot(sheet: Sheet, text: str) -> None:
    """A small line below all panels, broken to the figure's width."""
    wide = int(sheet.figure.get_figwidth() * 18)
    sheet.figure.supxlabel(textwrap.fill(text, wide), x=0.01, ha="left", fontsize=6.5, color=MUTED)


def _every(count: int) -> int:
    """Label every n-th of many layers."""
    return 1 if count <= 16 else 5


def _stacked(record: Record, panels: int) -> tuple[int, int]:
    """Rows and columns: wide maps stand above each other, narrow ones side by side."""
    return (panels, 1) if record.n_layers > 14 else (1, panels)


# --- effects -------------------------------------------------------------------------------------------------------


def heads(record: Record, effects: Effects) -> "Figure":
    """Effect of every head on each answer step: layers from left to right, heads from top to bottom, circuit outlined."""
    steps = effects.steps or record.steps
    cell, layers = _cell(record.n_layers), [str(i) for i in range(record.n_layers)]
    title = f"Effect of heads: {effects.corruption}"
    sheet = Sheet.make(*_stacked(record, len(steps)), (cell * record.n_layers, cell * record.n_heads), title)
    for axis, step in zip(sheet.flat, steps, strict=True):
        grid = [
            [_mean(effects.of(f"{layer}.{head}", step)) for layer in range(record.n_layers)]
            for head in range(record.n_heads)
        ]
        image = _heat(axis, grid, limit=effects.largest)
        _ticks(axis, layers, [str(i) for i in range(record.n_heads)], every=_every(record.n_layers))
        axis.set(title=f"on {step}", xlabel="layer", ylabel="head")
        _outline(axis, record)
    _bar(sheet, image, effects.convention["metric"].replace("_diff", " difference").replace("_", " "))
    _foot(sheet, _convention(effects))
    return sheet.figure


def _outline(axis: "Axes", record: Record) -> None:
    from matplotlib.patches import Rectangle

    for site in record.circuit.sites:
        layer, head = place(site)
        corner = (layer - 0.5, head - 0.5)
        axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.1, clip_on=False, zorder=3))


def stream(record: Record, effects: Effects) -> "Figure":
    """Effect of the residual stream entering each layer, role by role; below it, of each MLP at all tokens."""
    steps = effects.steps or record.steps
    mlps = record.mlps.get(effects.corruption)
    rows = [*effects.roles, *([] if mlps is None else ["MLP, all tokens"])]
    cell, layers = _cell(record.n_layers), range(record.n_layers)
    title = f"Effect of the residual stream: {effects.corruption}"
    sheet = Sheet.make(*_stacked(record, len(steps)), (cell * record.n_layers, cell * len(rows)), title)
    limit = max(effects.largest, mlps.largest if mlps else 0)
    for axis, step in zip(sheet.flat, steps, strict=True):
        grid = [[_mean(effects.of(f"{layer}.resid_pre", step, role)) for layer in layers] for role in effects.roles]
        if mlps:
            grid.append([_mean(mlps.of(f"m{layer}", step)) for layer in layers])
            axis.axhline(len(rows) - 1.5, color="white", linewidth=3)
        image = _heat(axis, grid, limit=limit)
        _ticks(axis, [str(i) for i in layers], rows, every=_every(record.n_layers))
        axis.set(title=f"on {step}", xlabel="layer")
    _bar(sheet, image, effects.convention["metric"].replace("_diff", " difference").replace("_", " "))
    _foot(sheet, _convention(effects))
    return sheet.figure


def _mean(point: Point) -> float | None:
    return point[0] if point else None


def _convention(effects: Effects) -> str:
    c = effects.convention
    return f"{c['kind']} {c['direction']}, {c['metric']}, {c['sign']}; {c['n']} prompts, seed {c['seed']}, {c['model']}"


# --- explanations --------------------------------------------------------------------------------------------------


def attention(record: Record) -> "Figure":
    """Where the heads of the circuit look when each answer token is predicted."""
    names = [(str(head.site), f"{head.site}  {head.role}") for head in record.circuit.heads]
    roles, cell = record.attention_roles, 0.27
    sheet = Sheet.make(1, len(record.steps), (cell * len(roles), cell * len(names)), "Attention of the circuit's heads")
    sheet.figure.set_figwidth(sheet.figure.get_figwidth() + 1)
    for i, (axis, step) in enumerate(zip(sheet.flat, record.steps, strict=True)):
        grid = [[record.attention.get((site, step), {}).get(role) for role in roles] for site, _ in names]
        image = _heat(axis, grid, limit=1.0, cmap=SEQUENTIAL)
        _ticks(axis, roles, [name for _, name in names] if i == 0 else [""] * len(names))
        axis.set_title(f"predicting {step}")
    _bar(sheet, image, "attention, mean over prompts")
    return sheet.figure


def letters(record: Record) -> "Figure":
    """The OV circuit of all movers together on the alphabet: rows are attended to, columns are written."""
    alphabet = [chr(ord("A") + i) for i in range(26)]
    quadrants = record.letters["movers"]
    limit = max(abs(x or 0) for q in quadrants.values() for row in q["matrix"] for x in row)
    sheet = Sheet.make(2, 2, (3.3, 3.3), "What the movers write when they attend to a letter")
    for axis, (name, quadrant) in zip(sheet.flat, quadrants.items(), strict=True):
        image = _heat(axis, quadrant["matrix"], limit=limit)
        _ticks(axis, alphabet, alphabet)
        axis.tick_params(labelsize=6)
        source, target = name.split(" → ")
        own, others = number(quadrant["diagonal"]), number(quadrant["off_diagonal"])
        summary = f"diagonal {own}, elsewhere {others}, own letter first {percent(quadrant['row_max'])}"
        axis.set(title=f"{name}\n{summary}", xlabel=f"writes {target}", ylabel=f"attends to {source}")
        axis.title.set_fontsize(8)
    _bar(sheet, image, "logit")
    return sheet.figure


def positional(steps: Sequence[str], found: dict, pair: str) -> "Figure":
    """Where each mover looks when the positions of two words, their attention to the first token, or both are exchanged."""
    swaps = [swap for swap in found["swaps"] if swap["pair"] == pair]
    movers, sources = found["movers"][:MAX_MOVERS], found["sources"]
    size = 0.24 * len(sources) + 0.15, 0.24 * len(steps)
    image = None
    sheet = Sheet.make(len(movers), len(swaps), size, f"Attention of the movers, {pair} exchanged")
    for row, (axes, mover) in enumerate(zip(sheet.axes, movers, strict=True)):
        for column, (axis, swap) in enumerate(zip(axes, swaps, strict=True)):
            image = _heat(axis, swap["attention"][row], limit=1.0, cmap=SEQUENTIAL)
            last = row == len(movers) - 1
            _ticks(
                axis,
                sources if last else [""] * len(sources),
                steps if column == 0 else [""] * len(steps),
            )
            if row == 0:
                axis.set_title(swap["condition"])
            if column == 0:
                axis.set_ylabel(mover, fontweight="bold")
            if last:
                axis.set_xlabel("\n".join(map(number, swap["logit_diff"])), fontsize=7, color=MUTED)
    _foot(sheet, "below each column: the model's logit difference, step by step")
    _bar(sheet, image, "attention")
    return sheet.figure


# --- verification --------------------------------------------------------------------------------------------------


def buildup(record: Record) -> "Figure":
    """Logit difference as heads are added; the whole model dashed; random circuits of the same size as points."""
    found = record.verification
    names = [name for name, _ in found["buildup"]]
    sheet = Sheet.make(
        1, len(record.steps), (max(2.4, 0.14 * len(names)), 2.1), "Adding the circuit's heads, one at a time"
    )
    for axis in sheet.flat[1:]:
        axis.sharey(sheet.flat[0])
    for step, (axis, name) in enumerate(zip(sheet.flat, record.steps, strict=True)):
        _band(axis, [points[step] for _, points in found["buildup"]], BLUE)
        whole, empty = (found["model"]["logit_diff"][step], found["empty"][step])
        if whole:
            axis.axhline(whole[0], color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label="whole model")
        if whole and empty:
            drawn = [
                empty[0] + row[step] * (whole[0] - empty[0])
                for row in found["random_circuits"]
                if row[step] is not None
            ]
            end = len(names) - 1
            places = [end + 0.04 * len(names) * (1 + i / max(len(drawn), 1)) for i in range(len(drawn))]
            axis.plot(
                places, drawn, "o", color=ORANGE, markersize=3, alpha=0.6, markeredgewidth=0, label="random circuits"
            )
        _ticks_heads(axis, names)
        axis.set(title=name, ylabel="logit difference" if step == 0 else "")
        axis.margins(x=0.03)
    handles, labels = sheet.flat[0].get_legend_handles_labels()
    sheet.figure.legend(handles, labels, loc="outside lower left", ncols=3, fontsize=8)
    return sheet.figure


def _ticks_heads(axis: "Axes", names: list[str]) -> None:
    every = 1 if len(names) <= 30 else 2
    axis.set_xticks(range(0, len(names), every), names[::every], rotation=90, fontsize=6.5)


def _band(axis: "Axes", points: Sequence[Point], colour: str) -> None:
    known = [(i, *point) for i, point in enumerate(points) if point]
    x, mean, low, high = zip(*known, strict=True) if known else ((), (), (), ())
    axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axis.plot(x, mean, "-o", color=colour, markersize=2.5, linewidth=1.2, label="circuit so far, with 95 % interval")


def minimality(record: Record) -> "Figure":
    """What each head is worth: faithfulness lost when it alone is dropped from the circuit."""
    losses = record.verification["minimality"]
    sites = sorted(losses, key=lambda site: (parse_site(site).layer, parse_site(site).head))
    role = {str(head.site): head.role for head in record.circuit.heads}
    sheet = Sheet.make(1, len(record.steps), (2.3, 0.19 * len(sites)), "Faithfulness lost without each head")
    sheet.figure.set_figwidth(sheet.figure.get_figwidth() + 1)
    for axis in sheet.flat[1:]:
        axis.sharex(sheet.flat[0])
    for step, (axis, name) in enumerate(zip(sheet.flat, record.steps, strict=True)):
        _dots(axis, [losses[site][step] for site in sites])
        axis.axvline(0, color=MUTED, linewidth=0.7, zorder=0)
        axis.set_yticks(
            range(len(sites)), [f"{site}  {role.get(site, '')}" for site in sites] if step == 0 else [""] * len(sites)
        )
        axis.set(title=name, ylim=(len(sites) - 0.5, -0.5))
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="y", color="#eeeeee", linewidth=0.6)
        axis.set_axisbelow(True)
    _foot(sheet, "loss as a share of the model's performance, with its 95 % interval")
    return sheet.figure


def _dots(axis: "Axes", points: Sequence[Point]) -> None:
    for row, point in enumerate(points):
        if point:
            axis.plot(point[1:], (row, row), color=BLUE, linewidth=1.2, solid_capstyle="butt")
            axis.plot(point[0], row, "o", color=BLUE, markersize=3.5)

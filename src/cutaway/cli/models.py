"""`cutaway models`: which models there are, what is inside them, and whether they run as they should."""

from cyclopts import App

from cutaway.cli.opened import load, opened
from cutaway.cli.terminal import listing, new_console
from cutaway.core.errors import CutawayError

models = App(name="models", help="Which models there are, what is inside them, and whether they run as they should.")


@models.command(name="list")
def list_models() -> None:
    """Models known by name; folders, .gguf files, owner/name of the hub and tuned runs work too. planted:ioi@7: another draw."""
    from cutaway.decoder.catalog import KNOWN_MODELS
    from cutaway.decoder.planted.record import circuits

    rows = [(m.name, m.about, m.licence) for m in KNOWN_MODELS.values()]
    rows += [(f"planted:{c.name}", f"built by hand: {c.about}", "–") for c in circuits().values()]
    new_console().print(listing(("name", "what it is", "licence"), rows))


@models.command(name="show")
def show_model(name: str) -> None:
    """Family, sizes, sites with their shapes, licence, and where a model came from."""
    from cutaway.decoder.catalog import KNOWN_MODELS, locate
    from cutaway.decoder.sites import site_shapes

    model = load(name)
    known = KNOWN_MODELS.get(name)
    c = model.config
    rows = [
        ("family", c.family),
        (
            "size",
            f"{c.n_layers} layers × {c.n_heads} heads ({c.n_kv_heads} key-value), d_model {c.d_model}, "
            f"d_head {c.d_head}, d_mlp {c.d_mlp}",
        ),
        ("parameters", f"{sum(p.numel() for p in model.parameters()):,}"),
        (
            "positions",
            "learned" if c.rope is None else f"rotary, {c.rope.dim} of {c.d_head} dimensions, base {c.rope.base:g}",
        ),
        ("parts", ", ".join(_parts(c))),
        ("vocabulary", f"{c.vocab:,}; context {c.n_ctx:,} tokens; start-of-text id {c.bos} (never added silently)"),
        ("licence", known.licence if known else "see the checkpoint"),
        ("from", "built by hand" if name.startswith("planted:") else str(locate(opened(name)))),
    ]
    rows += [(f"site {kind}", shape) for kind, shape in site_shapes(c).items()]
    new_console().print(listing(("", name), rows))


def _parts(c) -> list[str]:
    norm = {"layer": "LayerNorm", "rms": "RMSNorm", "none": "no norm"}[c.norm]
    mlp = f"{'gated ' if c.gated else ''}MLP ({c.activation})"
    more = {"parallel residual": c.parallel, "norms after the sublayers": c.post_norms, "query-key norm": c.qk_norm}
    return [
        norm,
        mlp,
        "tied unembedding" if c.tied else "own unembedding",
        *(name for name, has in more.items() if has),
    ]


@models.command(name="check")
def check_model(name: str) -> None:
    """Put a model through the conformance suite: transformers' logits, padding, additivity, liveness of every site …"""
    from cutaway.decoder.catalog import locate
    from cutaway.decoder.check import check

    model = load(name)
    results = check(model, reference_folder=None if name.startswith("planted:") else locate(opened(name)))
    for result in results:
        print(result)
    failed = [result.name for result in results if result.passed is False]
    if failed:
        raise CutawayError(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")

"""The conformance suite: what every decoder of ours promises, measured on any model you bring.

    for line in check(cutaway.load("my-folder"), reference_folder="my-folder"):
        print(line)

Each check is one small function on a `Probe`: the model, some random tokens, and how far two results may lie apart.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.model import Decoder
from cutaway.decoder.patch import Patch
from cutaway.decoder.sites import HEAD_KINDS, KINDS, Site

ROWS, LONGEST = 3, 64
RELATIVE = {torch.float64: 1e-9, torch.float32: 2e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How far apart two ways of computing one thing may lie, as a part of its size: the noise of each dtype, with room."""


@dataclass(frozen=True)
class Check:
    """One promise and what was measured. It is kept if `value` is at most `limit`.

    `passed` is None for a check that was not tried; the note says why.
    """

    name: str
    passed: bool | None
    value: float
    limit: float
    note: str = ""

    def __str__(self) -> str:
        mark = {True: "ok  ", False: "FAIL", None: "skip"}[self.passed]
        measured = "" if self.passed is None else f"{self.value:.2g} (limit {self.limit:.2g})"
        return f"{mark}  {self.name:<25}  {measured:<24}  {self.note}".rstrip()


@dataclass(frozen=True)
class Measured:
    """What a check found, before it is judged."""

    value: float
    limit: float
    note: str = ""


@dataclass(frozen=True)
class Probe:
    """A model, tokens to try it on, and its plain logits on them."""

    model: Decoder
    tokens: Int[Tensor, "batch pos"]
    logits: Float[Tensor, "batch pos vocab"]
    seed: int

    @property
    def limit(self) -> float:
        """Largest |Δlogit| that counts as none: 1e-4 in float32, more in proportion where logits are beyond ±5."""
        size = float(self.logits.abs().max())
        return RELATIVE[self.model.dtype] * max(5.0, size if math.isfinite(size) else 0.0)

    @property
    def layers(self) -> list[int]:
        """First, middle and last."""
        last = self.model.config.n_layers - 1
        return sorted({0, last // 2, last})

    def noise(self, like: Tensor) -> Tensor:
        draw = torch.Generator().manual_seed(self.seed)
        return torch.randn(like.shape, generator=draw).to(like)


def check(model: Decoder, *, reference_folder: str | Path | None = None, seed: int = 0) -> list[Check]:
    """Puts `model` through every check; an exception in one is its failure, and the others go on.

    A model that cannot run at all gives that one failure.

    Args:
        model: any Decoder, loaded or built by hand, of any dtype and on any device.
        reference_folder: the checkpoint in Hugging Face layout that `transformers`, if installed, is asked about.
        seed: of the random tokens and edits.

    Raises:
        CutawayError: `reference_folder` is no folder, or the model's dtype is not one of `RELATIVE`.
    """
    if reference_folder is not None and not Path(reference_folder).is_dir():
        raise CutawayError(f"{reference_folder} is no folder: give the one the model was loaded from")
    if model.dtype not in RELATIVE:
        raise CutawayError(
            f"no tolerance is known for {model.dtype}: load the model as one of {', '.join(map(str, RELATIVE))}"
        )
    with torch.no_grad():
        before = fingerprint(model)
        tokens = _tokens(model, seed)
        try:
            probe = Probe(model, tokens, model(tokens), seed)
        except Exception as error:
            return [_failed("finite logits", error)]
        found = [_judged(name, lambda function=function: function(probe)) for name, function in CHECKS.items()]
        for kind in KINDS:
            found.append(_judged(f"patch identity {kind}", lambda kind=kind: patch_identity(probe, kind)))
            found.append(_judged(f"live {kind}", lambda kind=kind: liveness(probe, kind)))
        found.append(_judged("nothing left behind", lambda: nothing_left(probe, before)))
        return [*found, against_transformers(probe, reference_folder)]


def _tokens(model: Decoder, seed: int) -> Int[Tensor, "batch pos"]:
    """Random tokens, in rows longer than the narrowest window if that is at all short."""
    config = model.config
    narrow = min((window for window in config.windows if window), default=0)
    pos = min(config.n_ctx, max(12, narrow + 4) if narrow + 4 <= LONGEST else 12)
    return torch.randint(config.vocab, (ROWS, pos), generator=torch.Generator().manual_seed(seed)).to(model.device)


def _judged(name: str, measure: Callable[[], Measured]) -> Check:
    try:
        got = measure()
    except Exception as error:
        return _failed(name, error)
    return Check(name, got.value <= got.limit, got.value, got.limit, got.note)


def _failed(name: str, error: Exception) -> Check:
    return Check(name, False, math.inf, 0.0, f"{type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _apart(a: Tensor, b: Tensor) -> float:
    """Largest |a - b|; infinite where either is no number, so that a NaN never passes."""
    return float((a.double() - b.double()).abs().nan_to_num(nan=math.inf).max())


# --- the plain forward pass ------------------------------------------------------------------------------------------


def finite(probe: Probe) -> Measured:
    """Every logit is a number."""
    wrong = float((~torch.isfinite(probe.logits)).sum())
    rows, pos = probe.tokens.shape
    return Measured(wrong, 0.0, f"{rows} rows of {pos} random tokens, seed {probe.seed}")


def deterministic(probe: Probe) -> Measured:
    """The same tokens give the same logits, to the last bit."""
    return Measured(_apart(probe.model(probe.tokens), probe.logits), 0.0)


def causal(probe: Probe) -> Measured:
    """What comes later changes nothing before it."""
    other = probe.tokens.clone()
    half = other.shape[1] // 2
    other[:, half:] = (other[:, half:] + 1) % probe.model.config.vocab
    return Measured(_apart(probe.model(other)[:, :half], probe.logits[:, :half]), probe.limit)


def batch_order(probe: Probe) -> Measured:
    """A row has the same logits in any order, and alone."""
    apart = _apart(probe.model(probe.tokens.flip(0)).flip(0), probe.logits)
    alone = [_apart(probe.model(row[None])[0], plain) for row, plain in zip(probe.tokens, probe.logits, strict=True)]
    return Measured(max(apart, *alone), probe.limit)


def padding_left(probe: Probe) -> Measured:
    """Rows that lack 0, 1, 2 tokens, filled up on the left with tokens that are masked."""
    return _padding(probe, left=True)


def padding_right(probe: Probe) -> Measured:
    return _padding(probe, left=False)


def _padding(probe: Probe, *, left: bool) -> Measured:
    rows, pos = probe.tokens.shape
    lacking = torch.arange(rows, device=probe.tokens.device).clamp(max=pos - 1)
    mask = torch.arange(pos, device=probe.tokens.device) < pos - lacking[:, None]
    tokens = torch.where(mask, probe.tokens, probe.tokens.flip(0))
    if left:
        tokens, mask = (
            torch.stack([row.roll(int(n)) for row, n in zip(x, lacking, strict=True)]) for x in (tokens, mask)
        )
    padded = probe.model(tokens, mask)
    apart = [_apart(padded[row, mask[row]], probe.logits[row, : pos - int(lacking[row])]) for row in range(rows)]
    return Measured(max(apart), probe.limit)


def past_is_whole(probe: Probe) -> Measured:
    """Half the tokens as a past and the other half on top give what all of them give at once."""
    half = probe.tokens.shape[1] // 2
    if not half:
        return Measured(0.0, probe.limit, "one position only: there is no past")
    rest = probe.model.run(probe.tokens[:, half:], past=probe.model.prefill(probe.tokens[:, :half]))
    return Measured(_apart(rest.logits, probe.logits[:, half:]), probe.limit)


def additive(probe: Probe) -> Measured:
    """In every layer: Σ_h z_h W_O^h + bias is attn_out, and resid_pre + attn_out + mlp_out is resid_post."""
    config = probe.model.config
    kinds = ("resid_pre", "z", "attn_out", "mlp_out", "resid_post")
    seen = probe.model.run(
        probe.tokens, capture=[Site(n, kind) for n in range(config.n_layers) for kind in kinds]
    ).sites
    worst, where = 0.0, 0
    for layer in probe.model.layers:
        pre, z, attn, mlp, post = (seen[Site(layer.index, kind)] for kind in kinds)
        by_head = layer.o.weight.unflatten(1, (config.n_heads, config.d_head))
        written = torch.stack([z[:, :, head] @ by_head[:, head].T for head in range(config.n_heads)]).sum(0)
        written = written if layer.o.bias is None else written + layer.o.bias
        written = layer.post1(written) if config.post_norms else written
        for got, wanted in ((written, attn), (pre + attn + mlp, post)):
            apart = _apart(got, wanted) / max(float(wanted.abs().max()), 1e-6)
            if apart > worst:
                worst, where = apart, layer.index
    return Measured(worst, RELATIVE[probe.model.dtype], f"as a part of the largest activation; worst in layer {where}")


CHECKS: dict[str, Callable[[Probe], Measured]] = {
    "finite logits": finite,
    "deterministic": deterministic,
    "causal": causal,
    "batch order": batch_order,
    "padding left": padding_left,
    "padding right": padding_right,
    "past is whole": past_is_whole,
    "heads add up": additive,
}


# --- patches ---------------------------------------------------------------------------------------------------------


def patch_identity(probe: Probe, kind: str) -> Measured:
    """Patching a run with its own activations, whole and one head of them, changes nothing."""
    heads = [None, 0] if kind in HEAD_KINDS else [None]
    sites = [Site(layer, kind, head) for layer in probe.layers for head in heads]
    seen = probe.model.run(probe.tokens, capture=sites).sites
    if missing := [str(site) for site in sites if site not in seen]:
        return Measured(math.inf, probe.limit, f"never captured: {', '.join(missing)}")
    apart = {}
    for layer in probe.layers:
        patches = [Patch(site, seen[site]) for site in sites if site.layer == layer]
        apart[layer] = _apart(probe.model.run(probe.tokens, patches=patches).logits, probe.logits)
    worst = max(apart, key=apart.__getitem__)
    return Measured(apart[worst], probe.limit, f"worst in layer {worst}" if apart[worst] else "")


def liveness(probe: Probe, kind: str) -> Measured:
    """Editing a site moves the logits; the value counts sites where it does not, except where weights are all zero."""
    still = [layer for layer in probe.layers if not _moves(probe, Site(layer, kind))]
    dead = [str(Site(layer, kind)) for layer in still if not _silent(probe, layer, kind)]
    silent = [str(Site(layer, kind)) for layer in still if _silent(probe, layer, kind)]
    notes = [f"no edit moves a logit: {', '.join(dead)}"] if dead else []
    notes += [f"all-zero weights, nothing to move: {', '.join(silent)}"] if silent else []
    return Measured(float(len(dead)), 0.0, "; ".join(notes))


def _moves(probe: Probe, site: Site) -> bool:
    """Ever larger random edits, until one moves a logit.

    Two runs of one shape differ by nothing if an edit is not seen, so far less than the limit is a movement.
    """
    for strength in (1.0, 10.0, 100.0):

        def edited(x: Tensor, strength: float = strength) -> Tensor:
            return x + strength * max(float(x.float().std()), 0.1) * probe.noise(x)

        logits = probe.model.run(probe.tokens, patches=[Patch(site, edited)]).logits
        if _apart(logits, probe.logits) > probe.limit / 10:
            return True
    return False


def _silent(probe: Probe, layer: int, kind: str) -> bool:
    """Whether the weights after a site are all zero, as where a model built by hand has a layer that does nothing."""
    if kind not in HEAD_KINDS:
        return False
    parts = probe.model.layers[layer]
    after = {"q": ("k", "v", "o"), "k": ("q", "v", "o"), "pattern": ("v", "o"), "v": ("o",), "z": ("o",)}[kind]
    return any(not any(weight.any() for weight in getattr(parts, name).parameters()) for name in after)


# --- what stays ------------------------------------------------------------------------------------------------------


def fingerprint(model: Decoder) -> dict[str, object]:
    """What a call must not change: every weight, every hook, every attribute of every part."""
    marks: dict[str, object] = {
        name: zlib.crc32(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        for name, tensor in model.state_dict().items()
    }
    for path, part in model.named_modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
        marks[f"{path} (hooks, attributes)"] = (*map(len, hooks), *sorted(vars(part)))
    return marks


def nothing_left(probe: Probe, before: dict[str, object]) -> Measured:
    """After all these runs, patched and not, the model is as it was; the value counts what is not."""
    after = fingerprint(probe.model)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if not torch.equal(probe.model(probe.tokens), probe.logits):
        changed.append("its logits")
    return Measured(float(len(changed)), 0.0, f"changed: {', '.join(changed[:3])}" if changed else "")


# --- the reference ---------------------------------------------------------------------------------------------------


def against_transformers(probe: Probe, folder: str | Path | None) -> Check:
    """Largest |Δlogit| to `transformers` on the same folder; not tried without it, or without a folder."""
    name = "transformers agrees"
    if folder is None:
        return Check(name, None, math.nan, probe.limit, "no reference_folder given")
    try:
        import transformers
    except ImportError:
        return Check(name, None, math.nan, probe.limit, "transformers is not installed: pip install 'cutaway[text]'")
    try:
        with _quiet(transformers):
            oracle = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=probe.model.dtype,
                attn_implementation="eager",
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
    except Exception as error:
        return Check(name, None, math.nan, probe.limit, f"transformers cannot load it: {_first_line(error)}")
    oracle = oracle.eval().to(probe.model.device)
    note = f"version {transformers.__version__}"
    return _judged(name, lambda: Measured(_apart(oracle(probe.tokens).logits, probe.logits), probe.limit, note))


@contextmanager
def _quiet(transformers) -> Iterator[None]:
    """Without its progress bars, which a library has no business to draw."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()

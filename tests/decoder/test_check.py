"""The conformance suite passes every sound model, and catches each of these broken ones by the right check."""

import math
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import pytest
import torch

import cutaway
from cutaway import CutawayError
from cutaway.decoder import Decoder
from cutaway.decoder.check import Check, check
from cutaway.decoder.model import Frame, Layer
from cutaway.decoder.sites import KINDS

from .decoders import CONFIGS, decoder, fill, llama_folder


def one_layer(kind: type[Decoder] = Decoder) -> Decoder:
    return fill(kind(replace(CONFIGS["shared keys"], n_layers=1)))


def failures(lines: Iterable[Check]) -> set[str]:
    return {line.name for line in lines if line.passed is False}


# --- sound models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_sound_models_pass(name):
    lines = check(decoder(name))
    assert [line.name for line in lines if not line.passed] == ["transformers agrees"]
    assert {f"live {kind}" for kind in KINDS} | {f"patch identity {kind}" for kind in KINDS} <= {x.name for x in lines}
    assert all(line.value <= line.limit for line in lines if line.passed)


def test_half_precision_has_its_own_tolerance():
    assert failures(check(one_layer().to(torch.bfloat16))) == set()


def test_a_check_is_repeatable_and_leaves_the_model_alone():
    model = one_layer()
    tokens = torch.arange(10)[None]
    before = model(tokens)
    one, two = check(model), check(model)
    assert list(map(str, one)) == list(map(str, two))
    assert torch.equal(model(tokens), before)
    assert not any(weight.requires_grad for weight in model.parameters())


def test_a_head_that_does_nothing_by_its_weights_is_no_failure():
    """Models built by hand have such layers; they are named, not failed."""
    model = decoder("shared keys")
    model.layers[1].o.weight.data.zero_()
    lines = {line.name: line for line in check(model)}
    assert lines["live z"].passed
    assert lines["live z"].note == "all-zero weights, nothing to move: 1.z"
    assert lines["live mlp_out"].note == ""


def test_a_model_as_they_are_built_by_hand():
    """No norms, exact numbers, an MLP of zeros, large scores: nothing of it is a failure."""
    config = replace(CONFIGS["learned positions"], norm="none", n_layers=2, biases=())
    model = fill(Decoder(config))
    for layer in model.layers:
        for part in (layer.up, layer.down):
            part.weight.data.zero_()
        layer.q.weight.data *= 30
    assert failures(check(model)) == set()


# --- against transformers --------------------------------------------------------------------------------------------


def test_the_reference_agrees_or_not(tmp_path):
    pytest.importorskip("transformers")
    llama_folder(tmp_path)
    model = cutaway.load(tmp_path)
    agrees = check(model, reference_folder=tmp_path)[-1]
    assert agrees.passed
    assert agrees.name == "transformers agrees"
    assert agrees.note.startswith("version 5.")
    model.layers[2].up.weight.data[3] *= 1.01
    assert failures(check(model, reference_folder=tmp_path)) == {"transformers agrees"}


def test_a_reference_that_cannot_be_had_is_skipped_with_the_reason(tmp_path, monkeypatch):
    model = one_layer()
    empty = check(model, reference_folder=tmp_path)[-1]
    assert empty.passed is None
    assert math.isnan(empty.value)
    assert empty.note.startswith("transformers cannot load it: ")
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert check(model, reference_folder=tmp_path)[-1].note.startswith("transformers is not installed")
    assert str(check(model)[-1]).startswith("skip  transformers agrees")
    with pytest.raises(CutawayError, match="is no folder"):
        check(model, reference_folder=tmp_path / "nowhere")


def test_a_dtype_without_tolerance_is_refused():
    with pytest.raises(CutawayError, match="no tolerance is known"):
        check(decoder("shared keys").to(torch.float8_e4m3fn))


# --- broken models ---------------------------------------------------------------------------------------------------


class SeesPadding(Decoder):
    def frame(self, positions, *, mask=None, before=0):
        return super().frame(positions, before=before)


class SeesAhead(Decoder):
    def frame(self, positions, *, mask=None, before=0):
        frame = super().frame(positions, mask=mask, before=before)
        return Frame(frame.rotation, {window: torch.ones_like(sees) for window, sees in frame.sees.items()})


class ForgetsThePast(Decoder):
    def start(self, tokens, *, mask=None, positions=None, past=None):
        return super().start(tokens, mask=mask, positions=torch.arange(tokens.shape[1])[None], past=past)


class MixesRows(Decoder):
    def logits(self, resid, scored=None, columns=None):
        return super().logits(resid - resid.mean(0), scored, columns)


class DependsOnPlaceInBatch(Decoder):
    def logits(self, resid, scored=None, columns=None):
        return super().logits(resid, scored, columns) + 0.01 * torch.arange(len(resid))[:, None, None]


class PatchedRunsDiffer(Decoder):
    def run(self, tokens, *, patches=(), **said):
        patches = list(patches)
        run = super().run(tokens, patches=patches, **said)
        return type(run)(run.logits + 0.01 * bool(patches), run.sites)


class KeepsTheLastTokens(Decoder):
    def start(self, tokens, **said):
        self.last = tokens
        return super().start(tokens, **said)


class LeavesAHook(Decoder):
    def run(self, tokens, *, patches=(), **said):
        patches = list(patches)
        if patches:
            self.final_norm.register_forward_hook(lambda part, given, got: None)
        return super().run(tokens, patches=patches, **said)


class Learns(Decoder):
    def run(self, tokens, *, patches=(), **said):
        patches = list(patches)
        if patches:
            self.embed.weight.data[0] += 1e-7
        return super().run(tokens, patches=patches, **said)


class Drops(Decoder):
    def logits(self, resid, scored=None, columns=None):
        return torch.dropout(super().logits(resid, scored, columns), 0.1, train=True)


class CannotPatchPatterns(Decoder):
    def run(self, tokens, *, patches=(), **said):
        patches = list(patches)
        if any(patch.site.kind == "pattern" for patch in patches):
            raise NotImplementedError("patterns are\nfused away")
        return super().run(tokens, patches=patches, **said)


class IgnoresMlpPatches(Layer):
    def finish(self, resid_pre, written, touch=None):
        def deaf(kind, x):
            new = touch(kind, x)
            return x if kind == "mlp_out" else new

        return super().finish(resid_pre, written, deaf if touch else lambda kind, x: x)


class HidesQueries(Layer):
    def qkv(self, resid_pre, touch=None):
        return super().qkv(resid_pre, lambda kind, x: touch(kind, x) if touch and kind != "q" else x)


class NumbersHeadsBackwards(Layer):
    """z is shown with its heads in reverse order, and put back right: patches work, the names are wrong."""

    def forward(self, resid_pre, frame, touch=lambda kind, x: x, past=None):
        def turned(kind, x):
            return touch(kind, x.flip(2)).flip(2) if kind == "z" else touch(kind, x)

        return super().forward(resid_pre, frame, turned, past)


class OverwritesTheStream(Layer):
    """Adds to the stream in place, so that what was captured as resid_pre is resid_post in the end."""

    def finish(self, resid_pre, written, touch=lambda kind, x: x):
        result = super().finish(resid_pre, written, touch)
        resid_pre.copy_(result)
        return result


BROKEN = {
    SeesPadding: {"padding left"},
    SeesAhead: {"causal", "padding left", "padding right"},
    ForgetsThePast: {"past is whole"},
    MixesRows: {"batch order", "padding left", "padding right"},
    DependsOnPlaceInBatch: {"batch order"},
    PatchedRunsDiffer: {f"patch identity {kind}" for kind in KINDS},
    KeepsTheLastTokens: {"nothing left behind"},
    LeavesAHook: {"nothing left behind"},
    Learns: {"nothing left behind"},
    Drops: {"deterministic"},
    CannotPatchPatterns: {"patch identity pattern", "live pattern"},
    IgnoresMlpPatches: {"live mlp_out"},
    HidesQueries: {"patch identity q", "live q"},
    NumbersHeadsBackwards: {"heads add up"},
    OverwritesTheStream: {"heads add up"},
}


@cache
def lines_of(kind: type) -> dict[str, Check]:
    model = one_layer(kind if issubclass(kind, Decoder) else Decoder)
    if issubclass(kind, Layer):
        for layer in model.layers:
            layer.__class__ = kind
    return {line.name: line for line in check(model)}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_model_is_caught(kind):
    assert BROKEN[kind] <= failures(lines_of(kind).values())


@pytest.mark.parametrize("kind", [SeesPadding, IgnoresMlpPatches, NumbersHeadsBackwards, KeepsTheLastTokens])
def test_one_broken_part_fails_no_other_check(kind):
    assert failures(lines_of(kind).values()) == BROKEN[kind]


def test_a_failure_says_what_it_is():
    deaf = lines_of(IgnoresMlpPatches)["live mlp_out"]
    assert (deaf.value, deaf.note) == (1, "no edit moves a logit: m0")
    assert lines_of(CannotPatchPatterns)["live pattern"].note == "NotImplementedError: patterns are"
    assert lines_of(HidesQueries)["patch identity q"].note.startswith("never captured: 0.q")


def test_weights_that_are_no_numbers_are_caught():
    model = one_layer()
    model.layers[0].up.weight.data[0, 0] = torch.nan
    assert {"finite logits", "deterministic", "batch order"} <= failures(check(model))


def test_a_model_that_cannot_run_is_one_failure():
    model = one_layer()
    del model.layers[0].up
    (line,) = check(model)
    assert line.passed is False
    assert "AttributeError" in line.note

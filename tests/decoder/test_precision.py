"""What a lower precision changes in the logits is measured against the same checkpoint in float32, or said not to be."""

import json

import pytest
import torch

import cutaway
from cutaway.cli import run
from cutaway.decoder import precision
from cutaway.decoder.planted import truth
from cutaway.decoder.precision import compare_with_float32

from .decoders import llama_folder


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_error_is_that_of_the_logits(dtype, tmp_path):
    llama_folder(tmp_path)
    low, whole = cutaway.load(tmp_path, dtype=dtype), cutaway.load(tmp_path)
    tokens, mask, scored = torch.randint(0, 37, (3, 6)), torch.ones(3, 6, dtype=torch.bool), torch.tensor([[3, 5]] * 3)
    mask[0, 5:] = False
    said = compare_with_float32(low, tokens, mask, scored)
    rows = torch.arange(3)[:, None]
    off = (low(tokens, mask).float() - whole(tokens, mask))[rows, scored].abs()
    assert said.largest == pytest.approx(off.max().item(), rel=1e-3)
    assert said.mean == pytest.approx(off.mean().item(), rel=1e-3)
    assert said.largest > 1e-4
    assert f"at most {said.largest:.3g}" in str(said)
    assert compare_with_float32(whole, tokens, mask, scored).largest == 0


def test_where_float32_does_not_fit_it_is_said(monkeypatch, tmp_path):
    llama_folder(tmp_path)
    low = cutaway.load(tmp_path, dtype=torch.bfloat16)
    monkeypatch.setattr(precision, "free_memory", lambda: 4 * sum(x.numel() for x in low.parameters()))
    tokens = torch.randint(0, 37, (1, 4))
    said = compare_with_float32(low, tokens, torch.ones(1, 4, dtype=torch.bool), torch.tensor([[3]]))
    assert said.n == 0
    assert "not compared with float32" in str(said)


def test_free_memory_is_known_here_and_more_than_nothing():
    assert 2**20 < precision.free_memory() < 2**50


def test_a_search_in_bfloat16_finds_the_planted_heads_and_keeps_the_error(capsys, tmp_path):
    words = [
        "circuits",
        "find",
        "acronyms",
        "-m",
        "planted:acronyms@1",
        "-o",
        str(tmp_path / "run"),
        "--dtype",
        "bfloat16",
    ]
    assert run([*words, "--n-sweep", "3", "--n-search", "4", "--n-verify", "4", "--n-random", "2"]) == 0
    assert "bfloat16: logits differ from float32 by at most" in capsys.readouterr().err
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())["precision"]
    assert 0 < kept["mean"] < kept["largest"] < 1
    heads = json.loads((tmp_path / "run" / "circuit.json").read_text())["heads"]
    assert {head["site"] for head in heads} == {str(site) for site in truth("planted:acronyms@1")}

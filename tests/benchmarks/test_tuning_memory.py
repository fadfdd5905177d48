"""The memory benchmark on a tiny model, in this process; its table is the committed result, in which targets are met."""

import json
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from docs_marks import shown

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script():
    import tuning_memory

    return tuning_memory


@pytest.fixture
def result(script) -> dict:
    return json.loads(script.RESULT.read_text())


def test_the_table_is_the_result(script, result):
    assert shown("memory table", "tuning") == script.table(result)


def test_the_targets_are_met_at_the_size_they_speak_of(script, result):
    assert script.missed(result) == []
    assert (result["model"], result["batch"], result["length"]) == ("smollm2-135m", 8, 128)
    assert result["targets"] == {"side": 0.5, "lora": 0.75}
    assert list(result["rows"]) == list(script.SYSTEMS)


def test_ways_to_take_the_loss_and_to_recompute_learn_the_same(result):
    """Their first two losses: before anything is learned, and after one step."""
    for method in ("full", "lora"):
        wanted = result["rows"][method]["losses"][:2]
        for how in ("all logits", "recomputed"):
            assert result["rows"][f"{method}, {how}"]["losses"][:2] == pytest.approx(wanted, rel=1e-4)


def test_a_target_that_is_missed_is_told(script, result):
    result["rows"]["side"]["tensor_peak"] = 0.51 * result["rows"]["full"]["tensor_peak"]
    assert script.missed(result) == ["side: tensor_peak is 0.51 of full, wanted 0.5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose vocabulary is wide and whose layers are many, beside its width."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("model")
    config = LlamaConfig(
        vocab_size=500, hidden_size=32, num_hidden_layers=6, num_attention_heads=4, intermediate_size=64
    )
    LlamaForCausalLM(config).save_pretrained(place)
    tokenizer = Tokenizer(WordLevel({f"w{n}": n for n in range(500)}, unk_token="w0"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(place / "tokenizer.json"))
    (place / "text.txt").write_text(" ".join(f"w{7 * n % 500}" for n in range(200)))
    return place


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the benchmark reads /proc, which is not here")
def test_steps_of_a_tiny_model(script, folder):
    found = {
        name: script.measured(script.SYSTEMS[name], str(folder), folder / "text.txt", 2, 40, 1)
        for name in ("full", "full, all logits", "full, recomputed", "lora", "side", "bitfit")
    }
    assert "no biases" in found.pop("bitfit")["refused"]
    peaks = {name: row["tensor_peak"] for name, row in found.items()}
    assert peaks["full, all logits"] > peaks["full"] > peaks["lora"] > peaks["side"]
    assert peaks["full"] > peaks["full, recomputed"]
    for row in found.values():
        assert row["tensor_peak"] > row["tensor_held"] > 0
        assert row["process_more"] == row["process_peak"] - row["process_imported"]
        assert len(row["losses"]) == 3
    assert found["full"]["losses"] == pytest.approx(found["full, all logits"]["losses"], rel=1e-5)
    assert found["full"]["losses"][2] < found["full"]["losses"][0]
    averages = 2 * 4 * found["full"]["trained"]
    assert found["full"]["tensor_held"] - found["full"]["trained"] * 4 >= averages


def test_it_begins_with_what_others_are_compared_with(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tuning_memory.py", "--systems", "lora"])
    with pytest.raises(SystemExit):
        script.arguments()
    assert "full" in capsys.readouterr().err

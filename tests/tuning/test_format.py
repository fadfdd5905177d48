"""On disk: every method comes back, `peft` reads what is its own and is read, and nothing that is damaged is half loaded."""

import json
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from cutaway.core.errors import CutawayError
from cutaway.tuning import format as format_
from cutaway.tuning.format import CONFIG, WEIGHTS, base_of, load_tuned
from cutaway.tuning.method import methods
from cutaway.tuning.places import chosen
from cutaway.tuning.prompts import Prompts
from cutaway.tuning.through_peft import ThroughPeft
from cutaway.tuning.tune import tune
from tuning.models import logits, made
from tuning.test_methods import losses, trained, tuned

THROUGH_PEFT = [name for name, each in methods().items() if issubclass(each.attached, ThroughPeft) and name != "qlora"]
TWICE = dict.fromkeys(THROUGH_PEFT, "llama") | {"prefix": "t5", "prompt": "t5", "p_tuning": "t5", "lora": "gpt2"}


def said(model, family):
    with torch.no_grad():
        return logits(model.eval(), family)


def untouched(model, family):
    """Is it as it was made?"""
    own = made(family)
    assert model.state_dict().keys() == own.state_dict().keys()
    assert all(torch.equal(x, own.state_dict()[key]) for key, x in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == 0
    assert not hasattr(model, "tuned_with")


@pytest.fixture
def learned(tmp_path):
    """A LoRA with a head that has learned, saved; what it says."""
    each = tune(made("bert"), "lora", rank=2, also=["classifier"])
    trained(each, "bert", steps=1)
    each.save(tmp_path / "run")
    return tmp_path / "run", said(each.model, "bert")


@pytest.mark.parametrize("name", methods())
def test_every_method_comes_back(name, tmp_path):
    each = tuned("bert", name)
    if each.method.needs_data:
        each.prepare((0, 1), lambda seed: losses(each.model, "bert", seed))
    trained(each, "bert", steps=2)
    each.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {CONFIG, WEIGHTS}
    again = load_tuned(made("bert"), tmp_path / "run")
    torch.testing.assert_close(said(again.model, "bert"), said(each.model, "bert"), atol=1e-6, rtol=1e-5)
    assert again.about() == each.about()
    assert again.trained().keys() == each.trained().keys()
    kind = json.loads((tmp_path / "run" / CONFIG).read_text())["peft_type"]
    assert (kind == "CUTAWAY") == (name not in THROUGH_PEFT)


@pytest.mark.parametrize(
    ("family", "name"), [*(("bert", name) for name in THROUGH_PEFT), *((f, n) for n, f in TWICE.items())]
)
def test_peft_reads_what_is_its_own(family, name, tmp_path, recwarn):
    each = tuned(family, name)
    trained(each, family, steps=2)
    each.save(tmp_path / "run")
    recwarn.clear()
    theirs = peft.PeftModel.from_pretrained(made(family), tmp_path / "run")
    assert not [str(w.message) for w in recwarn if "missing" in str(w.message) or "Unexpected" in str(w.message)]
    answer, mine = said(theirs, family), said(each.model, family)
    torch.testing.assert_close(answer[:, -mine.shape[1] :] if answer.dim() == 3 else answer, mine, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mine, said(made(family), family), atol=1e-4)


QV = {"target_modules": ["query", "value"]}
DOWN = ["layer.0.output.dense", "layer.1.output.dense"]
BY_PEFT = {
    "lora": peft.LoraConfig(r=2, lora_alpha=3, use_rslora=True, task_type="SEQ_CLS", layers_to_transform=[1], **QV),
    "dora": peft.LoraConfig(r=2, use_dora=True, target_modules=r".*layer\.0.*(query|intermediate\.dense)"),
    "adalora": peft.AdaLoraConfig(init_r=4, target_r=2, total_step=10, **QV),
    "vera": peft.VeraConfig(r=5, **QV),
    "ia3": peft.IA3Config(target_modules=["key", "value", *DOWN], feedforward_modules=DOWN),
    "loha": peft.LoHaConfig(r=2, alpha=4, modules_to_save=["classifier"], **QV),
    "lokr": peft.LoKrConfig(r=2, decompose_factor=2, **QV),
    "oft": peft.OFTConfig(oft_block_size=4, use_cayley_neumann=False, **QV),
    "boft": peft.BOFTConfig(boft_block_size=4, **QV),
    "hra": peft.HRAConfig(r=2, **QV),
    "fourierft": peft.FourierFTConfig(n_frequency=9, scaling=20.0, random_loc_seed=5, **QV),
    "randlora": peft.RandLoraConfig(r=4, **QV),
    "ln_tuning": peft.LNTuningConfig(target_modules=["LayerNorm"]),
    "prompt": peft.PromptTuningConfig(num_virtual_tokens=3, task_type="SEQ_CLS"),
    "p_tuning": peft.PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=6, task_type="SEQ_CLS"),
    "prefix": peft.PrefixTuningConfig(
        num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=6, task_type="SEQ_CLS"
    ),
}


def saved_by_peft(folder, config, family="bert"):
    """Saves an adapter with arbitrary values; what it says."""
    torch.manual_seed(2)
    theirs = peft.get_peft_model(made(family), config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(folder)
    return said(theirs, family)


@pytest.mark.parametrize("name", BY_PEFT)
def test_what_peft_has_saved_opens(name, tmp_path):
    answer = saved_by_peft(tmp_path, BY_PEFT[name])
    assert not torch.allclose(answer, said(made("bert"), "bert"), atol=1e-4)
    each = load_tuned(made("bert"), tmp_path)
    assert each.method.name == ("prompt" if name == "p_tuning" else name)
    torch.testing.assert_close(said(each.model, "bert"), answer, atol=1e-6, rtol=1e-5)


def test_a_prompt_of_peft_for_an_encoder_and_a_decoder_opens(tmp_path):
    answer = saved_by_peft(tmp_path, peft.PromptTuningConfig(num_virtual_tokens=3, task_type="SEQ_2_SEQ_LM"), "t5")
    torch.testing.assert_close(said(load_tuned(made("t5"), tmp_path).model, "t5"), answer, atol=1e-6, rtol=1e-5)


def test_an_adalora_of_peft_that_has_lost_ranks_opens(tmp_path):
    theirs = peft.get_peft_model(made("bert"), BY_PEFT["adalora"])
    optimizer = torch.optim.Adam([p for p in theirs.parameters() if p.requires_grad], lr=0.05)
    for step in range(1, 11):
        optimizer.zero_grad()
        logits(theirs, "bert").square().sum().backward()
        optimizer.step()
        theirs.base_model.update_and_allocate(step)
    theirs.save_pretrained(tmp_path)
    ranks = {len(x) for key, x in load_file(tmp_path / WEIGHTS).items() if key.endswith("lora_E")}
    assert ranks != {4}
    each = load_tuned(made("bert"), tmp_path)
    torch.testing.assert_close(said(each.model, "bert"), said(theirs, "bert"), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (peft.LoraConfig(r=2, rank_pattern={"layer.0.attention.self.query": 1}, **QV), "rank_pattern"),
        (peft.LoraConfig(r=2, bias="all", **QV), "bias"),
        (peft.LoraConfig(r=2, init_lora_weights="pissa", **QV), "init_lora_weights"),
        (peft.OFTConfig(oft_block_size=4, coft=True, **QV), "coft"),
        (peft.IA3Config(target_modules=["key", "value"], feedforward_modules=["value"]), "feedforward_modules"),
        (peft.LoraConfig(r=2, target_modules=["pooler.dense"]), None),
        (peft.RoadConfig(group_size=16, **QV), "'ROAD', which no method here is; known are ADALORA"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_peft_has_and_we_have_not_is_refused(config, told, tmp_path):
    saved_by_peft(tmp_path, config)
    model = made("bert")
    if told is None:
        load_tuned(model, tmp_path).remove()
    else:
        with pytest.raises(CutawayError, match=told):
            load_tuned(model, tmp_path)
    untouched(model, "bert")


def test_a_head_is_in_the_file_and_its_beginning_does_not_matter(learned):
    folder, answer = learned
    tensors = load_file(folder / WEIGHTS)
    assert {"base_model.model.classifier.weight", "base_model.model.classifier.bias"} <= tensors.keys()
    torch.testing.assert_close(said(peft.PeftModel.from_pretrained(made("bert"), folder), "bert"), answer)
    other = made("bert")
    torch.nn.init.normal_(other.classifier.weight)
    torch.testing.assert_close(said(load_tuned(other, folder).model, "bert"), answer)


@pytest.mark.parametrize("name", ["prompt", "prefix"])
@pytest.mark.parametrize("also", [(), ("classifier",)])
def test_the_head_of_a_model_with_a_prompt_learns_if_it_is_named(name, also, tmp_path):
    each = tune(made("bert"), name, tokens=3, also=also)
    assert ("classifier.weight" in each.trained()) == bool(also)
    trained(each, "bert", steps=1)
    each.save(tmp_path)
    for again in (load_tuned(made("bert"), tmp_path).model, peft.PeftModel.from_pretrained(made("bert"), tmp_path)):
        torch.testing.assert_close(said(again, "bert"), said(each.model, "bert"))


def test_another_base_model_is_refused_unless_it_is_wanted(learned):
    folder, answer = learned
    other = made("bert")
    with torch.no_grad():
        other.bert.encoder.layer[1].output.dense.weight[3, 5] += 1e-3
    before = {key: x.clone() for key, x in other.state_dict().items()}
    with pytest.raises(CutawayError, match=r"another base model than this \(values of weights differ\).*anyway=True"):
        load_tuned(other, folder)
    assert all(torch.equal(x, before[key]) for key, x in other.state_dict().items())
    assert not hasattr(other, "tuned_with")
    torch.testing.assert_close(said(load_tuned(other, folder, anyway=True).model, "bert"), answer, atol=1e-2, rtol=1e-2)
    renamed = made("bert")
    renamed.config.hidden_act = "relu"
    with pytest.raises(CutawayError, match="configuration differ"):
        load_tuned(renamed, folder)


def test_a_base_model_is_the_same_with_and_without_what_is_on_it():
    first = tune(made("gpt2"), "lora", rank=2)
    for name in ("adapter", "oft", "prompt"):
        options = {"adapter": {"width": 2}, "oft": {"block": 4}, "prompt": {"tokens": 2}}[name]
        each = tune(made("gpt2"), name, **options)
        trained(each, "gpt2", steps=1)
        assert base_of(each.attached) == base_of(first.attached)


def test_shapes_decide_where_another_base_model_is_wanted(learned):
    folder, _ = learned
    other = made("bert")
    other.classifier = torch.nn.Linear(16, 5)
    with pytest.raises(CutawayError, match=r"classifier.* has the shape \[3.*wanted is \[5"):
        load_tuned(other, folder, anyway=True)
    assert not hasattr(other, "tuned_with")


def damage(folder, kind):
    tensors, config = load_file(folder / WEIGHTS), json.loads((folder / CONFIG).read_text())
    first = min(name for name in tensors if "lora_A" in name)
    match kind:
        case "missing tensor":
            del tensors[first]
        case "extra tensor":
            tensors["base_model.model.bert.more"] = torch.zeros(2)
        case "misshapen tensor":
            tensors[first] = tensors[first][:1]
        case "no config":
            (folder / CONFIG).unlink()
        case "no weights":
            (folder / WEIGHTS).unlink()
        case "pickled weights":
            (folder / WEIGHTS).rename(folder / "adapter_model.bin")
        case "broken JSON":
            (folder / CONFIG).write_text('{"peft_type": "LORA", ')
        case "a list":
            (folder / CONFIG).write_text("[1, 2]")
        case "broken weights":
            (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-40])
        case "no method":
            del config["auto_mapping"]["cutaway"]["method"]
        case "unknown method":
            config["auto_mapping"]["cutaway"]["method"] = "lorra"
        case "unknown option":
            config["auto_mapping"]["cutaway"]["options"]["width"] = 3
        case "options that are none":
            config["auto_mapping"]["cutaway"]["options"] = [1]
    if "tensor" in kind:
        save_file(tensors, folder / WEIGHTS)
    if "method" in kind or "option" in kind:
        (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing tensor", r"missing 1 \(first base_model\.model\.bert.*lora_A"),
        ("extra tensor", r"too many 1 \(first base_model\.model\.bert\.more|too many 1 \(first bert\.more"),
        ("misshapen tensor", r"has the shape \[1, 16\], wanted is \[2, 16\]"),
        ("no config", f"has no {CONFIG}"),
        ("no weights", f"has no {WEIGHTS}, so"),
        ("pickled weights", "pickled and not opened"),
        ("broken JSON", f"{CONFIG} is damaged"),
        ("a list", f"{CONFIG} is damaged"),
        ("broken weights", f"{WEIGHTS} is damaged"),
        ("no method", "is damaged: its record"),
        ("unknown method", "lora"),
        ("unknown option", "lora has no option 'width'"),
        ("options that are none", "is damaged: its record"),
    ],
)
def test_what_is_damaged_is_told_in_one_line_and_leaves_no_trace(kind, told, learned):
    folder, _ = learned
    damage(folder, kind)
    model = made("bert")
    with pytest.raises(CutawayError, match=told) as error:
        load_tuned(model, folder)
    assert "\n" not in str(error.value)
    untouched(model, "bert")


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CutawayError, match=r"cannot write to .*file"):
        tune(made("bert"), "lora", rank=2).save(tmp_path / "file")


def test_saving_again_replaces_both_files(learned, tmp_path):
    folder, _ = learned
    each = tune(made("bert"), "adapter", width=3)
    each.save(folder)
    assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS}
    assert load_tuned(made("bert"), folder).about() == each.about()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_killed_while_it_saves_it_never_leaves_one_file_of_each(at, learned, monkeypatch):
    """Before the last file is in place there is no adapter, rather than one made of old and new."""
    folder, _ = learned
    calls, replace = [], format_.os.replace

    def killed(source, target):
        calls.append(target)
        if len(calls) == at:
            raise KeyboardInterrupt
        return replace(source, target)

    monkeypatch.setattr(format_, "os", SimpleNamespace(replace=killed))
    each = tune(made("bert"), "lora", rank=2, also=["classifier"])  # its files could be taken for those that are there
    with pytest.raises(KeyboardInterrupt) if at < 3 else nullcontext():
        each.save(folder)
    if at < 3:
        with pytest.raises(CutawayError, match=f"has no {CONFIG}"):
            load_tuned(made("bert"), folder)
    else:
        again = load_tuned(made("bert"), folder).trained()
        assert all(torch.equal(p, again[name]) for name, p in each.trained().items())


def test_what_cannot_be_written_leaves_what_was_there(learned, monkeypatch):
    folder, answer = learned
    (folder / "notes.txt").write_text("mine")
    wrote = format_.put

    def full(path, content):
        if path.name == CONFIG:
            raise OSError(28, "No space left on device")
        return wrote(path, content)

    monkeypatch.setattr(format_, "put", full)
    with pytest.raises(CutawayError, match="No space left on device"):
        tune(made("bert"), "adapter", width=3).save(folder)
    assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS, "notes.txt"}
    torch.testing.assert_close(said(load_tuned(made("bert"), folder).model, "bert"), answer)


def test_what_is_ours_has_nothing_that_peft_takes_for_its_own(tmp_path):
    tune(made("bert"), "adapter", width=3).save(tmp_path)
    with pytest.raises((KeyError, ValueError)):
        peft.PeftModel.from_pretrained(made("bert"), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["auto_mapping"]["cutaway"]["method"] == "adapter"
    shutil.rmtree(tmp_path)


def test_targets_of_peft_are_places_here(tmp_path):
    saved_by_peft(tmp_path, BY_PEFT["lora"])
    each = load_tuned(made("bert"), tmp_path)
    wanted = [place.name for place in chosen(made("bert"), ("attn_q", "attn_v")) if place.layer == 1]
    assert sorted(each.options.at) == sorted(wanted)


def test_prompts_keep_what_makes_them(tmp_path):
    each = tune(made("gpt2"), "p_tuning", tokens=3, hidden=4, network="lstm")
    assert isinstance(each.attached, Prompts)
    trained(each, "gpt2", steps=1)
    each.save(tmp_path)
    again = load_tuned(made("gpt2"), tmp_path)
    assert all(torch.equal(p, again.trained()[name]) for name, p in each.trained().items())

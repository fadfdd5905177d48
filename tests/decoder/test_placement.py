"""A model spread over devices computes what it computes on one; every layer gets its tensors where its weights are."""

import pytest
import torch

import cutaway
from cutaway import CutawayError, Patch, Site
from cutaway.decoder.model import Layer
from cutaway.decoder.placement import devices_of, place, spread

from .decoders import CONFIGS, decoder
from .fake_devices import FakeDevices

TWO = [torch.device("cuda", 0), torch.device("cuda", 1)]
TOKENS = torch.randint(0, 37, (2, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.ones(2, 7, dtype=torch.bool)
MASK[1, 5:] = False


def everything(model, tokens, mask):
    """Logits with a patch and a captured site in each half; with a past; the read-out at some places and columns."""
    capture = [Site(0, "z", 1), Site(2, "pattern"), Site(2, "mlp_out")]
    patches = [Patch(Site(0, "z", 1), torch.zeros(())), Patch(Site(2, "resid_pre"), torch.ones(24), mask)]
    run = model.run(tokens, mask=mask, capture=capture, patches=patches)
    past = model.prefill(tokens[:1, :3])
    scored, columns = torch.tensor([[1], [2]], device=tokens.device), torch.tensor([3, 4], device=tokens.device)
    after = model.run(tokens[:, 3:], past=past, scored=scored, columns=columns)
    return [model(tokens), run.logits, *run.sites.values(), after.logits]


@pytest.mark.parametrize("name", CONFIGS)
def test_two_devices_compute_what_one_does(name):
    expected = everything(decoder(name), TOKENS, MASK)
    with FakeDevices() as fake:
        model = place(decoder(name), TWO)
        assert model.device == TWO[0]
        assert {layer.o.weight.device for layer in model.layers} == set(TWO)
        got = everything(model, TOKENS.to(TWO[0]), MASK.to(TWO[0]))
        assert got[0].device == got[1].device == TWO[0]
        assert got[3].device == got[4].device == TWO[1]
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert fake.moves > 0


@pytest.mark.parametrize("name", ["learned positions", "shared keys"])
def test_the_stand_in_notices_a_layer_that_does_not_move_its_input(name, monkeypatch):
    monkeypatch.setattr(Layer, "here", lambda self, x: x)
    with FakeDevices():
        model = place(decoder(name), TWO)
        with pytest.raises(AssertionError, match=r"cuda:[01] and cuda:[01]"):
            model(TOKENS.to(TWO[0]))


def test_layers_stay_together_and_weigh_about_the_same():
    with torch.device("meta"):
        model = cutaway.Decoder(CONFIGS["shared keys"].__class__(**{**vars(CONFIGS["shared keys"]), "n_layers": 12}))
    devices = [torch.device("cuda", i) for i in range(3)]
    where = spread(model, devices)
    order = [where[f"layers.{i}.o.weight"].index for i in range(12)]
    assert order == sorted(order)
    weights = [sum(x.numel() for name, x in model.state_dict().items() if where[name] == device) for device in devices]
    layer = sum(x.numel() for name, x in model.state_dict().items() if name.startswith("layers.0."))
    assert max(weights) - min(weights) <= layer
    assert {where[name].index for name in where if not name.startswith("layers.")} == {0}


def test_a_checkpoint_is_read_to_where_it_belongs():
    model = cutaway.load("planted:acronyms@1", device=[torch.device("cpu"), torch.device("cpu")])
    tokens = torch.tensor([model.tokenizer.encode("The")])
    assert torch.equal(model(tokens), cutaway.load("planted:acronyms@1")(tokens))


def test_devices_are_named_or_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    assert devices_of("auto") == devices_of("cpu") == (torch.device("cpu"),)
    with pytest.raises(CutawayError, match="it has cpu"):
        devices_of("cuda")
    with pytest.raises(CutawayError, match="no device is called 'gpu'"):
        devices_of("gpu")


def test_ranks_of_one_machine_take_its_devices_in_turn(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    for rank, index in (("0", 0), ("1", 1), ("2", 0)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert devices_of("auto") == devices_of("cuda") == (torch.device("cuda", index),)
    assert devices_of("cuda:0, cuda:1") == (torch.device("cuda", 0), torch.device("cuda", 1))
    assert devices_of("cpu") == (torch.device("cpu"),)
    with pytest.raises(CutawayError, match="it has cpu, cuda:0, cuda:1"):
        devices_of("cuda:2")

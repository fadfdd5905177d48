"""Files of weights: what is published is known to the bit, what is a user's fits or is refused, nothing is unpickled."""

import hashlib
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cutaway.core.errors import CutawayError
from cutaway.similarity import compressed
from cutaway.similarity.compressed import read_compressed, shapes
from cutaway.similarity.load import load_distance
from cutaway.similarity.trunk import nets
from cutaway.similarity.weights import Published, own, published, read_state
from similarity.made_up import images, linear_file, measure, publish


def line(call, *given, **more) -> str:
    with pytest.raises(CutawayError) as told:
        call(*given, **more)
    assert "\n" not in str(told.value)
    return str(told.value)


# --- published linear weights ---


@pytest.mark.parametrize("version", ["0.1", "0.0"])
def test_published_linear_weights_are_found_by_net_and_version(tmp_path, monkeypatch, version):
    path = publish(tmp_path, monkeypatch, "squeeze", version)
    given = load_distance("squeeze", version, trunk="random:0")
    assert given.identity.linear.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"v{version}/squeeze.pth" in str(given.identity)
    state = torch.load(path, weights_only=True)
    for k, weight in enumerate(given.linear):
        assert torch.equal(weight, state[f"lin{k}.model.1.weight"].flatten())


def test_a_tampered_file_is_refused(tmp_path, monkeypatch):
    path = publish(tmp_path, monkeypatch, "alex")
    linear_file(path.parent, "alex", seed=1)
    told = line(load_distance, "alex", trunk="random:0")
    assert "is not what was published: sha256 expected" in told
    assert str(path) in told


def test_nets_without_published_weights_say_so():
    assert "only for alex, vgg, squeeze" in line(load_distance, "efficientnet_lite0", trunk="random:0")


def test_the_published_files_are_read(data, monkeypatch):
    monkeypatch.setenv("CUTAWAY_DATA", str(data))
    for net in ("alex", "vgg", "squeeze"):
        given = load_distance(net, trunk="random:0", range=(-1, 1))
        assert all((weight >= 0).all() for weight in given.linear)
        assert (given(*images()) > 0).all()


# --- a user's files ---


def test_linear_weights_of_a_file(tmp_path):
    channels = nets()["alex"].channels
    save_file({f"linear.{k}": torch.rand(c) for k, c in enumerate(channels)}, tmp_path / "mine.safetensors")
    given = measure(tmp_path, linear=tmp_path / "mine.safetensors")
    assert given.identity.linear.place == str(tmp_path / "mine.safetensors")
    assert len(given.identity.linear.sha256) == 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("lin3.model.1.weight"), "no linear weights for relu4"),
        (lambda state: state.update({"lin0.model.1.weight": torch.rand(1, 65, 1, 1)}), "65 linear weights for relu1"),
        (lambda state: state.update({"lin5.model.1.weight": torch.rand(1, 9, 1, 1)}), "6 layers, alex has 5"),
        (lambda state: state.update({"lin0.model.1.weight": torch.full((1, 64, 1, 1), torch.nan)}), "not finite"),
    ],
)
def test_linear_weights_that_do_not_fit(tmp_path, change, said):
    path = linear_file(tmp_path, "alex")
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    assert said in line(measure, tmp_path, linear=path)


class Runs:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("code has run",))


def test_nothing_is_unpickled(tmp_path, capsys):
    torch.save({"lin0.model.1.weight": Runs()}, tmp_path / "evil.pth")
    assert "not unpickled" in line(own, tmp_path / "evil.pth")
    assert "code has run" not in capsys.readouterr().out


def test_damaged_and_strange_files(tmp_path):
    path = linear_file(tmp_path, "alex")
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged" in line(own, path)
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    assert "damaged" in line(own, tmp_path / "a.safetensors")
    (tmp_path / "a.h5").write_bytes(b"nothing")
    assert ".safetensors, .pth, .pt or .net" in line(own, tmp_path / "a.h5")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    assert "state_dict" in line(own, tmp_path / "list.pth")
    assert "no file of weights" in line(own, tmp_path / "none.pth")


def test_a_file_named_by_its_checksum_is_held_to_it(tmp_path):
    path = linear_file(tmp_path, "alex")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    right = path.rename(tmp_path / f"alex-{digest[:8]}.pth")
    assert own(right)[1].sha256 == digest
    wrong = right.rename(tmp_path / "alex-01234567.pth")
    assert "was altered" in line(own, wrong)


def slices(state: dict) -> dict:
    """Names as LPIPS's training code saves them."""
    ends = (2, 5, 8, 10, 12)
    named = {}
    for name, x in state.items():
        place, rest = name.removeprefix("features.").split(".", 1)
        k = next(i for i, end in enumerate(ends) if int(place) < end)
        named[f"net.slice{k + 1}.{place}.{rest}"] = x
    return named


@pytest.mark.parametrize("variant", ["tune", "scratch"])
def test_checkpoints_that_hold_a_trunk_of_their_own(tmp_path, variant):
    trunk = nets()["alex"].build().state_dict()
    linear = torch.load(linear_file(tmp_path, "alex"), weights_only=True)
    beside = {"scaling_layer.shift": torch.zeros(3), "lins.0.model.1.weight": linear["lin0.model.1.weight"]}
    torch.save(slices(trunk) | linear | beside, tmp_path / "latest_net_.pth")
    given = load_distance("alex", variant=variant, checkpoint=tmp_path / "latest_net_.pth", range=(-1, 1))
    torch.save(dict(trunk), tmp_path / "trunk.pth")
    same = load_distance("alex", trunk=tmp_path / "trunk.pth", linear=tmp_path / "alex.pth", range=(-1, 1))
    assert torch.equal(given(*images()), same(*images()))
    assert given.identity.variant == variant
    assert "holds no trunk" in line(load_distance, "alex", variant=variant, checkpoint=tmp_path / "alex.pth")


def test_what_does_not_go_together(tmp_path):
    path = linear_file(tmp_path, "alex")
    assert "want checkpoint=FILE" in line(load_distance, "alex", variant="tune")
    assert "want checkpoint=FILE" in line(load_distance, "alex", checkpoint=path)
    assert "takes no linear weights" in line(load_distance, "alex", variant="baseline", linear=path)
    assert "known are 0.1, 0.0" in line(load_distance, "alex", "0.2")
    assert "known are lin, baseline" in line(load_distance, "alex", variant="linear")


def test_every_source_that_failed_is_named(tmp_path, monkeypatch):
    from cutaway.core.sources import Folder

    monkeypatch.delenv("CUTAWAY_DATA", raising=False)
    files = [Published(Folder(tmp_path / place), "0" * 64, member="w.pth") for place in ("one", "two")]
    told = line(published, "a trunk", files)
    assert "one" in told
    assert "two" in told
    (tmp_path / "one").mkdir()
    assert "there is no" in line(published, "a trunk", files[:1])


# --- Deep Compression ---


def written(folder, weights: dict[str, np.ndarray], biases: dict[str, np.ndarray]):
    """A file of the format, its codebooks holding every value that occurs."""
    head, body = b"", b""
    for name in shapes():
        flat = weights[name].ravel()
        places = list(np.flatnonzero(flat))
        if len(places) == 0 or places[0] > 15:
            places.insert(0, 0)
        full = []
        for place in places:  # a gap of more than 16 needs zeros in between
            while full and place - full[-1] > 16:
                full.append(full[-1] + 16)
            full.append(place)
        codebook = np.zeros(256, np.float32)
        values = sorted({float(x) for x in flat if x})
        codebook[1 : 1 + len(values)] = values
        code = {0.0: 0} | {float(x): i for i, x in enumerate(codebook) if x}
        gaps = np.diff([-1, *full]) - 1
        packed = [int(gaps[i]) | (int(gaps[i + 1]) << 4 if i + 1 < len(gaps) else 0) for i in range(0, len(gaps), 2)]
        head += struct.pack("<I", len(full))
        body += codebook.tobytes() + biases[name].astype("<f4").tobytes()
        body += bytes(code[float(flat[i])] for i in full) + bytes(packed)
    path = folder / "made.net"
    path.write_bytes(head + body)
    return path


@pytest.fixture(scope="module")
def compressed_file(tmp_path_factory):
    draw = np.random.RandomState(0)
    weights, biases = {}, {}
    for name, (outputs, inputs, kernel) in shapes().items():
        x = draw.randint(-20, 21, (outputs, inputs, kernel, kernel)).astype(np.float32) / 64
        x[draw.rand(*x.shape) < 0.9] = 0
        weights[name], biases[name] = x, draw.randn(outputs).astype(np.float32)
    return written(tmp_path_factory.mktemp("net"), weights, biases), weights, biases


def test_what_was_compressed_is_read_back(compressed_file):
    path, weights, biases = compressed_file
    state = read_compressed(path)
    assert len(state) == 52
    for name in weights:
        if name != "features.0":
            assert np.array_equal(state[f"{name}.weight"].numpy(), weights[name])
            assert np.array_equal(state[f"{name}.bias"].numpy(), biases[name])


def test_the_first_convolution_reads_what_torchvisions_do(compressed_file):
    path, weights, biases = compressed_file
    state = read_compressed(path)
    rgb = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    mean, deviation = (torch.tensor(x).double()[:, None, None] for x in (compressed.MEAN, compressed.DEVIATION))
    bgr = 255 * rgb.flip(1) - torch.tensor(compressed.MEAN_BGR).double()[:, None, None]
    there = torch.nn.functional.conv2d(
        bgr, torch.tensor(weights["features.0"]).double(), torch.tensor(biases["features.0"]).double(), 2
    )
    here = torch.nn.functional.conv2d(
        (rgb - mean) / deviation, state["features.0.weight"].double(), state["features.0.bias"].double(), 2
    )
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-3)


def test_compressed_files_that_are_damaged(compressed_file, tmp_path):
    content = compressed_file[0].read_bytes()
    path = tmp_path / "x.net"
    for changed, said in (
        (content[:-1], "truncated"),
        (content[:50], "truncated"),
        (content + b"x", "1 bytes are left over"),
        (struct.pack("<I", 2**31) + content[4:], "would have 2147483648 weights"),
        (content[:104] + content[104:].replace(content[-200:], b"\xff" * 200), "damaged"),
    ):
        path.write_bytes(changed)
        assert said in line(read_state, path)


def test_what_was_spoilt_in_the_cache_is_fetched_again(tmp_path, monkeypatch):
    from cutaway.core.sources import Url
    from cutaway.similarity import weights

    monkeypatch.delenv("CUTAWAY_DATA", raising=False)
    path = linear_file(tmp_path, "alex")
    good = path.read_bytes()
    file = Published(Url("https://example.org/alex.pth", "0" * 64, "CC0"), hashlib.sha256(good).hexdigest())
    monkeypatch.setattr(weights, "fetch", lambda source, *, offline: path)
    monkeypatch.setattr(weights, "verify", lambda source, *, offline: path.write_bytes(good))
    path.write_bytes(good[:-1] + b"!")
    assert len(published("alex", [file])[0]) == 5
    assert path.read_bytes() == good
    path.write_bytes(good[:-1] + b"!")
    monkeypatch.setattr(weights, "verify", lambda source, *, offline: None)
    assert "not what was published" in line(published, "alex", [file])

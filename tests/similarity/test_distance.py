"""The distance of images: the formula over a whole trunk, whatever the batch, order, precision or layout; and gradients."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cutaway.core.errors import CutawayError
from cutaway.similarity import distance as module
from cutaway.similarity.load import distance, load_distance
from cutaway.similarity.trunk import nets
from similarity.made_up import images, linear_file, measure, publish

NETS = sorted(nets())
SMALL = ["alex", "squeeze", "squeezenet1_0", "efficientnet_lite0"]


def plainly(measure, a, b):
    """Each layer's map, from features that are read one after another, by the published formula."""
    shift, scale = (torch.tensor(x).to(a.dtype)[:, None, None] for x in (measure.net.shift, measure.net.scale))
    maps, sides = [], [(x - shift) / scale for x in (a, b)]
    for k, weight in enumerate(measure.linear):
        sides = [measure.trunk.stage(k, x) for x in sides]
        u, v = (x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for x in sides)
        maps.append(((u - v).pow(2) * weight[:, None, None]).sum(1))
    return maps


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
def test_it_is_the_published_formula(tmp_path, net, size):
    given = measure(tmp_path, net).double()
    a, b = (F.interpolate(x.double(), size) for x in images(2))
    maps = plainly(given, a, b)
    terms = torch.stack([x.mean((1, 2)) for x in maps], 1)
    torch.testing.assert_close(given.terms(a, b), terms, rtol=1e-8, atol=0)
    torch.testing.assert_close(given(a, b), terms.sum(1), rtol=1e-8, atol=0)
    drawn = torch.cat([F.interpolate(x[:, None], size, mode="bilinear") for x in maps], 1)
    torch.testing.assert_close(given.layer_maps(a, b), drawn, rtol=1e-7, atol=1e-14)
    torch.testing.assert_close(given.compare(a, b, maps=True).maps, drawn.sum(1), rtol=1e-7, atol=1e-14)
    for k, channels in enumerate(given.channels(a, b)):
        torch.testing.assert_close(channels @ given.linear[k], terms[:, k], rtol=1e-8, atol=0)


def test_version_0_0_reads_images_as_they_are(tmp_path):
    old, new = measure(tmp_path, version="0.0").double(), measure(tmp_path).double()
    a, b = (x.double() for x in images())
    shift, scale = (torch.tensor(x).double()[:, None, None] for x in (new.net.shift, new.net.scale))
    inside = (0.2 * a, 0.2 * b)
    torch.testing.assert_close(old(*((x - shift) / scale for x in inside)), new(*inside), rtol=1e-6, atol=0)
    assert not torch.allclose(old(a, b), new(a, b), rtol=1e-3)


def test_the_baseline_weighs_all_channels_alike(tmp_path):
    plain = measure(tmp_path, variant="baseline", linear="")
    a, b = images()
    channels = torch.stack([x.sum(1) for x in plain.channels(a, b)], 1)
    torch.testing.assert_close(plain.terms(a, b), channels, rtol=1e-5, atol=0)
    assert plain.identity.linear is None


@pytest.mark.parametrize("net", SMALL)
def test_batch_and_order_do_not_matter(tmp_path, monkeypatch, net):
    given = measure(tmp_path, net).double()
    a, b = (x.double() for x in images(5))
    whole = given(a, b)
    assert (whole > 0).all()
    torch.testing.assert_close(
        whole, torch.cat([given(a[i : i + 1], b[i : i + 1]) for i in range(5)]), rtol=1e-9, atol=0
    )
    torch.testing.assert_close(whole, given(b, a), rtol=1e-9, atol=0)
    torch.testing.assert_close(whole[3:4], given(a[3], b[3]), rtol=1e-9, atol=0)
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(whole[order], given(a[order], b[order]), rtol=1e-9, atol=0)
    for few in (1, 2, 3):  # images in flight
        monkeypatch.setattr(module, "MOST", few * given.net.first_features(64, 64))
        torch.testing.assert_close(whole, given(a, b), rtol=1e-9, atol=0)


@pytest.mark.parametrize("few", [1, 99])
def test_one_is_compared_with_many(tmp_path, monkeypatch, few):
    given = measure(tmp_path).double()
    monkeypatch.setattr(module, "MOST", few * given.net.first_features(64, 64))
    a, b = (x.double() for x in images(4))
    expected = given(a[:1].expand(4, -1, -1, -1), b)
    torch.testing.assert_close(given(a[:1], b), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(given(b, a[:1]), expected, rtol=1e-9, atol=0)
    one, many = given.features(a[0]), given.features(b)
    assert (len(one), len(many)) == (1, 4)
    for x, y in ((one, b), (one, many), (a[:1], many), (many, one)):
        torch.testing.assert_close(given(x, y), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        given.compare(one, b, maps=True).maps, given.layer_maps(a[0], b).sum(1), rtol=1e-9, atol=0
    )


def test_features_of_another_distance_are_refused(tmp_path):
    a, b = images()
    reference = measure(tmp_path).features(a)
    with pytest.raises(CutawayError, match="read by another distance"):
        measure(tmp_path, trunk="random:1")(reference, b)
    with pytest.raises(CutawayError, match="different sizes"):
        measure(tmp_path)(reference, images(side=80)[0])


def test_the_trunk_reads_a_reference_once(tmp_path, monkeypatch):
    given = measure(tmp_path)
    a, b = images(3)
    reference, read = given.features(a[:1]), []
    stage = given.trunk.stage
    monkeypatch.setattr(given.trunk, "stage", lambda k, x: read.append((k, len(x))) or stage(k, x))
    given(reference, b)
    assert sum(n for k, n in read if k == 0) == 3
    read.clear()
    monkeypatch.setattr(module, "MOST", 1)
    given(a[:1], b)
    assert sum(n for k, n in read if k == 0) == 4


@pytest.mark.parametrize("net", NETS)
def test_identical_images_are_0_apart_with_finite_gradients(tmp_path, net):
    given = measure(tmp_path, net)
    grey = torch.zeros(1, 3, 64, 64)
    for a in (images(2)[0], grey, torch.full_like(grey, -1.0)):
        x, y = a.clone().requires_grad_(), a.clone().requires_grad_()
        found = given(x, y)
        assert (found == 0).all()
        found.sum().backward()
        assert x.grad.isfinite().all()
        assert y.grad.isfinite().all()


def test_the_published_formula_would_give_nan_there(tmp_path):
    """What the gradient written by hand is for: features that are 0 in all channels, with no ReLU before them to hide it."""
    given = measure(tmp_path, "efficientnet_lite0")
    with torch.no_grad():
        for x in given.trunk._blocks[-1]._project_conv.parameters():
            x.zero_()
    a, b = images(1)
    a.requires_grad_()
    sum(x.sum() for x in plainly(given, a, b)).backward()
    assert a.grad.isnan().any()
    a.grad = None
    given(a, b).sum().backward()
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("net", SMALL)
def test_the_gradient_leads_downhill(tmp_path, net):
    given = measure(tmp_path, net)
    a, b = images(2)
    x = b.clone().requires_grad_()
    before = given(a, x)
    before.sum().backward()
    after = given(a, (b - 0.01 * x.grad / x.grad.abs().amax()).clamp(-1, 1))
    assert (after < before).all()


def test_gradients_with_and_without_a_reference_agree(tmp_path):
    given = measure(tmp_path).double()
    a, b = (x.double() for x in images())
    slopes = []
    for other in (a, given.features(a)):
        x = b.clone().requires_grad_()
        given(x, other).sum().backward()
        slopes.append(x.grad)
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-15)


def test_weights_do_not_learn_unless_they_are_told_to(tmp_path):
    given = measure(tmp_path)
    a, b = images()
    assert not given(a, b).requires_grad
    given.linear.requires_grad_()
    given(a, b).sum().backward()
    for weight, channels in zip(given.linear, given.channels(a, b), strict=True):
        torch.testing.assert_close(weight.grad, channels.detach().sum(0), rtol=1e-4, atol=1e-7)


def test_layout_does_not_matter(tmp_path):
    given = measure(tmp_path)
    a, b = images()
    last = [x.to(memory_format=torch.channels_last) for x in (a, b)]
    torch.testing.assert_close(given(*last), given(a, b), rtol=1e-5, atol=0)
    wide = torch.cat([a, b], 3)
    torch.testing.assert_close(given(wide[..., :64], wide[..., 64:]), given(a, b), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(tmp_path, dtype):
    a, b = images()
    exact, near = measure(tmp_path)(a, b), measure(tmp_path).to(dtype)
    for given in ((a, b), (a.to(dtype), b.to(dtype))):
        found = near(*given)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact, rtol=0.05, atol=0)
    x = a.to(dtype).requires_grad_()
    near(x, a.to(dtype)).sum().backward()
    assert x.grad.isfinite().all()


COMPILED = """
import sys, torch
from pathlib import Path
from similarity.made_up import images, measure

given = measure(Path(sys.argv[1]))
compiled, (a, b) = torch.compile(given, backend="aot_eager", fullgraph=True), images()
torch.testing.assert_close(compiled(a, b), given(a, b), rtol=1e-5, atol=0)
slopes = []
for each in (compiled, given):
    x = a.clone().requires_grad_()
    each(x, b).sum().backward()
    slopes.append(x.grad)
torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-8)
"""


def test_compiled_it_gives_the_same(tmp_path):
    """In one graph, gradients too; in a process of its own, because types that are checked at run time cannot be traced."""
    tests = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-c", COMPILED, str(tmp_path)], check=True, timeout=300, cwd=tests)


def test_a_comparison_names_every_part(tmp_path, monkeypatch):
    publish(tmp_path, monkeypatch, "alex")
    given = load_distance("alex", trunk="random:5", range=(-1, 1))
    a, b = images()
    found = given.compare(a, b)
    torch.testing.assert_close(found.values, given(a, b))
    for said in ("LPIPS 0.1 lin", "alex random:5", "lpips==0.1.4 v0.1/alex.pth", "range (-1, 1)", "cutaway 0"):
        assert said in str(found)
    told = found.to_dict()
    assert told["identity"]["linear"]["sha256"][:8] in str(found)
    assert told["identity"]["layers"] == ["relu1", "relu2", "relu3", "relu4", "relu5"]
    assert len(told["values"]) == len(told["terms"]) == 2
    assert found.maps is None
    assert float(given.compare(a[0], b[0])) == pytest.approx(found.values[0].item(), rel=1e-5)


def test_the_function_is_the_module(tmp_path, monkeypatch):
    """`distance` loads a network once, and gives what the module of the same name gives."""
    from cutaway.similarity import load

    loaded = []
    real = load.load_distance

    def counted(net: str, version: str, variant: str):
        loaded.append(net)
        return real(net, version, variant, trunk="random:0", linear=linear_file(tmp_path, net))

    monkeypatch.setattr(load, "load_distance", counted)
    load._kept.cache_clear()
    a, b = images()
    found = distance(a, b, net="squeeze", range=(-1, 1))
    torch.testing.assert_close(found.values, measure(tmp_path, "squeeze")(a, b))
    assert distance(a.double(), b.double(), net="squeeze", range=(-1, 1)).values.dtype == torch.float64
    mapped = distance((a + 1) / 2, (b + 1) / 2, net="squeeze", range=(0, 1))
    torch.testing.assert_close(mapped.values, found.values, rtol=1e-5, atol=0)
    assert mapped.range == (0, 1)
    assert loaded == ["squeeze", "squeeze"]  # one for each precision
    load._kept.cache_clear()

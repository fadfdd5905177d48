"""What is given: ranges declared and checked, shapes, one line for each mistake."""

import warnings

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.similarity.inputs import check, mapped, range_of
from similarity.made_up import images, measure


def line(call, *given, **more) -> str:
    with pytest.raises(CutawayError) as told:
        call(*given, **more)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.fixture
def alex(tmp_path):
    return measure(tmp_path, "alex")


def test_a_range_has_to_be_told(tmp_path):
    a, b = images()
    assert "range=(0, 1) or range=(-1, 1)" in line(measure(tmp_path, range=None), a, b)
    assert "no range" in line(measure, tmp_path, range=(1, 0))
    assert "no range" in line(measure, tmp_path, range=(0, float("inf")))


@pytest.mark.parametrize(
    ("declared", "values", "said"),
    [
        ((0, 1), (-1.0, 1.0), "range=(-1, 1) would hold them"),
        ((-1, 1), (0.0, 255.0), "range=(0, 255) would hold them"),
        ((0, 1), (0.0, 1.01), "(0, 255)"),
        ((-1, 1), (-1.2, 1.2), "clamp them"),
    ],
)
def test_values_outside_the_range_are_an_error_that_says_so(tmp_path, declared, values, said):
    images = torch.linspace(*values, 3 * 64 * 64).reshape(1, 3, 64, 64)
    told = line(measure(tmp_path, range=declared), images, images)
    assert "outside range=" in told
    assert said in told


def test_rounding_is_not_outside():
    assert check(torch.tensor([0.0, 1 + 1e-7]), (0, 1), "images")
    assert "outside" in line(check, torch.tensor([0.0, 1 + 1e-4]), (0, 1), "images")


@pytest.mark.parametrize(
    ("value", "said"), [(float("nan"), "NaN"), (float("inf"), "infinite"), (-float("inf"), "infinite")]
)
def test_values_that_are_no_numbers(alex, value, said):
    a, b = images()
    a[1, 2, 3, 4] = value
    assert said in line(alex, a, b)
    assert "second images" in line(alex, b, a)


def test_uint8_has_its_own_range(tmp_path):
    a, b = ((127.5 * (x + 1)).round().to(torch.uint8) for x in images())
    by_bytes = measure(tmp_path, range=None)(a, b)
    torch.testing.assert_close(by_bytes, measure(tmp_path, range=(0, 1))(a / 255, b / 255), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        by_bytes, measure(tmp_path, range=(-1, 1))(a / 127.5 - 1, b / 127.5 - 1), rtol=1e-5, atol=0
    )
    assert "leave the range out" in line(measure(tmp_path, range=(0, 1)), a, b)
    assert range_of(a, (0, 255)) == (0, 255)


def test_two_ranges_are_not_mixed(tmp_path):
    a, b = images()
    reference = measure(tmp_path).features(a)
    other = measure(tmp_path, range=(0, 1))
    assert "one range" in line(other, b / 2 + 0.5, reference)


def test_images_that_were_never_mapped_to_minus_1_are_noticed(alex):
    a, b = images()
    with pytest.warns(UserWarning, match="is it"):
        alex(a.abs(), b.abs())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alex(a, b.abs())


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (((2, 3, 64, 64), (2, 3, 64, 80)), "64×64 and 80×64"),
        (((2, 3, 64, 64), (3, 3, 64, 64)), "2 images cannot be compared with 3"),
        (((2, 1, 64, 64), (2, 1, 64, 64)), "expand(-1, 3, -1, -1)"),
        (((2, 4, 64, 64), (2, 4, 64, 64)), "x[:, :3]"),
        (((2, 64, 64, 3), (2, 64, 64, 3)), "permute(0, 3, 1, 2)"),
        (((2, 5, 64, 64), (2, 3, 64, 64)), "5 channels"),
        (((64, 64), (64, 64)), "no images"),
        (((0, 3, 64, 64), (0, 3, 64, 64)), "there are no images"),
        (((1, 3, 30, 64), (1, 3, 30, 64)), "needs 31×31"),
    ],
)
def test_shapes_that_cannot_be_compared(alex, shapes, said):
    assert said in line(alex, *(torch.zeros(shape) for shape in shapes))


def test_kinds_that_are_no_images(alex):
    x = torch.zeros(1, 3, 64, 64)
    assert "bool" in line(alex, x.bool(), x.bool())
    assert "complex64" in line(alex, x.to(torch.complex64), x.to(torch.complex64))


def test_images_on_another_device(alex):
    x = torch.zeros(1, 3, 64, 64, device="meta")
    assert "the distance is on cpu" in line(alex, x, x)


@pytest.mark.parametrize("within", [(0, 1), (-1, 1), (0, 255), (-3, 7)])
def test_mapping_is_the_published_one(within):
    low, high = within
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    shift, scale = (0.1, -0.2, 0.3), (0.5, 0.4, 2.0)
    expected = (2 * x - 1 - torch.tensor(shift).double()[:, None, None]) / torch.tensor(scale).double()[:, None, None]
    found = mapped(low + (high - low) * x, within, shift, scale, torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)

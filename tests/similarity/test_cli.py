"""`cutaway similarity`: a table, JSON, maps, and one line for every mistake."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from cutaway.cli import run
from cutaway.similarity.heat import draw
from cutaway.similarity.load import load_distance
from similarity.made_up import linear_file, picture


@pytest.fixture
def words(tmp_path) -> list[str]:
    """Random weights for everything."""
    return ["--net", "squeeze", "--trunk", "random:0", "--linear", str(linear_file(tmp_path / "weights", "squeeze"))]


def complaint(capsys, *words) -> str:
    assert run(list(map(str, words))) in (1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("cutaway: ")
    return lines[0]


def test_two_images(capsys, tmp_path, words):
    a, b = picture(tmp_path / "a.png", 0), picture(tmp_path / "b.png", 1)
    assert run(["similarity", "compare", str(a), str(b), *words]) == 0
    said = capsys.readouterr().out
    measure = load_distance("squeeze", trunk="random:0", linear=words[-1])
    expected = measure(*(torch.from_numpy(np.array(Image.open(x))).movedim(-1, 0) for x in (a, b))).item()
    assert f"{expected:.4f}" in said
    for word in ("relu1", "fire9", "LPIPS 0.1 lin", "random:0", "cutaway 0"):
        assert word in said
    assert run(["similarity", "compare", str(a), str(a), *words]) == 0
    assert "0.0000" in capsys.readouterr().out


def test_two_folders_as_a_table_as_json_and_as_maps(capsys, tmp_path, words):
    for i, name in enumerate("xyz"):
        picture(tmp_path / "left" / f"{name}.png", i)
        picture(tmp_path / "right" / f"{name}.png", i if name == "y" else i + 5)
    given = ["similarity", "compare", str(tmp_path / "left"), str(tmp_path / "right"), *words]
    assert run([*given, "--map", str(tmp_path / "maps")]) == 0
    said = capsys.readouterr().out
    assert "mean of 3" in said
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {"x.png", "y.png", "z.png"}
    assert run([*given, "--json"]) == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == ["x", "y", "z"]
    assert rows[1]["distance"] == 0
    for row in rows:
        assert row["distance"] == pytest.approx(sum(row["layers"].values()), rel=1e-5)
        assert row["identity"]["trunk"]["place"] == "random:0"
        assert len(row["identity"]["linear"]["sha256"]) == 64


def test_the_map_lies_over_the_image_and_is_bright_where_it_differs(tmp_path, words):
    a = picture(tmp_path / "a.png", size=(96, 64))
    rows = np.array(Image.open(a))
    rows[40:56, 72:88] = 255 - rows[40:56, 72:88]
    Image.fromarray(rows).save(tmp_path / "b.png")
    target = tmp_path / "new" / "map.png"
    assert run(["similarity", "compare", str(a), str(tmp_path / "b.png"), *words, "--map", str(target)]) == 0
    drawn = np.array(Image.open(target)).astype(int)
    assert drawn.shape == (64, 96, 3)
    coloured = np.abs(drawn - drawn.mean(2, keepdims=True)).sum(2)
    assert coloured[40:56, 72:88].mean() > 10 * coloured[:30, :40].mean()


def test_where_nothing_differs_the_map_is_the_image_in_grey():
    image = torch.rand(3, 5, 6)
    drawn = draw(image, torch.zeros(5, 6), 0.0)
    assert drawn.dtype == torch.uint8
    grey = (image * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    assert (drawn.float() / 255 - grey[..., None]).abs().max() < 0.003
    differences = torch.zeros(5, 6)
    differences[2, 3] = 2.0
    assert not torch.equal(draw(image, differences, 2.0)[2, 3], drawn[2, 3])
    assert torch.equal(draw(image, differences, 2.0)[0], drawn[0])


def test_grey_of_16_bits_beside_colour_of_8(capsys, tmp_path, words):
    grey = np.array(Image.open(picture(tmp_path / "a.png")).convert("L"))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert run(["similarity", "compare", str(tmp_path / "grey.png"), str(tmp_path / "deep.png"), *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["distance"] < 1e-9


def test_every_mistake_is_one_line(capsys, tmp_path, words):
    a, b = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", size=(80, 64))
    folder = picture(tmp_path / "folder" / "a.png").parent
    compare = ["similarity", "compare"]
    small = picture(tmp_path / "small.png", size=(8, 8))
    for given, said in (
        ([*compare, a, b, *words], "64×64 and 80×64"),
        ([*compare, a, tmp_path / "none.png", *words], "none.png"),
        ([*compare, a, folder, *words], "two of one kind"),
        ([*compare, small, small, *words], "needs 17×17"),
        ([*compare, a, a, *words, "--map", tmp_path], "a .png file"),
        ([*compare, folder, folder, *words, "--map", a], "give a folder"),
        ([*compare, a, a, *words, "--map", a / "map.png"], "cannot be written"),
        ([*compare, a, a, *words, "--version", "0.3"], "known are 0.1, 0.0"),
        ([*compare, a, a, *words, "--variant", "linear"], "known are lin"),
        ([*compare, a, a, *words[2:], "--net", "aelx"], "did you mean alex"),
        ([*compare, a, a, *words, "--checkpoint", a], "variants tune and scratch"),
        ([*compare, a, a, *words[:2], "--trunk", a, "--variant", "baseline"], "weights are read from"),
        ([*compare, a, a, *words[:2], "--trunk", tmp_path / "w.pth", "--variant", "baseline"], "no file of weights"),
        ([*compare, a], "--b requires"),
    ):
        assert said in complaint(capsys, *given), given
    assert not list(tmp_path.glob("*map*"))


def test_the_networks_are_listed(capsys):
    assert run(["similarity", "nets"]) == 0
    said = capsys.readouterr().out
    for word in ("alex", "vgg", "squeezenet1_0", "efficientnet_lite0", "0.1, 0.0"):
        assert word in said

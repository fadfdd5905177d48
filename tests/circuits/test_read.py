"""A run folder read back: what later versions add, and that folders of earlier ones, without it, are still read."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from circuits.run_folders import Size, make
from cutaway import CutawayError
from cutaway.circuits.graph import parse_edge
from cutaway.circuits.read import read


def test_edges_patterns_and_letters_are_read_back(tmp_path):
    record = read(make(tmp_path / "run", Size(layers=3, heads=4, circuit=5, prompts=24)))
    edges = [parse_edge(edge) for edge in record.paths.edges]
    assert {edge.sender for edge in edges} - {"embed"} == record.circuit.sites
    assert list(map(str, edges)) == list(record.paths.edges)
    assert len(record.paths.points) == len(edges) * len(record.steps)
    point = record.paths.of(record.paths.edges[0], record.steps[0])
    assert point[1] <= point[0] <= point[2]
    assert record.paths.of("9.9→logits", record.steps[0]) is None
    assert record.paths.largest == max(abs(mean) for mean, _, _ in record.paths.points.values())
    assert record.paths.convention["corruption"] == "everything"
    width = len(record.prompts[0]["tokens"])
    assert record.patterns.shape == (20, 3, 4, width + 1, width + 1)
    assert record.patterns.dtype == np.float16
    np.testing.assert_allclose(record.patterns[..., :width, :].astype(float).sum(-1), 1, atol=0.01)
    assert not np.triu(record.patterns.astype(float), 1).any()
    assert record.ov.shape == (3, 4, 52, 52)
    assert record.copying_of_all.shape == (3, 4, 2)
    assert record.prompts[0]["scored"] == [width - 3, width - 2, width - 1]
    assert {site for site, _ in record.attention} == set(record.every_head)


def test_a_folder_of_an_earlier_version_has_none_of_it(tmp_path):
    record = read(make(tmp_path / "run", Size(extras=False)))
    assert (record.paths, record.patterns, record.ov, record.copying_of_all) == (None, None, None, None)
    assert {site for site, _ in record.attention} == set(map(str, record.circuit.sites))
    assert "scored" not in record.prompts[0]


def test_files_that_are_not_of_this_run_are_one_line(tmp_path):
    folder = make(tmp_path / "run", Size(layers=3, heads=4))
    save_file({"pattern": np.zeros((2, 3, 5, 7, 7), "f2")}, folder / "patterns.safetensors")
    with pytest.raises(CutawayError, match="pattern has the shape"):
        read(folder)
    (folder / "patterns.safetensors").write_bytes(b"cut off")
    with pytest.raises(CutawayError, match="not a run folder of this package"):
        read(folder)

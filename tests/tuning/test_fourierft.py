"""FourierFT against its equation: the real part of an inverse transform of few coefficients."""

import numpy as np
import pytest
import torch

from cutaway.tuning.methods import fourierft
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("bert", "ffn_up"), ("gpt2", "attn_qkv")])
def test_the_difference_is_an_inverse_transform(family, role):
    work = at_work(family, "fourierft", role, frequencies=7, scale=20.0)
    out, into = work.weight.shape
    draw = torch.Generator().manual_seed(fourierft.Options().seed)
    places = torch.randperm(out * into, generator=draw)[:7]
    spectrum = np.zeros((out, into))
    spectrum[places // into, places % into] = work.tensors["fourierft_spectrum"].numpy()
    delta = torch.from_numpy(20 * np.fft.ifft2(spectrum).real).float()
    assert work.says(work.weight + delta)
    assert not work.says(work.weight + delta / 20)
    assert not work.says(work.weight + delta.flip(0))


def test_it_is_counted():
    assert fourierft.count(made("bert"), fourierft.Options(frequencies=7, at=("attn_q", "ffn_up"))) == 4 * 7

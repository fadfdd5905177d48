"""A linear-chain CRF of one library, by its name: log-likelihoods with all their slopes, and the best sequences.

This file runs in each library's own environment: it imports numpy, torch and the library.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from protocol import serve
from torch import Tensor, nn

PACKAGES = {"cutaway": "cutaway", "pytorch-crf": "pytorch-crf", "TorchCRF": "TorchCRF"}


class Case(NamedTuple):
    """Emissions `[batch, word, tag]`, tags and a mask `[batch, word]`, and the scores of the chain."""

    emissions: Tensor
    tags: Tensor
    mask: Tensor
    transition: Tensor
    start: Tensor
    end: Tensor


class Peer(NamedTuple):
    """The parameters that are the chain's transition, start and end; the two things that are timed, as the library's own readme
    does them."""

    scores: tuple[nn.Parameter, nn.Parameter, nn.Parameter]
    likelihood: Callable[[Tensor, Tensor, Tensor], Tensor]
    best: Callable[[Tensor, Tensor], list[list[int]]]


def cutaway(tags: int) -> Peer:
    from cutaway.tagging.crf import CRF

    crf = CRF(tags)

    def best(emissions: Tensor, mask: Tensor) -> list[list[int]]:
        lengths = mask.sum(1)
        paths = crf.best(emissions, lengths).tags[:, 0].tolist()
        return [path[:n] for path, n in zip(paths, lengths.tolist(), strict=True)]

    return Peer((crf.transition, crf.start, crf.end), lambda e, y, mask: -crf(e, y, mask.sum(1)), best)


def pytorch_crf(tags: int) -> Peer:
    from torchcrf import CRF

    crf = CRF(tags, batch_first=True)
    return Peer(
        (crf.transitions, crf.start_transitions, crf.end_transitions),
        lambda e, y, mask: crf(e, y, mask, reduction="none"),
        crf.decode,
    )


def torch_crf(tags: int) -> Peer:
    from TorchCRF import CRF

    crf = CRF(tags, use_gpu=False)
    return Peer((crf.trans_matrix, crf.start_trans, crf.end_trans), crf, crf.viterbi_decode)


PEERS = {"cutaway": cutaway, "pytorch-crf": pytorch_crf, "TorchCRF": torch_crf}


def prepared(name: str, job: dict) -> tuple[Peer, Case]:
    """The library's CRF with the scores of the case, outside of what is timed."""
    with np.load(job["case"], allow_pickle=False) as arrays:
        case = Case(*(torch.from_numpy(arrays[field]) for field in Case._fields))
    peer = PEERS[name](case.emissions.shape[2])
    with torch.no_grad():
        for parameter, given in zip(peer.scores, case[3:], strict=True):
            parameter.copy_(given)
    return peer, case


def learn(name: str, job: dict) -> dict:
    """Times log-likelihoods of a batch and their slopes by the emissions and all scores."""
    with torch.inference_mode(False), torch.enable_grad():
        peer, case = prepared(name, job)
        spent = []
        for _ in range(job["repeats"]):
            emissions = case.emissions.clone().requires_grad_()
            for parameter in peer.scores:
                parameter.grad = None
            started = time.perf_counter()
            likelihood = peer.likelihood(emissions, case.tags, case.mask)
            likelihood.sum().backward()
            spent.append(time.perf_counter() - started)
        slopes = (emissions.grad, *(parameter.grad for parameter in peer.scores))
    values = (likelihood.detach(), *slopes)
    np.savez(job["out"], **dict(zip(("likelihood", "emissions", "transition", "start", "end"), values, strict=True)))
    return {"seconds": spent}


def decode(name: str, job: dict) -> dict:
    """Times the best tag sequence of each sentence, as lists."""
    peer, case = prepared(name, job)
    spent = []
    for _ in range(job["repeats"]):
        started = time.perf_counter()
        paths = peer.best(case.emissions, case.mask)
        spent.append(time.perf_counter() - started)
    longest = case.emissions.shape[1]
    padded = np.array([path + [-1] * (longest - len(path)) for path in paths])
    np.savez(Path(job["out"]), paths=padded)
    return {"seconds": spent}


if __name__ == "__main__":
    serve(lambda name: name, (PACKAGES[sys.argv[1]], "torch"), {"learn": learn, "decode": decode})

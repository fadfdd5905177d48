"""Adversarial training: the loss also of a sentence whose words are moved a little, in the direction in which it grows most.

Miyato, Dai & Goodfellow 2017, Adversarial training methods for semi-supervised text classification (arXiv 1605.07725), §3;
for tagging Yasunaga, Kasai & Radev 2018, Robust multilingual part-of-speech tagging via adversarial training (arXiv 1711.04903),
§3: with w the features of all words of a sentence, words × width of them, and g = ∂loss/∂w,

    disturbance = ε √(words × width) · g / ‖g‖        loss' = (loss(w) + loss(w + disturbance)) / 2

As there the features are what all inputs say side by side, and the disturbance is taken for a constant. The factor √(…) makes ε the
size of the change of one feature, on average. It costs a second way through context and decoder, not through the inputs.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.tagging.parts import Features


def disturbance(losses: Float[Tensor, " batch"], words: Features, size: float) -> Features:
    """The change of the features of each sentence's words that makes its loss grow most; `size` is ε.

    Where the gradient is nothing, or is behind a sentence's end, so is the change.
    """
    (slope,) = torch.autograd.grad(losses.sum(), words, retain_graph=True)
    moved = (slope != 0).any(-1).sum(1)  # words that count: padding has no slope
    norm = slope.flatten(1).norm(dim=1).clamp_min(torch.finfo(slope.dtype).tiny)
    return slope * (size * (moved * words.shape[-1]).sqrt() / norm)[:, None, None]

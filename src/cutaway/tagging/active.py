"""Active learning by uncertainty: which sentences to label next (Lewis & Gale 1994; for sequences, Shen et al. 2018, §4).

A sentence is as unsure as the least sure thing about it: its intent, or the least sure of its spans or words, as the decoder has
it (`Decoder.uncertainty`). Confidences are calibrated intents', and the decoder's own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.model import Tagger


class Unsure(NamedTuple):
    """A sentence, where it stood, and how unsure the model is of it: from 0 to 1, larger is less sure."""

    place: int
    sentence: Sentence
    uncertainty: float


def next_to_label(tagger: Tagger, sentences: Sequence[Sentence], n: int) -> list[Unsure]:
    """The `n` sentences of which the model is least sure, those first. The same words are asked for once.

    Raises:
        CutawayError: n is less than 1, or there are no sentences.
    """
    if n < 1 or not sentences:
        raise CutawayError(f"{n} of {len(sentences)} sentences were asked for: give at least 1 of at least 1")
    first = {sentence.words: place for place, sentence in reversed(list(enumerate(sentences)))}
    places = sorted(first.values())
    unsure = tagger.uncertainty([sentences[i] for i in places])
    order = torch.tensor(unsure).argsort(descending=True, stable=True)[:n].tolist()
    return [Unsure(places[i], sentences[places[i]], unsure[i]) for i in order]

"""Transfer: a tagger for new data that begins with what another one has learned (Li, Sun, Han & Li 2020, arXiv 1812.09449, §4.2).

    what the inputs know, and their weights        taken over
    the context                                    taken over if it is the same
    decoder, head of intents                       taken over if they are the same and so are their labels; else new

Parameters are shared and then tuned, as Yang, Salakhutdinov & Cohen 2017 (arXiv 1703.06345) and Lee, Dernoncourt & Szolovits
2018 (arXiv 1705.06273) do for tagging; the latter find that the layers near the words are those worth taking. Words that the
first training did not show stay unknown to `words`; spellings, shapes and pieces have no such limit.
"""

from collections.abc import Sequence

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.combination import check_combination
from cutaway.tagging.config import Config
from cutaway.tagging.data import Sentence
from cutaway.tagging.model import Labels, Tagger, same_tagger
from cutaway.tagging.store import load


def continued(config: Config, sentences: Sequence[Sentence]) -> Tagger:
    """A tagger for what these sentences show, from the run `config.start`.

    Raises:
        CutawayError: there is no such run, it is in 8 bits, or it has other inputs than `config`.
    """
    before = load(config.start)
    if before.int8:
        raise CutawayError(f"{config.start} is in 8 bits and no longer learns: start from the run that it was made of")
    if set(config.inputs) != set(before.config.inputs):
        theirs = " ".join(before.config.inputs)
        raise CutawayError(
            f"{config.start} has the inputs {theirs}, asked for are {' '.join(config.inputs)}: give --inputs {theirs}"
        )
    check_combination(config.inputs, config.context, config.decoder, (sentence.spans() for sentence in sentences))
    known = {name: before.inputs[name].known() for name in config.inputs}
    tagger = same_tagger(config, Labels.of(sentences, config), known)
    for name in config.inputs:
        if not taken_over(before.inputs[name], tagger.inputs[name]):
            raise CutawayError(
                f"{config.start}: the weights of {name} have other shapes: leave its options as they are there"
            )
    old, new = before.config, config
    if old.context == new.context:
        taken_over(before.context, tagger.context)
    if (old.decoder, before.labels.spans) == (new.decoder, tagger.labels.spans):
        taken_over(before.decoder, tagger.decoder)
    if (old.intents, before.labels.intents) == (new.intents, tagger.labels.intents):
        taken_over(before.head, tagger.head)
    return tagger


def taken_over(old: nn.Module | None, new: nn.Module | None) -> bool:
    """Gives a module the weights of another if all of them fit."""
    if old is None or new is None:
        return False
    theirs, mine = old.state_dict(), new.state_dict()
    if {name: x.shape for name, x in theirs.items()} != {name: x.shape for name, x in mine.items()}:
        return False
    new.load_state_dict(theirs)
    return True

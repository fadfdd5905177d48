"""Every input with every context and every decoder, through the room's own tagger: built, trained, asked, saved, read back."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from cutaway.tagging.config import Config
from cutaway.tagging.data import Sentence
from cutaway.tagging.model import new_tagger, same_tagger
from cutaway.tagging.parts import contexts, decoders, inputs

SENTENCES = [
    Sentence(("Anna", "Meier", "flew", "to", "New", "York"), ("B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC")),
    Sentence(("ok",), ("O",)),
    Sentence(("Rome", "Anna"), ("B-LOC", "B-PER")),
    Sentence(("she", "went", "to", "Rome", "."), ("O", "O", "O", "B-LOC", "O")),
]
LABELS = ("LOC", "PER")
SMALL = {
    "words": {"dim": 12}, "char_cnn": {"dim": 6, "filters": 8}, "char_lstm": {"dim": 6, "hidden": 5},
    "features": {"least": 1, "dim": 4}, "cnn": {"filters": 12}, "iterated_dilated": {"filters": 12},
    "bilstm": {"hidden": 8}, "gru": {"hidden": 8}, "balanced_tree": {"hidden": 8},
    "transformer": {"d_model": 16, "heads": 2, "d_mlp": 16}, "rnn": {"hidden": 12}, "pointer": {"hidden": 12},
    "span": {"hidden": 12},
}  # fmt: skip


def config_of(names: tuple[str, ...], context: str, decoder: str, encoder: str) -> Config:
    small = {f"{part}.{name}": x for part in (*names, context, decoder) for name, x in SMALL.get(part, {}).items()}
    options = small | ({"encoder.name": encoder} if "encoder" in names else {})
    return Config(inputs=names, context=context, decoder=decoder, intents="off", options=options)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    """A tiny encoder with random weights, in the layout of a real one."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder: Path = tmp_path_factory.mktemp("encoder")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({w for s in SENTENCES for w in s.words})]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(pieces), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=32,
        )
    ).save_pretrained(folder)  # fmt: skip
    return str(folder)


SETS = [(name,) for name in sorted(inputs())] + [("words", "char_cnn", "features"), ("char_lstm", "encoder")]


@pytest.mark.parametrize(
    ("names", "context", "decoder"), list(product(SETS, sorted(contexts()), sorted(decoders()))),
    ids=lambda x: "+".join(x) if isinstance(x, tuple) else x,
)  # fmt: skip
def test_every_cell_of_the_grid(names, context, decoder, encoder):
    torch.manual_seed(0)
    config = config_of(names, context, decoder, encoder)
    tagger = new_tagger(config, SENTENCES).eval()  # without dropout, so that the loss must fall
    optimizer = torch.optim.Adam([p for p in tagger.parameters() if p.requires_grad], lr=3e-3)
    batch, losses = tagger.collate(SENTENCES), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = tagger(batch).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1e-3, losses
    said = tagger.read(SENTENCES)
    for each, sentence in zip(said, SENTENCES, strict=True):
        assert all(0 <= s.span.start < s.span.end <= len(sentence.words) and s.span.type in LABELS for s in each.spans)
    weights = save({name: x.contiguous() for name, x in tagger.state_dict().items()})
    known = json.loads(json.dumps({name: each.known() for name, each in tagger.inputs.items()}))
    again = same_tagger(config_of(names, context, decoder, "gone"), tagger.labels, known).eval()
    again.load_state_dict(load(weights))
    assert again.read(SENTENCES) == said
    with torch.no_grad():
        assert torch.equal(again(again.collate(SENTENCES)), tagger(batch))

"""Every input with every context and every decoder: built, trained a few steps, asked, saved and read back."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from cutaway.tagging.combination import check_combination
from cutaway.tagging.data import Sentence
from cutaway.tagging.parts import contexts, decoders, inputs, part

SENTENCES = [
    Sentence(("Anna", "Meier", "flew", "to", "New", "York"), ("B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC")),
    Sentence(("ok",), ("O",)),
    Sentence(("Rome", "Anna"), ("B-LOC", "B-PER")),
    Sentence(("she", "went", "to", "Rome", "."), ("O", "O", "O", "B-LOC", "O")),
]
LABELS = ("LOC", "PER")
LENGTHS = [len(s.words) for s in SENTENCES]
SMALL = {
    "words": {"dim": 12}, "char_cnn": {"dim": 6, "filters": 8}, "char_lstm": {"dim": 6, "hidden": 5},
    "features": {"least": 1, "dim": 4}, "cnn": {"filters": 12}, "iterated_dilated": {"filters": 12},
    "bilstm": {"hidden": 8}, "gru": {"hidden": 8}, "balanced_tree": {"hidden": 8},
    "transformer": {"d_model": 16, "heads": 2, "d_mlp": 16}, "rnn": {"hidden": 12}, "pointer": {"hidden": 12},
    "span": {"hidden": 12},
}  # fmt: skip


class Tagger(nn.Module):
    """The three axes, put together in the plainest way."""

    def __init__(self, names: tuple[str, ...], context: str, decoder: str, given: dict, known: dict | None = None):
        super().__init__()
        check_combination(names, context, decoder, [s.spans() for s in SENTENCES])
        options = {name: {**SMALL.get(name, {}), **given.get(name, {})} for name in (*names, context, decoder)}
        parts = {name: part("input", name) for name in names}
        self.inputs = nn.ModuleDict({
            name: each.build(SENTENCES, each.options(**options[name])) if known is None
            else each.build(None, each.options(**options[name]), known[name])
            for name, each in parts.items()
        })  # fmt: skip
        width = sum(each.width for each in self.inputs.values())
        self.context = part("context", context).build(width, part("context", context).options(**options[context]))
        chosen = part("decoder", decoder)
        self.decoder = chosen.build(self.context.width, LABELS, chosen.options(**options[decoder]))

    def features(self) -> tuple[Tensor, Tensor]:
        batch = {key: x for each in self.inputs.values() for key, x in each.collate(SENTENCES).items()}
        lengths = torch.tensor(LENGTHS)
        return self.context(torch.cat([each(batch) for each in self.inputs.values()], dim=2), lengths), lengths

    def loss(self) -> Tensor:
        targets = self.decoder.targets([s.spans() for s in SENTENCES], LENGTHS)
        return self.decoder.losses(*self.features(), targets).mean()


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
    given = {"encoder": {"name": encoder}}
    tagger = Tagger(names, context, decoder, given).eval()  # without dropout, so that the loss must fall
    optimizer = torch.optim.Adam([p for p in tagger.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = tagger.loss()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1e-3, losses
    said = tagger.decoder.decode(*tagger.features())
    for scored, length in zip(said, LENGTHS, strict=True):
        assert all(0 <= s.span.start < s.span.end <= length and s.span.type in LABELS for s in scored)
    weights = save({name: x.contiguous() for name, x in tagger.state_dict().items()})
    known = json.loads(json.dumps({name: each.known() for name, each in tagger.inputs.items()}))
    again = Tagger(names, context, decoder, {"encoder": {"name": "gone"}}, known).eval()
    again.load_state_dict(load(weights))
    assert again.decoder.decode(*again.features()) == said
    assert again.loss().item() == tagger.loss().item()

"""Decoders of GPT-2 small's shape, 12 layers of 12 heads over its 50,257 tokens, of any width: random, but for one head.

8.11 is built by hand to do what the paper says it does: from "(", A1 and A2 it looks at C1, C2 and C3 (by their positions
in the paper's prompts) and writes their letters. So logit differences are positive and patching it has large effects.
"""

import json
from pathlib import Path
from string import ascii_uppercase

import torch
from safetensors.torch import save_file

from cutaway.circuits.paper import CIRCUIT
from cutaway.decoder import Decoder, DecoderConfig, parse_site
from cutaway.decoder.tokens import Tokenizer

SCALES = {".o.": 0.03, ".down.": 0.03}
"""Of weights; 0.1 for those not named."""
LOUD = (*CIRCUIT, "2.9")
"""Heads that write three times as much as the others, so that what one of them does shows in the logits."""
MOVER = parse_site("8.11")
LOOKS = {8: 2, 9: 4, 10: 6}
"""Query position → key position, with BOS at 0: from "(", A1, A2 to C1, C2, C3."""
SPACED, BARE, PLACES = slice(0, 26), slice(26, 52), slice(52, 68)
"""Dimensions of the residual stream: the letter of a token with a leading space, without one, the position."""


def random_gpt2(width: int, tokenizer: Tokenizer, seed: int = 0) -> Decoder:
    config = DecoderConfig(
        family="gpt2",
        n_layers=12,
        n_heads=12,
        n_kv_heads=12,
        d_model=width,
        d_head=width // 12,
        d_mlp=width,
        n_ctx=16,
        vocab=50257,
        activation="gelu_tanh",
        biases=("q", "k", "v", "o", "up", "down"),
        tied=True,
        bos=50256,
    )
    model = Decoder(config, tokenizer, "random")
    draw = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        scale = next((scale for part, scale in SCALES.items() if part in name), 0.1) * (96 / width) ** 0.5
        weight.data = scale * torch.randn(weight.shape, generator=draw)
        if "norm" in name and name.endswith("weight"):
            weight.data += 1
    for site in map(parse_site, LOUD):
        model.layers[site.layer].o.weight.data.unflatten(1, (12, -1))[:, site.head] *= 3
    _plant(model, draw)
    return model.eval().requires_grad_(False)


def _plant(model: Decoder, draw: torch.Generator) -> None:
    """Puts letters and positions into dimensions of their own, and the letter mover at `MOVER`."""
    embed, pos, layer = model.embed.weight.data, model.pos.weight.data, model.layers[MOVER.layer]
    letters, places = torch.eye(26), torch.eye(16)
    embed[:, :68], pos[:, :68] = 0, 0
    spaced = [model.tokenizer.encode(f" {letter}")[0] for letter in ascii_uppercase]
    bare = [model.tokenizer.encode(letter)[0] for letter in ascii_uppercase]
    embed[spaced, SPACED], embed[bare, BARE] = 3 * letters, letters
    pos[:, PLACES] = 3 * places
    d_head = model.config.d_head
    q, k, v = (part.weight.data.unflatten(0, (12, d_head))[MOVER.head] for part in (layer.q, layer.k, layer.v))
    o = layer.o.weight.data.unflatten(1, (12, d_head))[:, MOVER.head]
    for part in (q, k, v, o):
        part.zero_()
    for i, (query, key) in enumerate(LOOKS.items()):
        q[i, PLACES], k[i, PLACES] = 3 * places[query], 3 * places[key]
    code = torch.nn.functional.normalize(torch.randn(26, d_head, generator=draw))
    v[:, SPACED], o[BARE] = code.T, 16 * code


def folded(model: Decoder) -> Decoder:
    """The same function of the tokens, with the biases of values and of the norm before them in the output bias.

    This is how the paper's model was loaded; written here a second time, from the weights alone.
    """
    copy = Decoder(model.config, model.tokenizer, model.source)
    copy.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    for layer in copy.layers:
        shift = layer.norm1.bias.data.clone()
        for part in (layer.q, layer.k, layer.v):
            part.bias.data += part.weight @ shift
        layer.norm1.bias.data.zero_()
        layer.o.bias.data += layer.o.weight @ layer.v.bias
        layer.v.bias.data.zero_()
    return copy.eval().requires_grad_(False)


def save(model: Decoder, folder: Path, vocabulary: Path) -> Path:
    """The checkpoint as a user has it: GPT-2's names and its tokenizer's two files, which stay where they are."""
    c = model.config
    said = {"model_type": "gpt2", "n_embd": c.d_model, "n_layer": 12, "n_head": 12, "n_positions": c.n_ctx}
    (folder / "config.json").write_text(json.dumps(said | {"n_inner": c.d_mlp, "vocab_size": c.vocab}))
    state = {"wte.weight": model.embed.weight, "wpe.weight": model.pos.weight}
    state |= {f"ln_f.{part}": tensor for part, tensor in model.final_norm.named_parameters()}
    for i, layer in enumerate(model.layers):
        for ours, theirs in (("norm1", "ln_1"), ("norm2", "ln_2")):
            state |= {f"h.{i}.{theirs}.{part}": tensor for part, tensor in getattr(layer, ours).named_parameters()}
        for ours, theirs in (("qkv", "attn.c_attn"), ("o", "attn.c_proj"), ("up", "mlp.c_fc"), ("down", "mlp.c_proj")):
            parts = [getattr(layer, name) for name in (ours if ours == "qkv" else [ours])]
            state[f"h.{i}.{theirs}.weight"] = torch.cat([part.weight for part in parts]).T
            state[f"h.{i}.{theirs}.bias"] = torch.cat([part.bias for part in parts])
    save_file({name: tensor.detach().contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    for name in ("encoder.json", "vocab.bpe"):
        (folder / name).symlink_to((vocabulary / name).resolve())
    return folder

"""`transformers` as the oracle: the same folder, the same tokens, the largest difference of any real logit."""

from dataclasses import dataclass
from pathlib import Path

import torch

LIMIT = 1e-4
"""The contract: largest |Δlogit| in float32."""


@dataclass(frozen=True)
class Situation:
    """How tokens are given to a model."""

    batch: int = 1
    pos: int = 17
    padding: str = "none"

    def mask(self) -> torch.Tensor:
        """`[batch, pos]`, False on padding: row i lacks 2i + 1 tokens at one of its ends."""
        mask = torch.ones(self.batch, self.pos, dtype=torch.bool)
        if self.padding != "none":
            for row in range(self.batch):
                lacking = slice(0, 2 * row + 1) if self.padding == "left" else slice(self.pos - 2 * row - 1, None)
                mask[row, lacking] = False
        return mask


SITUATIONS = {
    "one token": Situation(pos=1),
    "alone": Situation(),
    "in a batch": Situation(batch=3),
    "padded left": Situation(batch=3, padding="left"),
    "padded right": Situation(batch=3, padding="right"),
}


def load_oracle(folder: Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, local_files_only=True
    ).eval()


@torch.no_grad()
def gap(model: torch.nn.Module, oracle: torch.nn.Module, tokens: torch.Tensor, situation: Situation) -> float:
    """Largest |Δlogit| between a Decoder and its oracle over the tokens that are not padding."""
    mask = situation.mask()
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    theirs = oracle(input_ids=tokens, attention_mask=mask.long(), position_ids=positions).logits
    ours = model(tokens, mask if situation.padding != "none" else None)
    return float((ours - theirs)[mask].abs().max())

"""nnsight: one trace a cell, in which the input of the attention's output projection is edited in place.

The model is wrapped as it is (`NNsight(module)`), so no tokenizer, padding or mask stands between; only the scored
positions' logits are saved.
"""

import torch
from nnsight import NNsight
from protocol import serve
from transformers import AutoModelForCausalLM


class Traces:
    def __init__(self, folder: str):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.model, config = NNsight(model), model.config
        self.d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.gpt2 = config.model_type == "gpt2"
        self.layers = range(config.num_hidden_layers)

    def _output(self, layer: int):
        """The module whose input is every head's output, side by side."""
        if self.gpt2:
            return self.model.transformer.h[layer].attn.c_proj
        return self.model.model.layers[layer].self_attn.o_proj

    def forward(self, task):
        with self.model.trace(task.clean, use_cache=False):
            logits = self.model.output.logits[:, task.positions].save()
        return logits

    def values(self, task):
        with self.model.trace(task.corrupt, use_cache=False):
            kept = [].save()
            for layer in self.layers:
                kept.append(self._output(layer).input)
        return kept

    def cell(self, task, values, layer, head, position):
        at = slice(None) if position < 0 else slice(position, position + 1)
        where = (slice(None), at, slice(head * self.d_head, (head + 1) * self.d_head))
        with self.model.trace(task.clean, use_cache=False):
            self._output(layer).input[where] = values[layer][where]
            logits = self.model.output.logits[:, task.positions].save()
        return logits


if __name__ == "__main__":
    serve(Traces, ("torch", "transformers", "nnsight"))

"""Raw PyTorch hooks on a `transformers` model: no library, one forward pass a cell.

With `--trimmed`, as somebody would write it who counts: the prompt ends at the last scored token, and only scored
positions are unembedded (`logits_to_keep`). That is the strongest plain loop; it is reported in a row of its own.
"""

import sys

import torch
from protocol import Task, serve
from transformers import AutoModelForCausalLM


class Hooks:
    def __init__(self, folder: str):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.trimmed = "--trimmed" in sys.argv
        config = self.model.config
        self.d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        gpt2 = config.model_type == "gpt2"
        layers = self.model.transformer.h if gpt2 else self.model.model.layers
        # what enters the output projection is every head's output, side by side
        self.outputs = [layer.attn.c_proj if gpt2 else layer.self_attn.o_proj for layer in layers]

    def _logits(self, task: Task, tokens: torch.Tensor) -> torch.Tensor:
        if not self.trimmed:
            return self.model(tokens, use_cache=False).logits[:, task.positions]
        end = int(task.positions.max()) + 1
        return self.model(tokens[:, :end], use_cache=False, logits_to_keep=task.positions).logits

    def forward(self, task):
        return self._logits(task, task.clean)

    def values(self, task):
        kept = []
        hooks = [
            module.register_forward_pre_hook(lambda module, args: kept.append(args[0].detach().clone()))
            for module in self.outputs
        ]
        try:
            self._logits(task, task.corrupt)
        finally:
            for hook in hooks:
                hook.remove()
        return kept

    def cell(self, task, values, layer, head, position):
        at = slice(None) if position < 0 else slice(position, position + 1)
        where = (slice(None), at, slice(head * self.d_head, (head + 1) * self.d_head))

        def patch(module, args):
            x = args[0].clone()
            x[where] = values[layer][where]
            return (x, *args[1:])

        hook = self.outputs[layer].register_forward_pre_hook(patch)
        try:
            return self._logits(task, task.clean)
        finally:
            hook.remove()


if __name__ == "__main__":
    serve(Hooks, ("torch", "transformers"))

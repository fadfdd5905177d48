"""TransformerLens 4: `TransformerBridge` around a `transformers` model, with `run_with_hooks` for every cell.

No compatibility mode, so nothing is folded; its own choice of eager attention is kept. Only `z` is cached.
"""

import torch
from protocol import serve
from transformer_lens import utilities
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM


class Bridged:
    def __init__(self, folder: str):
        source = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        self.model = TransformerBridge.boot_transformers(folder, hf_model=source.eval(), device="cpu")
        self.d_head = self.model.cfg.d_head

    def forward(self, task):
        return self.model(task.clean)[:, task.positions]

    def values(self, task):
        return self.model.run_with_cache(task.corrupt, names_filter=lambda name: name.endswith("attn.hook_z"))[1]

    def cell(self, task, values, layer, head, position):
        name = utilities.get_act_name("z", layer)
        at = slice(None) if position < 0 else position

        def patch(z, hook):
            z[:, at, head] = values[name][:, at, head]
            return z

        return self.model.run_with_hooks(task.clean, fwd_hooks=[(name, patch)])[:, task.positions]


if __name__ == "__main__":
    serve(Bridged, ("torch", "transformers", "transformer-lens"))

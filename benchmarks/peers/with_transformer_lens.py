"""TransformerLens 2.18: `HookedTransformer`, with `run_with_hooks` for every cell, as its `patching` module does.

Its loader asks the hub even for a model that is given, so the configuration is written here and the weights go in by its
own converters; nothing is folded or centred. Only `z` is cached, which is all that is patched.
"""

import torch
from protocol import serve
from transformer_lens import HookedTransformer, HookedTransformerConfig, utils
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights, convert_llama_weights
from transformers import AutoModelForCausalLM


def config_of(hf) -> HookedTransformerConfig:
    """GPT-2 and Llama, in this library's terms."""
    n_heads, width = hf.num_attention_heads, hf.hidden_size
    common = {
        "n_layers": hf.num_hidden_layers, "d_model": width, "n_heads": n_heads, "d_head": width // n_heads,
        "n_ctx": 1024, "d_vocab": hf.vocab_size, "model_name": hf.model_type, "device": "cpu", "dtype": torch.float32,
    }  # fmt: skip
    if hf.model_type == "gpt2":
        return HookedTransformerConfig(
            **common,
            d_mlp=4 * width,
            act_fn="gelu_new",
            eps=hf.layer_norm_epsilon,
            original_architecture="GPT2LMHeadModel",
        )
    rope = getattr(hf, "rope_parameters", None) or {}
    return HookedTransformerConfig(
        **common, d_mlp=hf.intermediate_size, act_fn="silu", eps=hf.rms_norm_eps, gated_mlp=True, normalization_type="RMS",
        final_rms=True, positional_embedding_type="rotary", rotary_dim=width // n_heads, rotary_adjacent_pairs=False,
        rotary_base=int(rope.get("rope_theta") or hf.rope_theta), n_key_value_heads=hf.num_key_value_heads,
        original_architecture="LlamaForCausalLM",
    )  # fmt: skip


class Hooked:
    def __init__(self, folder: str):
        source = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        config = config_of(source.config)
        convert = convert_gpt2_weights if source.config.model_type == "gpt2" else convert_llama_weights
        self.model = HookedTransformer(config)
        self.model.load_and_process_state_dict(
            convert(source, config),
            fold_ln=False,
            center_writing_weights=False,
            center_unembed=False,
            fold_value_biases=False,
        )
        self.model.eval()

    def forward(self, task):
        return self.model(task.clean)[:, task.positions]

    def values(self, task):
        return self.model.run_with_cache(task.corrupt, names_filter=lambda name: name.endswith("hook_z"))[1]

    def cell(self, task, values, layer, head, position):
        name = utils.get_act_name("z", layer)
        at = slice(None) if position < 0 else position

        def patch(z, hook):
            z[:, at, head] = values[name][:, at, head]
            return z

        return self.model.run_with_hooks(task.clean, fwd_hooks=[(name, patch)])[:, task.positions]


if __name__ == "__main__":
    serve(Hooked, ("torch", "transformers", "transformer-lens"))

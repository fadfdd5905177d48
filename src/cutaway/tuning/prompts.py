"""Virtual tokens: vectors that are learned and stand before what the model reads, or before the keys and values of its layers.

`peft` wraps the model for that, by its task. The wrapped model is called as the model is, and answers as it does: positions that
are those of virtual tokens alone are left out of what comes back, and labels are moved by as many.
"""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import AROUND
from cutaway.tuning.attention import key_width
from cutaway.tuning.places import places
from cutaway.tuning.through_peft import ThroughPeft, need_peft, told

TASKS = {
    "ForSequenceClassification": "SEQ_CLS", "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS", "ForConditionalGeneration": "SEQ_2_SEQ_LM", "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
}  # fmt: skip
"""How the class of a model ends → what `peft` calls its task; others are called as models without a head."""
HEADED = {"SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"}
PER_POSITION = ("logits", "last_hidden_state", "start_logits", "end_logits")


class Prompts(ThroughPeft):
    """Virtual tokens, by `peft`."""

    longer: ClassVar[bool] = True
    """Does the model see more positions than it is given?"""
    harmless: ClassVar = {
        "encoder_hidden_size", "num_attention_heads", "num_layers", "num_transformer_submodules", "prefix_projection",
        "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_kwargs", "tokenizer_name_or_path",
    }  # fmt: skip
    heads: tuple[str, ...] = ()
    """Modules that `peft` wants in the file, whether they have learned or not."""
    _types: Tensor | None = None
    """Token types of the call that is going on."""

    def give(self, options: Any, **more: Any) -> None:
        if options.tokens < 1:
            raise CutawayError(f"tokens is {options.tokens}: give at least 1")
        settings = self.theirs(options) | {"task_type": task(self.host)} | more
        with told():
            self.wrap(getattr(need_peft(), self.config)(**settings))

    def wrap(self, config: Any) -> None:
        super().wrap(config)
        self.heads = tuple(self.replaced)
        for name, module in self.replaced.items():  # a copy of the head; it learns if it is named in `also`
            self.host.set_submodule(name, module)
        self.replaced = {}
        self._own = [name for name in self._own if name.startswith("prompt_encoder.")]
        vars(self.host)[AROUND] = self.name
        self.hold(self.wrapped.register_forward_pre_hook(self._before, with_kwargs=True))
        self.hold(self.wrapped.register_forward_hook(self._after, with_kwargs=True))
        inner: nn.Module = getattr(self.host, "base_model", self.host)  # `peft` passes by what is around it
        self.hold(inner.register_forward_pre_hook(self._typed, with_kwargs=True))

    @property
    def encoder(self) -> nn.Module:
        """What makes the virtual tokens."""
        return self.wrapped.prompt_encoder[self.name]

    @property
    def extra(self) -> int:
        """How many positions are more than were given."""
        more = self.longer and self.active and not getattr(self.host.config, "is_encoder_decoder", False)
        return self.described.num_virtual_tokens if more else 0

    def _before(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        kwargs = dict(kwargs)
        self._types = kwargs.pop("token_type_ids", None)
        kind = self.described.task_type
        if self.extra and kind in ("TOKEN_CLS", "FEATURE_EXTRACTION") and kwargs.get("labels") is not None:
            kwargs["labels"] = nn.functional.pad(kwargs["labels"], (self.extra, 0), value=-100)
        for name in ("start_positions", "end_positions"):
            if self.extra and kwargs.get(name) is not None:
                kwargs[name] = kwargs[name] + self.extra
        return args, kwargs

    def _typed(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Which of two texts a token is of, `peft` leaves out; virtual tokens count to the first."""
        types, self._types = self._types, None
        return args, kwargs if types is None else {
            **kwargs,
            "token_type_ids": nn.functional.pad(types, (self.extra, 0)),
        }

    def _after(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        if not self.extra or self.described.task_type == "SEQ_CLS" or not isinstance(output, dict):
            return output
        given = kwargs.get("input_ids", kwargs.get("inputs_embeds", args[0] if args else None))
        for name in PER_POSITION:
            x = output.get(name)
            if x is not None and x.shape[1] == given.shape[1] + self.extra:
                output[name] = x[:, self.extra :]
        return output

    # --- on disk ------------------------------------------------------------------------------------------------------

    def own_tensors(self) -> dict[str, Tensor]:
        return {f"prompt_encoder.{name}": x for name, x in self.encoder.state_dict().items()}

    def to_disk(self) -> dict[str, Tensor]:
        """The vectors, which `peft` reads, and what makes them, if that is more."""
        own = self.own_tensors()
        if own.keys() == {"prompt_encoder.embedding.weight"}:
            own = {}
        with torch.no_grad():
            own["prompt_embeddings"] = self.wrapped.get_prompt_embedding_to_save(self.name).detach()
        learned = [name for name in self.freed if not name.startswith(tuple(f"{head}." for head in self.heads))]
        named = {f"{head}.{key}" for head in self.heads for key, _ in self.host.get_submodule(head).named_parameters()}
        return own | {f"base_model.{name}": self.host.get_parameter(name).detach() for name in [*learned, *named]}

    def from_disk(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for name, x in tensors.items():
            plain = name.removeprefix("base_model.")
            if name.startswith("prompt_encoder.") or plain in self.freed:
                found[plain] = x
            elif name == "prompt_embeddings":
                if not any(other.startswith("prompt_encoder.") for other in tensors):
                    found["prompt_encoder.embedding.weight"] = x
            elif not plain.startswith(tuple(f"{head}." for head in self.heads)):
                found[name] = x
        return found

    @classmethod
    def opened(cls, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """For encoder-decoders `peft` keeps twice the vectors, and reads the first half."""
        vectors = {"prompt_embeddings": tensors["prompt_embeddings"]} if "prompt_embeddings" in tensors else {}
        return tensors | {name: x[: config.get("num_virtual_tokens")] for name, x in vectors.items()}

    # --- its life -----------------------------------------------------------------------------------------------------

    def switch(self, on: bool) -> None:
        if on != self.active:
            for name in ("forward", "generate"):
                if on:
                    vars(self.wrapped).pop(name, None)
                elif hasattr(self.host, name):
                    vars(self.wrapped)[name] = getattr(self.host, name)
        super().switch(on)

    def take_off(self) -> None:
        vars(self.host).pop(AROUND, None)
        super().take_off()


def task(model: nn.Module) -> str:
    """What `peft` calls the task of a model; raises `CutawayError` if it is none of `transformers`."""
    if not hasattr(model, "config") or not hasattr(model, "get_input_embeddings"):
        raise CutawayError(f"{type(model).__name__} is no model of transformers, which prompts need: take lora")
    ends = (kind for end, kind in TASKS.items() if type(model).__name__.endswith(end))
    return next(ends, "FEATURE_EXTRACTION")


def embedded(model: nn.Module) -> int:
    """Width of the vectors that a model reads; raises as `task`."""
    task(model)
    return cast(Any, model).get_input_embeddings().weight.shape[1]


def cached(model: nn.Module) -> tuple[int, int, int]:
    """Layers that keep keys and values, heads of these, and their width in all.

    Raises:
        CutawayError: it is not known where they are, or the model does not take any from outside.
    """
    kind, config = task(model), cast(Any, model).config
    keys = [place for place in places(model) if place.role in ("attn_k", "attn_qkv")]
    if getattr(config, "is_encoder_decoder", False):
        keys = [place for place in keys if "decoder." in f"{place.name}."]
    backbone = getattr(model, str(model.base_model_prefix), model) if kind in HEADED else model
    if not keys or "past_key_values" not in {*inspect.signature(backbone.forward).parameters}:
        raise CutawayError(
            f"{type(model).__name__} takes no keys and values from outside, as prefixes are: take prompt"
        )
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return len(keys), heads, key_width(model, keys[0])

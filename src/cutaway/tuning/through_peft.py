"""Methods that the library `peft` has, behind the same call: it makes the layers, what is kept is in its format.

`peft` puts layers of its own in the place of the model's. Taking them off puts the model's own modules back, the very same
objects. A method that goes through it is a subclass of `ThroughPeft` that says how `peft` calls its options:

    class Lora(ThroughPeft):
        config = "LoraConfig"
        names = {"rank": "r", "alpha": "lora_alpha"}

and an `attach` that checks the options and calls `attached.give(options)`. Prompts, which wrap the model, are in prompts.py.
"""

import copy
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar

from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import ON_DISK, Attached, linear, transposed
from cutaway.tuning.places import chosen

HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "modules_to_save", "peft_type",
    "peft_version", "revision", "target_modules", "task_type", "fan_in_fan_out", "ensure_weight_tying",
    "init_lora_weights", "init_weights", "layers_pattern", "layers_to_transform", "projection_prng_key", "save_projection",
}  # fmt: skip
"""Settings of `peft` that say nothing about what an adapter computes once its tensors are filled in."""

ADDS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Ways in which LoRA begins that leave the model's weights as they are."""

CHECKPOINTED = "_require_grads_hooks"
"""Where a model of `transformers` notes hooks that let gradients through its embeddings."""


class ThroughPeft(Attached):
    """An attachment that `peft` makes."""

    config: ClassVar[str] = ""
    """The class of `peft` that describes the method."""
    names: ClassVar[Mapping[str, str]] = {}
    """Option → what `peft` calls it."""
    always: ClassVar[Mapping[str, Any]] = {}
    """Settings of `peft` that make it this method."""
    opens: ClassVar[Collection[str]] = ()
    """Further classes of `peft` whose files the method can open."""
    harmless: ClassVar[Collection[str]] = ()
    """Further settings of `peft` that say nothing about what the adapter computes."""
    conv1d: ClassVar[bool] = True
    """Does `peft` know the transposed projections of GPT-2 for this method? Where not, it is shown plain ones."""

    wrapped: Any = None
    """The model in the hands of `peft`."""

    def __init__(self, model: nn.Module, name: str = "default"):
        need_peft()
        super().__init__(model, name)
        self.replaced: dict[str, nn.Module] = {}
        """Name → the model's own module, where one of `peft` stands now."""
        self._own: list[str] = []

    @property
    def model(self) -> nn.Module:
        return self.host if self.wrapped is None else self.wrapped

    @property
    def described(self) -> Any:
        """The configuration of `peft`, as it is in use."""
        return self.wrapped.peft_config[self.name]

    # --- options ------------------------------------------------------------------------------------------------------

    @classmethod
    def theirs(cls, options: Any) -> dict[str, Any]:
        """A method's options as settings of `peft`."""
        return {name: getattr(options, own) for own, name in cls.names.items()} | dict(cls.always)

    @classmethod
    def ours(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Settings of `peft` as options, `at` aside; None if they are of another method."""
        if any(config.get(name) != value for name, value in cls.always.items()):
            return None
        return {own: config[name] for own, name in cls.names.items() if name in config}

    # --- for methods, while they build --------------------------------------------------------------------------------

    def give(self, options: Any, **more: Any) -> None:
        """Hands the model over to `peft`.

        Args:
            options: of the method; `at` says which modules.
            more: settings of `peft` that depend on the model.

        Raises:
            CutawayError: `peft` is not there or refuses, or one of the modules is in its hands already.
        """
        settings = self.theirs(options) | more
        targets = at(self.host, options.at)
        self._refuse_twice(targets)
        kind = getattr(need_peft(), self.config)
        if "fan_in_fan_out" in {f.name for f in fields(kind)}:
            settings["fan_in_fan_out"] = any(transposed(self.host.get_submodule(name)) for name in targets)
        if not self.conv1d:
            for name in targets:
                if transposed(module := self.host.get_submodule(name)):
                    self.replaced[name] = module
                    self.host.set_submodule(name, _plain(module))
        with told():
            self.wrap(kind(target_modules=targets, **settings))

    def wrap(self, config: Any) -> None:
        """The model under one of `peft`'s configurations; notes what it has put where."""
        from peft import get_peft_model

        modules, hooks = dict(self.host.named_modules()), list(vars(self.host).get(CHECKPOINTED, ()))
        known = {id(p): p.requires_grad for p in self.host.parameters()}
        try:
            self.wrapped = get_peft_model(self.host, config, adapter_name=self.name)
        finally:
            self.replaced |= {name: x for name, x in _changed(self.host, modules) if name not in self.replaced}
            for hook in vars(self.host).get(CHECKPOINTED, ()):  # which peft adds where activations are checkpointed
                if all(hook is not other for other in hooks):
                    hook.remove() if hooks else self.hold(hook)
            if hooks:
                vars(self.host)[CHECKPOINTED] = hooks
        for parameter in self.host.parameters():
            if id(parameter) in known:  # peft freezes what others have put on the model
                parameter.requires_grad_(known[id(parameter)])
        self._own = [name for name, p in self.wrapped.named_parameters() if p.requires_grad and id(p) not in known]

    def _refuse_twice(self, targets: Sequence[str]) -> None:
        tuner = need_peft().tuners.tuners_utils.BaseTunerLayer
        if taken := next((name for name in targets if isinstance(self.host.get_submodule(name), tuner)), None):
            raise CutawayError(f"peft is at {taken} already: remove or merge that tuning first, or choose another `at`")

    # --- on disk ------------------------------------------------------------------------------------------------------

    def to_disk(self) -> dict[str, Tensor]:
        freed = {f"{ON_DISK}{name}": self.host.get_parameter(name).detach() for name in self.freed}
        return self.own_tensors() | freed

    def from_disk(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        freed = {f"{ON_DISK}{name}": name for name in self.freed}
        return {freed.get(name, name): x for name, x in tensors.items()}

    def to_disk_config(self) -> Any:
        """The configuration that belongs to what `to_disk` gives."""
        return copy.copy(self.described)

    def unlike(self, config: Mapping[str, Any]) -> str | None:
        """A setting of `peft`, in a file, that changes what an adapter computes and is another here; None if all is well."""
        if config.get("init_lora_weights", True) not in ADDS:
            return "init_lora_weights"
        passed = HARMLESS | set(self.harmless)
        for name in (f.name for f in fields(self.described)):
            mine = getattr(self.described, name)
            if name in config and name not in passed and (config[name] or mine) and config[name] != mine:
                return name
        return None

    @classmethod
    def opened(cls, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is in a file of `peft`, in the shapes that the method has before training."""
        return tensors

    # --- its life -----------------------------------------------------------------------------------------------------

    def trained(self) -> dict[str, nn.Parameter]:
        own = {name: self.wrapped.get_parameter(name) for name in self._own} if self.wrapped is not None else {}
        return own | {name: self.host.get_parameter(name) for name in self.freed}

    def kept(self) -> dict[str, Tensor]:
        return self.own_tensors() | {name: self.host.get_parameter(name).detach() for name in self.freed}

    def own_tensors(self) -> dict[str, Tensor]:
        """What `peft` has added, as it would save it, by its names; they share memory with what is in the model."""
        from peft import get_peft_model_state_dict

        return get_peft_model_state_dict(self.wrapped, adapter_name=self.name, save_embedding_layers=False)

    def layers(self) -> Iterator[tuple[str, Any]]:
        """The layers of `peft` in the model."""
        for name in self.replaced:
            yield name, self.host.get_submodule(name)

    def switch(self, on: bool) -> None:
        if on != self.active:
            learning = {name: p.requires_grad for name, p in self.host.named_parameters()}
            for _, layer in self.layers():
                layer.enable_adapters(on)
            for name, parameter in self.host.named_parameters():  # peft would freeze them with it
                parameter.requires_grad_(learning[name])
        super().switch(on)

    def fold(self) -> None:
        for name, before in self.replaced.items():
            if hasattr(before, "base_layer") or before._forward_hooks or before._forward_pre_hooks:
                raise CutawayError(f"{name} is tuned by something else as well: merge or remove that first")
        for name, layer in list(self.layers()):
            layer.merge()
            before = self.replaced[name]
            for key, x in layer.get_base_layer().named_parameters(recurse=False):
                own = before.get_parameter(key)
                own.copy_(x.T if transposed(before) and not self.conv1d and key == "weight" else x)
        self.take_off()

    def take_off(self) -> None:
        for name, module in self.replaced.items():
            self.host.set_submodule(name, module)
        for name in ("peft_config", "prepare_inputs_for_generation"):
            self.host.__dict__.pop(name, None)
        self.replaced, self._own = {}, []


def need_peft() -> Any:
    """The library; raises `CutawayError` if it is not installed."""
    try:
        import peft
        import peft.tuners.tuners_utils
    except ImportError as error:
        raise CutawayError("this method needs peft: pip install 'cutaway[text]'") from error
    return peft


def at(model: nn.Module, roles: Sequence[str]) -> list[str]:
    """Full names of the parts, as `target_modules` of `peft` wants them."""
    return [place.name for place in chosen(model, roles)]


def widths(model: nn.Module, roles: Sequence[str]) -> list[tuple[int, int]]:
    """Width in and out of the chosen projections."""
    return [linear(model.get_submodule(name)) for name in at(model, roles)]


def check_rank(model: nn.Module, options: Any) -> None:
    """Raises `CutawayError` for a rank below 1, or above what the narrowest of the chosen projections has."""
    narrowest = min(min(each) for each in widths(model, options.at))
    if not 1 <= options.rank <= narrowest:
        raise CutawayError(
            f"rank is {options.rank}: give at least 1, at most {narrowest}, the width of the narrowest projection"
        )


def check_blocks(model: nn.Module, options: Any) -> None:
    """Raises `CutawayError` for blocks of less than 2, or that do not divide the inputs of the chosen projections."""
    into = sorted({width for width, _ in widths(model, options.at)})
    wrong = next((width for width in into if options.block < 2 or width % options.block), None)
    if wrong is not None:
        able = [n for n in range(2, min(into) + 1) if not any(width % n for width in into)]
        raise CutawayError(f"block is {options.block}: blocks have to divide {wrong}; those that do are {_few(able)}")


@contextmanager
def told() -> Iterator[None]:
    """What `peft` refuses is told in one line; its warnings, about choices that are made here, are not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, TypeError, NotImplementedError, AttributeError, KeyError, ImportError) as error:
        raise CutawayError(f"peft cannot put this on the model: {' '.join(str(error).split())[:200]}") from error


def _few(numbers: Collection[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _changed(host: nn.Module, before: Mapping[str, nn.Module]) -> list[tuple[str, nn.Module]]:
    """Modules in whose place another one stands now, with what stood there."""
    found: dict[str, nn.Module] = {}
    for name, module in before.items():
        inside = any(name.startswith(f"{other}.") for other in found)
        if not inside and host.get_submodule(name) is not module:
            found[name] = module
    return list(found.items())


def _plain(module: Any) -> nn.Linear:
    """A linear map that looks at the same memory as a transposed one."""
    into, out = linear(module)
    plain = nn.Linear(into, out, bias=False, device="meta")
    plain.weight = nn.Parameter(module.weight.detach().T, requires_grad=False)
    plain.bias = module.bias
    return plain

"""Methods that the library `peft` has, behind the same call: it attaches them, and what is kept is in its format.

`peft` puts layers of its own in the place of the model's, or, for prompts, wraps the model; both are taken back by `remove`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached
from cutaway.tuning.places import chosen


class ThroughPeft(Attached):
    """An attachment that `peft` makes."""

    wrapped: Any = None
    """The model in the hands of `peft`."""

    @property
    def model(self) -> nn.Module:
        return self.wrapped

    def give(self, config: Any) -> None:
        """Hands the model over, with one of `peft`'s configurations.

        Raises:
            CutawayError: `peft` refuses it.
        """
        from peft import get_peft_model

        try:
            self.wrapped = get_peft_model(self.host, config)
        except (ValueError, TypeError, NotImplementedError, AttributeError, KeyError) as error:
            raise CutawayError(f"peft cannot put this on the model: {' '.join(str(error).split())[:200]}") from error

    def trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.wrapped.named_parameters() if p.requires_grad}

    def kept(self) -> dict[str, Tensor]:
        from peft import get_peft_model_state_dict

        own = {name: x.detach() for name, x in get_peft_model_state_dict(self.wrapped).items()}
        return own | {name: self.host.get_parameter(name).detach() for name in self.freed}

    def put(self, tensors: dict[str, Tensor]) -> None:
        from peft import set_peft_model_state_dict

        self.check(tensors)
        set_peft_model_state_dict(self.wrapped, {name: x for name, x in tensors.items() if name not in self.freed})
        with torch.no_grad():
            for name in self.freed:
                self.host.get_parameter(name).copy_(tensors[name])

    def switch(self, on: bool) -> None:
        if on != self.active:
            (self.wrapped.base_model.enable_adapter_layers if on else self.wrapped.base_model.disable_adapter_layers)()
        super().switch(on)

    def fold(self) -> None:
        self.host = self.wrapped.merge_and_unload()

    def take_off(self) -> None:
        if self.wrapped is not None:
            self.wrapped.unload()


def at(attached: Attached, roles: Sequence[str]) -> list[str]:
    """Full names of the parts, as `target_modules` of `peft` wants them."""
    return [place.name for place in chosen(attached.host, roles)]


Configured = Callable[[Attached, Any], Any]
"""From an attachment and a method's options to a configuration of `peft`."""

"""Turns off the dropout inside a model.

Older families (GPT-2, OPT, BLOOM) drop a tenth of their activations in training. An adapter's steps
are drawn from the seed alone, so that a resumed run comes to the numbers of an unbroken one, and
the models of the paper have no dropout either.
"""

from __future__ import annotations

from torch import nn


def without_dropout(network: nn.Module) -> dict[str, float]:
    """Sets every rate of dropout in a model and its configuration to 0.

    Returns:
        The rates that its configuration had, to be put back where the model is exported.
    """
    config = network.config.get_text_config()
    rates = {
        name: value
        for name, value in config.to_dict().items()
        if _is_rate(name, value) and hasattr(config, name)
    }
    for name in rates:
        setattr(config, name, 0.0)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if _is_rate(name, value):
                setattr(module, name, 0.0)
    return rates


def _is_rate(name: str, value: object) -> bool:
    return "drop" in name and isinstance(value, float) and value > 0

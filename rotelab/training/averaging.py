"""Averaging adapters (model soups, arXiv 2203.05482).

Several are trained one after the other from one start, and their mean is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch


class AdapterAverage:
    """The adapters that are finished, and the weights from which each of them started.

    Args:
        parameters: what is trained, by name.
        optimizer: over these parameters; its moments are dropped between two adapters.
        count: how many adapters are averaged; with 1, nothing is done.
    """

    def __init__(
        self, parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, count: int
    ):
        self.several = count > 1
        self._parameters, self._optimizer = parameters, optimizer
        self._first = self._copy() if self.several else {}
        self._finished: list[dict[str, torch.Tensor]] = []

    @torch.no_grad()
    def start_next(self) -> None:
        """Sets the finished adapter aside and starts another from the same weights.

        Epochs and steps are counted on, so it reads the same sentences in another order, with
        other noise.
        """
        self._finished.append(self._copy())
        for name, parameter in self._parameters.items():
            parameter.copy_(self._first[name])
        self._optimizer.state.clear()

    @torch.no_grad()
    def keep(self) -> None:
        """Leaves the mean of all adapters in the parameters.

        A and B are averaged separately. The product of means is not the mean of products, but A
        hardly moves from its common start.
        """
        for name, parameter in self._parameters.items():
            if self._finished:
                weights = [parameter, *(adapter[name] for adapter in self._finished)]
                parameter.copy_(torch.stack(weights).mean(0))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The finished adapters as a training state keeps them."""
        return {
            f"finished {place}:{name}": weights[name].cpu().clone()
            for name in self._parameters
            for place, weights in enumerate(self._finished)
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], finished: int) -> None:
        """Takes finished adapters from a training state.

        Args:
            tensors: of the state.
            finished: how many adapters were finished by then.
        """
        self._finished = [
            {
                name: tensors[f"finished {place}:{name}"].to(parameter.device)
                for name, parameter in self._parameters.items()
            }
            for place in range(finished if self.several else 0)
        ]

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

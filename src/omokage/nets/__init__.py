"""Networks: from a batch of arrays to a batch of features."""

from omokage.nets.mlp import MLP

__all__ = ["MLP"]

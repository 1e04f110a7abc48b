"""Networks: from a batch of arrays to a batch of features.

`Dense` and `Recurrent` are families, frozen settings of which `network=` takes an instance or a name. A family has
`kinds`, the kinds of data that it takes, `default_hidden`, and makes an encoder and a decoder for an event.
"""

from omokage.nets.mlp import MLP, Dense
from omokage.nets.recurrent import Recurrent

__all__ = ["MLP", "Dense", "Recurrent"]

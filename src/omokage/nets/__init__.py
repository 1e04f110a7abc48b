"""Networks: from a batch of arrays to a batch of features.

The families `Dense`, `Convolution`, `Recurrent` and `TemporalConvolution` are frozen settings; `network=` takes an
instance or a name. A family has `kinds`, the kinds of data that it takes, `default_hidden`, and makes an encoder and a
decoder.
"""

from omokage.nets.convolution import Convolution
from omokage.nets.mlp import MLP, Dense
from omokage.nets.recurrent import Recurrent
from omokage.nets.temporal import TemporalConvolution

__all__ = ["MLP", "Convolution", "Dense", "Recurrent", "TemporalConvolution"]

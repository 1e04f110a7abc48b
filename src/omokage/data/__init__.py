"""The data side: raw input to arrays and back."""

from omokage.data.images import Images
from omokage.data.kinds import Vectors
from omokage.data.series import Sequences

__all__ = ["Images", "Sequences", "Vectors"]

"""Makes digits.png, the picture at the top of the README: `python docs/images/digits.py` (half a minute)."""

from pathlib import Path

import numpy as np

import omokage as om

training, held_out = om.datasets.load("digits", "train"), om.datasets.load("digits", "test")
vae = om.VAE(latent_dim=8, hidden=(256, 128), epochs=60, verbose=0).fit(training.X)

originals = held_out.X[[np.flatnonzero(held_out.y == digit)[1] for digit in range(10)]]  # the second of each class
rows = np.stack([originals, vae.reconstruct(originals), vae.sample(10, mean=True)])  # (3, 10, 64)
figure = om.plots.picture_rows(
    rows,
    (8, 8),
    row_labels=["held-out digit", "reconstruction", "new digit"],
    limits=(0.0, 1.0),
    colours=om.plots.INK_ON_PAPER,
)
figure.savefig(Path(__file__).parent / "digits.png", dpi=130)

"""The `VAE` class of a Chainer program, over omokage's engine: its arguments, its files, its usage.

    from omokage import classic

    vae = classic.VAE(784, [128, 2], folder="model")
    vae.train(train, 100, 128, valid=valid)
    feat, reconst, error = vae.reconst(data)

`VAE_ED` has an optimizer each for encoder and decoder. A `model.npz` that Chainer wrote is read, and Chainer reads
ours. What the estimators have (calibrated scores, early stopping, other densities) is not here.
"""

from omokage.classic.optimizers import Adam, Optimizer
from omokage.classic.vae import VAE, VAE_ED

__all__ = ["VAE", "VAE_ED", "Adam", "Optimizer"]

"""An autoencoder and a VAE of MNIST with a Bernoulli likelihood, by their losses; a VAE's samples and interpolations.

The document trains 784-200-784 on the cross-entropy averaged over pixels, and 784-200-10-200-784 on the cross-entropy
summed over pixels plus the KL. The losses that it prints are means over an epoch of training; the test rows here are
looked at once, by models whose settings were chosen on training rows.
"""

import numpy as np

from omokage import plots
from omokage.estimators import VAE, AutoEncoder
from omokage.experiments.results import Results
from omokage.progress import raw_history

# What each table of settings is called, and the loss that the document gives.
_AUTOENCODERS = {
    "autoencoder": ("AE 784-200-784", "0.06578"),
    "autoencoder_schedule": ("AE 784-200-784, one-cycle schedule", ""),
}
_VAES = {
    "vae": ("VAE 784-200-10-200-784", "110.78"),
    "vae_schedule": ("VAE 784-200-10-200-784, one-cycle schedule", ""),
    "vae_ours": ("VAE, our network and schedule", ""),
}


def run(results: Results) -> None:
    """Train the document's models, with its settings and with ours; see the module's text."""
    train, test = results.mnist("train"), results.mnist("test")
    for settings in results.settings["autoencoders"]:
        what, documented = _AUTOENCODERS[settings]
        plain = results.fit(AutoEncoder, settings, train.X)
        history = raw_history(plain)
        results.add(f"{what}: training loss, nats a pixel", documented, f"{history[-1]['loss'] / 784:.5f}", history)
        loss = -plain.terms(test.X)["reconstruction"].mean() / 784
        results.add(f"{what}: test loss, nats a pixel", "", f"{loss:.5f}", history)

    for settings in results.settings["vaes"]:
        what, documented = _VAES[settings]
        vae = results.fit(VAE, settings, train.X)
        history, terms = raw_history(vae), vae.terms(test.X)
        results.add(f"{what}: training loss, nats a picture", documented, f"{history[-1]['loss']:.2f}", history)
        results.add(f"{what}: test loss, nats a picture", "", f"{-terms['elbo'].mean():.2f}", history)
        results.add(f"{what}: KL in it, nats a picture", "", f"{terms['kl'].mean():.2f}", history)
        _show(results, settings.replace("_", "-"), what, vae, test.X)


def _show(results: Results, name: str, what: str, vae: VAE, X: np.ndarray) -> None:
    shape, levels = (28, 28), (0.0, 1.0)
    pictures = [
        results.picture(
            f"{name}-learning-curve",
            plots.learning_curve(raw_history(vae)),
            "The loss and its terms, epoch by epoch, as means over the epoch.",
        ),
        results.picture(
            f"{name}-samples",
            plots.grid(vae.sample(8, mean=True, seed=results.seed), shape, columns=8, limits=levels),
            "Decoder means at eight draws of z from the prior.",
        ),
        results.picture(
            f"{name}-reconstructions",
            plots.reconstructions(X[:10], vae.reconstruct(X[:10]), shape, limits=levels),
            "Test pictures above their reconstructions through the posterior mean.",
        ),
        results.picture(
            f"{name}-interpolation",
            plots.interpolation(vae, X[:6:2], X[1:6:2], shape, steps=10, limits=levels),
            "Ten steps on the straight line between the codes of two test pictures.",
        ),
    ]
    results.section(what, [], pictures)

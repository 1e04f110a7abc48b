"""A recurrent VAE of MNIST, whose pictures are read as 28 steps of 28 numbers.

The document makes (1 - λ) · (cross-entropy averaged over 784 pixels) + λ · KL small, λ = 0.01. That is (1 - λ) / 784
times (cross-entropy summed + β KL) with β = 784 λ / (1 - λ) = 7.92, the loss of a β-VAE in nats. It is shown in the
document's unit here. As in the document, the last 6,000 training pictures decide when to stop; the test pictures are
looked at once, in the end.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import inference, plots
from omokage.data.datasets import load
from omokage.estimators import VAE
from omokage.experiments.diagrams import model_diagram, series_picture
from omokage.experiments.results import Results
from omokage.objectives import ELBO
from omokage.progress import raw_history
from omokage.report import Cloud

_MODELS = {
    "document_settings": "the document's settings",
    "our_schedule": "the document's network, one-cycle schedule",
    "our_decoder": "our decoder",
}
_EPOCHS = {1: "0.2674", 10: "0.2357", 20: "0.2264", 30: "0.2230"}


def run(results: Results) -> None:
    """Train the document's model, and two of ours with as many latent dimensions."""
    settings = results.settings
    X = load("mnist", "train").X.reshape(-1, 28, 28)
    train, valid = X[: settings["train_rows"]], X[-settings["valid_rows"] :]
    test = results.mnist("test")
    first = results.picture("input", series_picture(test.X[0].reshape(28, 28)), "A test picture, and how it is read.")
    pixels, weight = X[0].size, settings["kl_weight"]
    beta, unit = weight * pixels / (1 - weight), (1 - weight) / pixels
    for name in settings["models"]:
        what = _MODELS[name]
        vae = results.fit(VAE, name, train, valid, objective=ELBO(beta=beta))
        history = raw_history(vae)
        losses = [unit * record["validation_loss"] for record in history]
        document = name == "document_settings"
        if document:
            figure = model_diagram(vae.summary(), *X.shape[1:])
            diagram = results.picture("model", figure, "The document's model, and in colour the terms of its loss.")
            results.section("Model and input", [], [diagram, first])
        results.add(f"{what}: parameters", "15,194" * document, f"{vae.summary().total:,}", history, exact=True)
        for epoch in _EPOCHS if document else ():
            if epoch <= len(losses):
                loss = f"{losses[epoch - 1]:.4f}"
                results.add(f"{what}: validation loss after epoch {epoch}", _EPOCHS[epoch], loss, history)
        best = f"{min(losses):.4f}, epoch {1 + int(np.argmin(losses))}"
        results.add(f"{what}: least validation loss", "0.2225, epoch 32" * document, best, history)
        terms = vae.terms(test.X.reshape(-1, 28, 28))
        loss = unit * (beta * terms["kl"] - terms["reconstruction"]).mean()
        results.add(f"{what}: test loss", "", f"{loss:.4f}", history)
        seconds = np.median([record["seconds"] for record in history])
        results.add(f"{what}: seconds an epoch", "23 (on a GPU)" * document, f"{seconds:.1f}", history)
        _show(results, name.replace("_", "-"), what, vae, valid, test.y)


def _show(results: Results, name: str, what: str, vae: VAE, valid: NDArray[Any], labels: NDArray[Any]) -> None:
    seed, norms, few = results.seed, results.settings["norms"], results.settings["shown_rows"]
    shape, levels = (28, 28), (0.0, 1.0)
    rows = results.mnist("test").X.reshape(-1, 28, 28)[:few]
    Z, labels = vae.transform(rows), labels[:few]
    far = plots.codes_at_norms(norms, 10, vae.latent_dim, seed=seed)
    stripes = vae.inverse_transform(far.reshape(-1, vae.latent_dim)).reshape(*far.shape[:2], -1)
    drawn = vae.schema_.rows(rows).each(lambda batch: inference.codes(vae.model_, batch, seed))
    plots.latent_rotation(Z, labels, results.folder / f"{name}-rotation.gif")
    pictures = [
        results.picture(
            f"{name}-best-and-worst",
            plots.best_and_worst(valid[:few], vae.reconstruct(valid[:few]), shape, limits=levels),
            "Validation pictures that are reconstructed best and worst.",
        ),
        results.picture(
            f"{name}-samples",
            plots.grid(vae.sample(40, mean=True, seed=seed), shape, columns=10, limits=levels),
            "Decoder means at draws of z from N(0, I).",
        ),
        results.picture(
            f"{name}-far-out",
            plots.far_out(stripes, norms, shape, limits=levels),
            f"Decoder means at z far outside: draws from the prior have norms of about {vae.latent_dim**0.5:.1f}.",
        ),
        results.picture(
            f"{name}-codes", plots.latent_scatter_3d(Z, labels), "Posterior means of test pictures, by digit."
        ),
        results.picture(
            f"{name}-normality",
            plots.normality(drawn),
            "Quantiles of z, drawn from q(z|x) for each test picture, against those of N(0, 1).",
        ),
        results.picture(
            f"{name}-learning-curve",
            plots.learning_curve(raw_history(vae)),
            "The loss in nats a picture, and its terms.",
        ),
    ]
    text = ["Is z really normal?", *map(str, vae.diagnose(rows).findings)]
    cloud = Cloud(Z, f"Posterior means of {what}.", "The posterior means, to turn.", labels)
    results.section(what, text, pictures, clouds=[cloud])

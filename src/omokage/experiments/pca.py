"""Autoencoders and VAEs, dense and convolutional, against principal components: errors, features, samples.

As in the document: the first 20,000 pictures of MNIST in [0, 1], 4,000 of them for testing, the mean picture
subtracted, 784-1000-L and its mirror, Adam, 30 epochs. The objective that the document prints is
(‖x - x̂‖² + 2 KL) / 784 = -2 ELBO / 784 - log 2π, of a Gaussian with deviation 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from omokage import plots
from omokage.estimators import VAE, AutoEncoder
from omokage.experiments.results import Results
from omokage.report import Table, raw_history

_PCA = {10: "0.034308", 20: "0.023815", 30: "0.017970", 40: "0.014241", 50: "0.011672"}
_MODELS = {
    "ae": "AE",
    "conv_ae": "conv AE",
    "vae": "VAE",
    "conv_vae": "conv VAE",
}
_SHAPE, _LEVELS = (28, 28), (0.0, 1.0)


def run(results: Results) -> None:
    """Train the models for each number of latent dimensions; see the module's text."""
    settings, data = results.settings, results.mnist("train")
    split = train_test_split(
        data.X, data.y, test_size=settings["test_size"], random_state=settings["split_seed"], stratify=data.y
    )
    train, test, train_labels, test_labels = split
    components = {L: PCA(L, svd_solver="covariance_eigh").fit(train) for L in settings["latent_dims"]}
    for L, pca in components.items():
        results.add(f"PCA, {L} components: training error a pixel", _PCA[L], f"{_pca_error(pca, train):.6f}")
    _as_documented(results, train, test)

    fitted: dict[str, dict[int, Any]] = {name: {} for name in settings["models"]}
    for name, models in fitted.items():
        for L in settings["latent_dims"]:
            kind = VAE if "vae" in name else AutoEncoder
            models[L] = results.fit(kind, name, _shaped(name, train), latent_dim=L)
    rows = [("PCA", *(f"{_pca_error(pca, test):.5f}" for pca in components.values()), "", "")]
    for name, models in fitted.items():
        errors = [f"{_error(name, model, test):.5f}" for model in models.values()]
        seconds = sum(record["seconds"] for model in models.values() for record in model.history_)
        epochs = str(len(next(iter(models.values())).history_))
        rows.append((_MODELS[name], *errors, epochs, f"{seconds:.0f}"))
    columns = ["test error a pixel", *map(str, settings["latent_dims"]), "epochs", "seconds, all"]
    results.table("Error by latent dimensions", columns, rows, "Mean squared error through the (posterior) mean")

    rows = []
    for L in settings["feature_dims"]:
        pairs = {f"PCA, {L}": (components[L].transform(train), components[L].transform(test))}
        for name, models in fitted.items():
            pairs[f"{_MODELS[name]}, {L}"] = tuple(models[L].transform(_shaped(name, X)) for X in (train, test))
        rows += [(what, *_accuracies(*features, train_labels, test_labels)) for what, features in pairs.items()]
    columns = ["features", "nearest neighbour", "logistic regression"]
    results.table("What features are worth", columns, rows, "Share of test digits that are recognised by them")
    for name, models in fitted.items():
        _show(results, name.replace("_", "-"), _MODELS[name], models[settings["latent_dims"][0]], name, test)


def _as_documented(results: Results, train: NDArray[Any], test: NDArray[Any]) -> None:
    """Train the models of the document with its settings; the published figures are those of its code."""
    for name in results.settings["documented"]:
        model = results.fit(VAE if "vae" in name else AutoEncoder, name, train, test, latent_dim=10)
        history, error = model.history_, f"{_error('', model, test):.4f}"
        if isinstance(model, VAE):
            what, terms = "VAE 784-1000-10, deviation 1", model.terms(test)
            objective = -2 * terms["elbo"].mean() / 784 - np.log(2 * np.pi)
            drawn = np.square(model.reconstruct(test, sample=True, seed=results.seed) - test).mean()
            active = f"{model.diagnose(test).active_units} of 10"
            results.add(f"{what}: test objective", "0.0500", f"{objective:.4f}", history)
            results.add(f"{what}: test error through the mean", "0.0262", error, history)
            results.add(f"{what}: test error through a draw", "0.0340", f"{drawn:.4f}", history)
            results.add(f"{what}: KL, nats a picture", "6.25", f"{terms['kl'].mean():.2f}", history)
            results.add(f"{what}: active latent dimensions", "9 of 10", active, history)
        else:
            what = "AE 784-1000-10"
            results.add(f"{what}: test error a pixel", "0.0183", error, history)
        _show(results, name.replace("_", "-"), f"{what}, as documented", model, "", test)


def _show(results: Results, name: str, what: str, model: Any, settings: str, test: NDArray[Any]) -> None:
    few, seed = _shaped(settings, test[:10]), results.seed
    draws = [model.reconstruct(few, sample=True, seed=seed + i) for i in range(2)] if isinstance(model, VAE) else None
    pictures = [
        results.picture(
            f"{name}-learning-curve", plots.learning_curve(raw_history(model)), "Nats a picture, epoch by epoch."
        ),
        results.picture(
            f"{name}-reconstructions",
            plots.reconstructions(few, model.reconstruct(few), _SHAPE, draws=draws, limits=_LEVELS),
            "Test pictures, what is made of them through the mean, and through two draws of z where there are any.",
        ),
        results.picture(
            f"{name}-samples",
            plots.grid(model.sample(50, mean=True, seed=seed), _SHAPE, columns=10, limits=_LEVELS),
            "Decoder means at draws of z: from N(0, I), of an AE from a normal fitted to the training features.",
        ),
    ]
    layers = [(layer.name, layer.kind, str(layer.shape), f"{layer.parameters:,}") for layer in model.summary()]
    results.section(what, [], pictures, table=Table(["layer", "kind", "output", "parameters"], layers, what))


def _shaped(settings: str, X: NDArray[Any]) -> NDArray[Any]:
    """Return pictures as the networks of these settings take them."""
    return X.reshape(-1, *_SHAPE) if settings.startswith("conv") else X


def _error(settings: str, model: Any, X: NDArray[Any]) -> float:
    return float(np.square(model.reconstruct(_shaped(settings, X)).reshape(X.shape) - X).mean())


def _pca_error(pca: PCA, X: NDArray[Any]) -> float:
    return float(np.square(pca.inverse_transform(pca.transform(X)) - X).mean())


def _accuracies(Z: NDArray[Any], Z_test: NDArray[Any], y: NDArray[Any], y_test: NDArray[Any]) -> list[str]:
    classifiers = (KNeighborsClassifier(1), make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)))
    return [f"{one.fit(Z, y).score(Z_test, y_test):.1%}" for one in classifiers]

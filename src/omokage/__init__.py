"""omokage: autoencoders and variational autoencoders for your own data.

    import omokage as om

    vae = om.VAE(latent_dim=10).fit(X)
    vae.transform(X), vae.reconstruct(X), vae.score_samples(X), vae.sample(100)
    om.plots.latent_scatter(vae.transform(X))

Everything is loaded at its first use, so that `import omokage` and `omokage --help` are quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from omokage import data, errors, likelihoods, nets, objectives, plots, posteriors, priors, report, synthetic
    from omokage.data import datasets
    from omokage.estimators import VAE, AnomalyDetector, AutoEncoder, Imputer, evaluate_detector, load
    from omokage.files.opening import read
    from omokage.synthetic import synthesize

__all__ = [
    "VAE", "AnomalyDetector", "AutoEncoder", "Imputer", "data", "datasets", "errors", "evaluate_detector",
    "likelihoods", "load", "nets", "objectives", "plots", "posteriors", "priors", "read", "report", "synthesize",
    "synthetic",
]  # fmt: skip

_HOMES = {
    "VAE": "omokage.estimators",
    "AnomalyDetector": "omokage.estimators",
    "AutoEncoder": "omokage.estimators",
    "Imputer": "omokage.estimators",
    "evaluate_detector": "omokage.estimators",
    "load": "omokage.estimators",
    "data": "omokage.data",
    "datasets": "omokage.data.datasets",
    "errors": "omokage.errors",
    "likelihoods": "omokage.likelihoods",
    "nets": "omokage.nets",
    "objectives": "omokage.objectives",
    "plots": "omokage.plots",
    "posteriors": "omokage.posteriors",
    "priors": "omokage.priors",
    "read": "omokage.files.opening",
    "report": "omokage.report",
    "synthesize": "omokage.synthetic",
    "synthetic": "omokage.synthetic",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'omokage' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    value = home if _HOMES[name].endswith(f".{name}") else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})

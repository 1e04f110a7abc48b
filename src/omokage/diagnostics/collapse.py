"""Why is every output the mean image? Collapse, recognised from what a model puts out, and its cause.

A posterior has collapsed when q(z|x) is the prior whatever x is: z tells nothing, and the best that a decoder can do is
the mean row. For linear networks it is known when this is the best of all solutions (Lucas et al., "Don't Blame the
ELBO!", 2019): a latent dimension pays only along a direction in which the data, in units of the likelihood's scale,
have a variance above β. Other networks do much the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from omokage.diagnostics.findings import Finding
from omokage.diagnostics.latent import Latent
from omokage.errors import ParameterError
from omokage.objectives import WAE, InfoVAE, Meaning, MomentMatching, Reconstruction, Wrapping, meaning_of

Floats = NDArray[np.float64]

_ACTIVE = 0.01  # variance of the posterior mean (Burda et al., 2016), and nats of KL
_NO_BETTER = 0.95  # share of the mean row's squared error
_NOT_TERMS = {"epoch", "loss", "learning_rate", "seconds", "rows_per_second"}


def divergences(means: Floats, deviations: Floats) -> Floats:
    """Return the mean KL(q(z|x) ‖ N(0, I)) of each latent dimension, in nats, (L,)."""
    return np.asarray(0.5 * (means**2 + deviations**2 - 1 - np.log(deviations**2)).mean(0))


def active_units(means: Floats, deviations: Floats | None) -> NDArray[np.bool_]:
    """Return which latent dimensions carry something, (L,).

    Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016: those whose posterior mean has a
    variance above 0.01 over the rows; here also a KL above 0.01 nats. The codes of a point mass have no unit, so there
    the variance counts beside the largest.

    Example:
        >>> means = np.stack([np.linspace(-2, 2, 50), np.full(50, 0.3)], axis=1)
        >>> active_units(means, np.full((50, 2), 0.5))
        array([ True, False])
    """
    variance = means.var(0)
    if deviations is None:
        return np.asarray((variance > _ACTIVE * variance.max()) & (variance > 0))
    return np.asarray((variance > _ACTIVE) & (divergences(means, deviations) > _ACTIVE))


def active_beside(latent: Latent, means: Floats) -> NDArray[np.bool_]:
    """Return which latent dimensions carry something beside a prior of any kind, (L,).

    As in `active_units`, the variance being in units of the prior's own, and the KL asked where it is known.
    """
    active = (means / latent.width).var(0) > _ACTIVE
    if latent.kl is not None:
        active &= latent.kl > _ACTIVE
    return np.asarray(active & (latent.mean_kl > _ACTIVE))


def pulls_together(objective: Any) -> bool:
    """Say whether an objective draws all the codes of a batch together to the prior."""
    return isinstance(_inner(objective), WAE | InfoVAE)


def effective_beta(
    reconstruction_weight: float, kl_weight: float, *, averaged_over: int = 1, latent_averaged_over: int = 1
) -> float:
    """Return the β that a weighting of reconstruction and KL really is, where both are sums in nats.

    Args:
        reconstruction_weight: What the reconstruction is multiplied with.
        kl_weight: What the KL is multiplied with.
        averaged_over: Over how many entries of a row the reconstruction is a mean; 1 where it is a sum.
        latent_averaged_over: Over how many latent dimensions the KL is a mean; 1 where it is a sum.

    Raises:
        ParameterError: If a weight is negative or the first is 0, or a number of entries is below 1.

    Example:
        >>> round(effective_beta(0.99, 0.01, averaged_over=784), 3)  # looks like a hundredth, and is eight
        7.919
    """
    if not 0 < reconstruction_weight < np.inf:
        raise ParameterError(f"reconstruction_weight: expected a number above 0; got {reconstruction_weight!r}.")
    if not 0 <= kl_weight < np.inf:
        raise ParameterError(f"kl_weight: expected a number of at least 0; got {kl_weight!r}.")
    for name, value in (("averaged_over", averaged_over), ("latent_averaged_over", latent_averaged_over)):
        if not value >= 1:
            raise ParameterError(f"{name}: expected a number of entries, at least 1; got {value!r}.")
    return kl_weight * averaged_over / (reconstruction_weight * latent_averaged_over)


def error_ratio(x: Floats, reconstructions: Floats) -> float:
    """Return the squared error of reconstructions as a share of that of the mean row; 1 is no better than the mean.

    It is NaN where all rows are the same. Both are (n, D).
    """
    total = float(np.square(x - x.mean(0)).sum())
    return float(np.square(x - reconstructions).sum()) / total if total > 0 else float("nan")


def collapse_finding(
    x: Floats,
    reconstructions: Floats,
    active: NDArray[np.bool_],
    *,
    objective: Any = None,
    scales: Floats | None = None,
    history: Sequence[Mapping[str, Any]] = (),
) -> Finding:
    """Return whether every output is the mean row, and why.

    Args:
        x: Rows, (n, D).
        reconstructions: Of the rows, in the same units, (n, D).
        active: From `active_units`, (L,).
        objective: What the model was trained for.
        scales: σ of a Gaussian likelihood in these units, (D,) or (1,).
        history: Of the training; names the terms of an objective that is not known here.
    """
    ratio = error_ratio(x, reconstructions)
    varied = float(reconstructions.var(0).sum() / max(x.var(0).sum(), np.finfo(float).tiny))
    count = int(active.sum())
    figures = {"error_ratio": ratio, "output_variance": varied, "active_units": float(count)}
    if np.isnan(ratio):
        return Finding("collapse", "warning", "All rows are the same, so there is nothing to learn.", figures)
    seen = (
        f"the squared error is {ratio:.0%} of that of the mean row, and outputs have {varied:.0%} of the rows' variance"
    )
    if ratio < _NO_BETTER:
        return Finding("collapse", "good", f"Is every output the mean row? No: {seen}.", figures)
    text = f"Is every output the mean row? Yes, or no better: {seen}. "
    if count == 0:
        text += "The posterior has collapsed: no latent dimension carries anything. "
    else:
        text += f"{count} of {len(active)} latent dimensions carry something, but the decoder makes nothing of it. "
    cause, more = _cause(objective, x, len(active), scales, history)
    return Finding("collapse", "problem", text + cause, figures | more)


def units_finding(active: NDArray[np.bool_], variance: Floats, kl: Floats | None) -> Finding:
    """Return how many latent dimensions carry something; some that do not are no harm."""
    count, names = int(active.sum()), [f"z{j}" for j in np.flatnonzero(~active)]
    text = f"{count} of {len(active)} latent dimensions carry something"
    if kl is not None and count:
        strongest = int(kl.argmax())
        text += f", z{strongest} the most ({kl[strongest]:.2f} nats)"
    if names and count:
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        text += (
            f". {shown} {'is' if len(names) == 1 else 'are'} not used, which does no harm: the KL has pruned what did "
            "not pay"
            if kl is not None
            else f". {shown} {'hardly varies' if len(names) == 1 else 'hardly vary'}"
        )
    text += "." if len(active) > count or not count else ". More might be used if there were more."
    figures = {"active": float(count), "latent_dim": float(len(active)), "largest_variance": float(variance.max())}
    return Finding("active units", "good" if count else "problem", text, figures)


def weight_finding(objective: Any, event_size: int, latent_dim: int) -> Finding | None:
    """Return what the weights of the loss mean, and whether it is a bound, for objectives that say so."""
    meaning, objective = meaning_of(objective), _inner(objective)
    if isinstance(objective, MomentMatching):
        weight = effective_beta(1, objective.moments, averaged_over=event_size, latent_averaged_over=latent_dim)
        text = (
            f"Its terms are means over {event_size} entries and {latent_dim} latent dimensions. Written as sums, as in "
            f"a Gaussian of deviation 1, the latent terms have β = {weight:.4g}; and they are not a KL, so the loss is "
            "no bound, and not in nats."
        )
        return Finding("weights", "good" if weight <= 1 else "warning", text, {"beta": weight})
    if meaning is None or (meaning.kl is None and not meaning.text):
        return None
    figures = {} if meaning.kl is None else {"beta": float(meaning.kl)}
    text = meaning.text or _of_weight(float(meaning.kl or 0), meaning)
    return Finding("weights", "good", f"{text} {meaning.rows}".rstrip(), figures)


def _of_weight(beta: float, meaning: Meaning) -> str:
    """Return what the weight of the KL and the bound mean, where they are all that there is to say."""
    bound = {
        "elbo": "The loss is the ELBO's negative, a bound on -log p(x), and can be compared between models.",
        "tighter": "The loss is a bound on -log p(x), tighter than that of the ELBO.",
        "looser": "The loss is no tight bound on -log p(x).",
        "": "The loss is no bound on -log p(x).",
    }[meaning.bound]
    if meaning.rows and meaning.bound:
        bound = "The loss is a bound on -log p(x)."
    same = f" With a Gaussian of fixed scale it is the same as σ times {np.sqrt(beta):.2g}." if beta > 0 else ""
    if beta == 1:
        return f"β = 1: {bound[0].lower()}{bound[1:]}"
    if beta > 1:
        return (
            f"β = {beta:g}, above 1: each nat in z must save {beta:g} in the reconstruction, so z holds less, and "
            f"reconstructions blur.{same} {bound}"
        )
    return (
        f"β = {beta:g}, below 1: z holds more and reconstructions are sharper, but q(z) drifts from the prior, so "
        f"samples suffer.{same} {bound}"
    )


def _inner(objective: Any) -> Any:
    return _inner(objective.objective) if isinstance(objective, Wrapping) else objective


def _cause(
    objective: Any, x: Floats, latent_dim: int, scales: Floats | None, history: Sequence[Mapping[str, Any]]
) -> tuple[str, dict[str, float]]:
    """Return why z carries nothing and what to do, and the numbers behind it."""
    objective, size = _inner(objective), x.shape[1]
    if isinstance(objective, MomentMatching):
        threshold = objective.moments * size / latent_dim
        variance = strongest_variance(x)
        text = (
            f"Cause: MomentMatching takes means, over {size} entries and over {latent_dim} latent dimensions, and so "
            f"weighs the latent terms {size}/{latent_dim} = {size / latent_dim:.3g} times too much. A dimension pays "
            f"only along a direction of variance above {threshold:.3g}, and the largest here is {variance:.3g}. "
        )
        if variance < threshold:
            text += (
                f"Take moments well below {variance * latent_dim / size:.2g}, or objective='elbo', which sums in nats."
            )
        return text.rstrip(), {"threshold": threshold, "strongest_variance": variance}
    meaning = meaning_of(objective)
    if meaning is not None and meaning.kl is not None:
        beta = meaning.kl
        strength = {} if scales is None else {"strongest_variance": strongest_variance(x / np.maximum(scales, 1e-12))}
        measured = "".join(
            f" A dimension pays only along a direction of variance above β, in units of the likelihood's scale; the "
            f"largest here is {value:.3g}."
            for value in strength.values()
        )
        if beta > 1:
            return (
                f"Cause: the weight of the KL: β = {beta:g} counts each of its nats {beta:g} times.{measured} Take "
                "beta=1, or hold the KL at a level with ELBO(capacity=...).",
                {"beta": float(beta), **strength},
            )
        return (
            f"The weight of the KL is not the cause (β = {beta:g}).{measured} Look for a likelihood whose scale is far "
            "wider than the data vary (a learned one is safe), a learning rate that is too high, too few epochs, or "
            "columns that have nothing in common. ELBO(warmup=10) lets z settle before the KL counts in full.",
            {"beta": float(beta), **strength},
        )
    if isinstance(objective, Reconstruction):
        return (
            "There is no latent term that could press z down: the network has not learned. Try another learning_rate, "
            "more epochs, or standardised columns.",
            {},
        )
    name = "the objective" if objective is None else type(objective).__name__
    if meaning is not None:
        advice = "Take smaller weights of its latent terms, a smaller learning rate, or more epochs."
        return f"{meaning.text} {advice}".strip(), {}
    terms = {key: value for key, value in (history[-1] if history else {}).items() if _is_term(key)}
    shown = ", ".join(f"{key} {value:.4g}" for key, value in terms.items())
    text = f"Cause, as it seems: the latent terms of {name} outweigh its reconstruction"
    text += f" (last epoch: {shown})." if shown else "."
    text += (
        f" Let each term be a sum over entries or latent dimensions, in nats a row: where both are means, the latent "
        f"ones weigh {size}/{latent_dim} = {size / latent_dim:.3g} times too much."
    )
    return text, {"latent_dim": float(latent_dim), "event_size": float(size)}


def _is_term(name: str) -> bool:
    return name not in _NOT_TERMS and not name.startswith("validation_")


def strongest_variance(x: Floats) -> float:
    """Return the largest variance that rows have along any direction: the first eigenvalue of their covariance."""
    x = x - x.mean(0)
    gram = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    last = len(gram) - 1
    return float(eigh(gram, eigvals_only=True, subset_by_index=[last, last])[0]) / len(x)

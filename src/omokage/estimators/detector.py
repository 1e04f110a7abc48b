"""The anomaly detector."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from omokage import saving
from omokage.data.encoded import Encoded
from omokage.data.kinds import open_data
from omokage.detection import scores, steps
from omokage.detection.calibration import Calibration, severity
from omokage.detection.checks import calibration_finding
from omokage.detection.conditional import conditional, has_density
from omokage.detection.drift import Drift, drift
from omokage.detection.explanation import Explanation
from omokage.detection.judge import Judge
from omokage.diagnostics.findings import Findings
from omokage.errors import ParameterError, suggest
from omokage.estimators.base import Estimator, FittedAttributes
from omokage.estimators.fitting import (
    AnyPath,
    check_names,
    count,
    on_device,
    opened_data,
    read_rows,
    reading_of,
    seed_of,
)
from omokage.estimators.members import FittedDetector, fit_members, member, of_members
from omokage.fitted import Fitted
from omokage.model import takes_holes
from omokage.settings import DetectorSettings, check
from omokage.summary import Summary, summary
from omokage.training import Record

_CELLS = 64  # columns up to which cells are judged given the others, unless asked for: it costs a pass for each


class AnomalyDetector(FittedAttributes, OutlierMixin, BaseEstimator):
    """Says which rows do not look like the rows that it was fitted on, how sure that is, and what is to blame.

    An ensemble of models is trained at once on rows that are taken to be normal. A row's score is how strange it is to
    the members on average; what a score means is told by normal rows that were held out.

    Parameters
    ----------
    model : VAE, AutoEncoder or dict, optional
        What each member is; not fitted. By default a small VAE (for vectors 64-64-8) with learned, floored variances;
        a dict holds settings of it that shall differ, such as `{"epochs": 100, "device": "gpu"}`.
    score : str or sequence of str
        "elbo" (minus the bound, 16 draws), "likelihood" (the same with 100 importance-weighted draws), "mahalanobis"
        (M, the unregularised score: half the deviance, for a Gaussian the squared error over twice the variance),
        "normaliser" (A: how uncertain the decoder is), "divergence" (D, KL(q‖p)), "reconstruction" (the squared error,
        standardised units), "reconstruction_probability" (-E log p(x|z)), "neighbours" and "latent_neighbours" (the
        mean distance to the 5 nearest training rows in what the reconstruction leaves over, or in z). Of several, the
        mean of their surprises. "auto": elbo, neighbours and latent_neighbours; mahalanobis in place of elbo for a
        plain autoencoder, and reconstruction where the likelihood has no deviance.
    contamination : float or "auto"
        Where the training rows hold anomalies: their share, which `predict` then finds among them.
    false_alarm_rate : float
        The share of normal rows that `predict` flags, where `contamination` is "auto"; or the smallest p-value that the
        calibration can give, where that is larger.
    ensemble : int
        Members, M.
    calibration : "auto", "split", "cross" or float
        "split": a fifth of the rows (or the share that is given) is held out to calibrate on. "cross": every member
        leaves out a fold of the rows, which calibrates it. "auto": "cross" below 10,000 rows, unless there is one
        member.
    random_state : int or None
        Seed.
    verbose : int
        0: silent, 1: progress.

    Attributes
    ----------
    offset_ : float
        `predict` flags rows whose `score_samples` is below it.
    calibration_ : omokage.detection.calibration.Calibration
        Scores of the rows that were held out.
    findings_ : Findings, a list of Finding
        What to know before relying on the detector: whether the score is but a distance from the mean, whether members
        collapsed, whether there seem to be anomalies among the training rows, what the calibration can tell.
    history_ : list of dict
        One record an epoch, of means over the members.
    context_schema_ : omokage.data.context.ContextSchema or None
        What was learned of the context; `None` where `fit` was given none.
    n_features_in_ : int
        The number of columns.

    Examples
    --------
    >>> import numpy as np, omokage
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> small = omokage.VAE(latent_dim=2, hidden=(16,), epochs=5, verbose=0)
    >>> detector = omokage.AnomalyDetector(small, verbose=0).fit(X)
    >>> detector.predict([[0.0, 0.0, 0.0], [9.0, -9.0, 9.0]])
    array([ 1, -1])
    """

    def __init__(
        self,
        model: Any = None,
        *,
        score: Any = "auto",
        contamination: Any = "auto",
        false_alarm_rate: float = 0.05,
        ensemble: int = 5,
        calibration: Any = "auto",
        random_state: Any = 0,
        verbose: int = 1,
    ):
        self.model = model
        self.score = score
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.ensemble = ensemble
        self.calibration = calibration
        self.random_state = random_state
        self.verbose = verbose

    fitted_: FittedDetector

    @property
    def score(self) -> Callable[..., float]:
        """The method that scikit-learn calls, `score(X)`: the mean of `score_samples`.

        The parameter of this name is in `get_params()`.
        """
        return self._mean_score

    @score.setter
    def score(self, value: Any) -> None:
        self.__dict__["score"] = value

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, as the constructor was given them."""
        own = super().get_params(deep=deep)
        return {**own, "score": self.__dict__["score"]} if "score" in own else own

    def set_params(self, **params: Any) -> Self:
        """Set parameters; `model__epochs=20` sets one of `model`, also where that is a dict or left out."""
        model = params.get("model", self.model)
        if model is None or isinstance(model, Mapping):
            nested = {name: params.pop(name) for name in list(params) if name.startswith("model__")}
            if nested:
                params["model"] = dict(model or {})
                params["model"] |= {name.removeprefix("model__"): value for name, value in nested.items()}
        return super().set_params(**params)

    def fit(
        self, X: Any, y: Any = None, *, context: Any = None, on_epoch: Callable[[Record], object] | None = None
    ) -> Self:
        """Learn what normal rows are.

        Parameters
        ----------
        X : array, data frame, list of arrays, or path
            Rows that are normal, all or nearly all, of any kind that `VAE.fit` takes.
        y : ignored
            Present by scikit-learn's convention.
        context : array of shape (n,) or (n, k), or data frame of n rows, optional
            What is known of each row beside X and is not judged itself, as `VAE.fit` takes it: the lot of a part, the
            temperature outside. Rows are then judged given their context, and all that is asked takes one too. Of
            series it is one for each series, also where they are cut into windows.
        on_epoch : callable, optional
            Called after each epoch with its record, as in `history_`.

        Returns
        -------
        self

        Raises
        ------
        ParameterError, DataError, FileFormatError
            If a parameter, the data or a file cannot be used; the text says where and what to do.
        TrainingError
            If the loss stopped being finite.
        """
        settings = self._checked()
        seed = seed_of(settings.random_state)
        name = type(self).__name__
        data = of_members(self.model, on_epoch)["data"]
        X = opened_data(X)
        table = open_data(X, data, estimator=name)
        if (columns := table.columns()) is not None:
            check_names(name, columns, None)
        kind = saving.class_name(type(self))
        model, reading = member(self.model, table), reading_of(X)
        fitted = fit_members(
            kind, self.get_params(deep=False), model, table, settings, seed, on_epoch, reading, context
        )
        if settings.contamination != "auto":
            scores = _scores(fitted, read_rows(fitted, X, context)).mean(1)
            fitted = dataclasses.replace(fitted, offset=float(np.quantile(-scores, settings.contamination)))
        self.fitted_ = fitted
        return self

    def fit_predict(self, X: Any, y: Any = None, *, context: Any = None, **settings: Any) -> NDArray[np.int64]:
        """Return `fit(X, context=context, ...).predict(X, context=context)`."""
        return self.fit(X, y, context=context, **settings).predict(X, context=context)

    @property
    def _fit(self) -> FittedDetector:
        """The fit; raises scikit-learn's NotFittedError before there is one."""
        check_is_fitted(self)
        return self.fitted_

    def score_samples(self, X: Any, *, context: Any = None) -> NDArray[np.float64]:
        """Return minus the score of each row, (n,); higher is more normal, by scikit-learn's convention."""
        return -_scores(*self._asked(X, context)).mean(1)

    def decision_function(self, X: Any, *, context: Any = None) -> NDArray[np.float64]:
        """Return `score_samples` less `offset_`, (n,); below 0 is flagged."""
        fit, rows = self._asked(X, context)
        return -_scores(fit, rows).mean(1) - fit.offset

    def predict(self, X: Any, *, context: Any = None, false_alarm_rate: float | None = None) -> NDArray[np.int64]:
        """Return 1 for each row that looks normal and -1 for each that does not, (n,).

        Parameters
        ----------
        X : rows
            As for `fit`.
        context : value, row, or like that of `fit`
            That of the rows, where the detector was fitted with one.
        false_alarm_rate : float, optional
            Flag rows whose p-value is at most this, in place of those whose score is below `offset_`.

        Raises
        ------
        ParameterError
            If the rate is below the smallest p-value that the calibration can give.
        """
        judged = self.judge(X, context=context, false_alarm_rate=false_alarm_rate)
        return np.where(judged["is_anomaly"], -1, 1)

    def p_values(self, X: Any, *, context: Any = None) -> NDArray[np.float64]:
        """Return the share of normal rows that are at least as strange, for each row, (n,).

        After "split", or `recalibrate`: if a normal row and the calibration rows are exchangeable, its p-value is at
        most α with probability at most α. After "cross" that is so in practice, but no theorem. The rate holds on
        average over normal rows and over calibrations. It says nothing of one kind of row, nor of one context, and
        nothing once what is normal has changed.
        """
        return self.judge(X, context=context)["p_value"]

    def judge(self, X: Any, *, context: Any = None, false_alarm_rate: float | None = None) -> dict[str, NDArray[Any]]:
        """Return all that there is to say of each row at once, (n,) each, as `omokage score` writes it.

        Parameters
        ----------
        X : rows
            As for `fit`.
        context : value, row, or like that of `fit`
            That of the rows, where the detector was fitted with one.
        false_alarm_rate : float, optional
            As for `predict`.

        Returns
        -------
        dict
            "anomaly_score" (higher is stranger; minus `score_samples`), "p_value" and "is_anomaly".
        """
        calibration = self._fit.calibration
        rate = None if false_alarm_rate is None else calibration.check_rate(false_alarm_rate)
        fit, rows = self._asked(X, context)
        scores = _scores(fit, rows)
        score, p_value = scores.mean(1), fit.calibration.p_values(scores)
        # What has no score, since it is beyond all numbers, is flagged.
        flagged = ~(-score >= fit.offset) if rate is None else p_value <= rate
        return {"anomaly_score": score, "p_value": p_value, "is_anomaly": flagged}

    def judge_steps(
        self,
        X: Any,
        *,
        context: Any = None,
        false_alarm_rate: float | None = None,
        window: int | None = None,
        explain: int = 0,
    ) -> dict[str, Any]:
        """Return what there is to say of each step of series.

        Parameters
        ----------
        X : series
            As for `fit`. Where they are cut into windows, also a single one, (time, channels).
        context : value, row, or like that of `fit`
            That of the rows, where the detector was fitted with one.
        false_alarm_rate : float, optional
            Flag steps whose p-value is at most this; by default the rate of the constructor.
        window : int, optional
            For a detector that was fitted on whole series: cut these into overlapping windows of so many steps.
        explain : int
            How many channels to name that add most to the score of a step.

        Returns
        -------
        dict
            "anomaly_score" (M of the step, in nats, the mean over members and over the windows that cover it; higher is
            stranger), "p_value" (the share of steps of held-out series that are as strange), "is_anomaly", and
            "top_feature_1" and so on. Arrays (T,) for a single series, else lists of such. Steps at which nothing was
            observed have NaN, and are not flagged.

        Raises
        ------
        DataError
            If the detector is not one of sequences.
        ParameterError
            If the window is another than that of the fit, or the rate below what the calibration can give.
        """
        fit, explain = self._fit, count("explain", explain, least=0)
        schema = fit.schema.in_windows(None if window is None else count("window", window))
        calibration = Calibration((fit.judge.steps,))
        rate = max(self._rate(), calibration.least_rate) if false_alarm_rate is None else false_alarm_rate
        rate = calibration.check_rate(rate)
        rows = read_rows(dataclasses.replace(fit, schema=schema), X, context)
        with self._device():
            parts = rows.on_steps(steps.contributions(fit.judge.ensemble, rows))
        names = schema.names or tuple(schema.column(channel) for channel in range(schema.features))
        found = [steps.verdicts(part, calibration, rate, names, explain) for part in parts]
        return found[0] if rows.alone else {name: [one[name] for one in found] for name in found[0]}

    def severity(self, X: Any, *, context: Any = None) -> NDArray[np.float64]:
        """Return a number from 0 to 100 for each row, (n,): 0 is the usual row, 50 the strangest in 100 normal ones."""
        fit, rows = self._asked(X, context)
        return severity(_scores(fit, rows).mean(1), fit.calibration)

    @property
    def judge_(self) -> Judge:
        """From rows to scores: the models, and what they need."""
        return self._fit.judge

    @property
    def calibration_(self) -> Calibration:
        """Scores of the rows that were held out."""
        return self._fit.calibration

    @property
    def findings_(self) -> Findings:
        """What to know before relying on the detector."""
        return self._fit.findings

    @property
    def offset_(self) -> float:
        """`predict` flags rows whose `score_samples` is below it."""
        return self._fit.offset

    def scores(self, X: Any, *, context: Any = None) -> dict[str, NDArray[np.float64]]:
        """Return all named scores of each row, (n,) each, means over the members; higher is stranger.

        Those by distance are there where the detector was fitted with them, those by density where the posterior has
        one, and those by deviance where the likelihood has.
        """
        fit, rows = self._asked(X, context)
        judge = fit.judge
        known = scores.known(judge.ensemble.member(0), rows.groups[0][1].map(lambda array: array[:1]))
        names = tuple(name for name in known if name in judge.points or name not in scores.BY_DISTANCE)
        with self._device():
            each = judge.each(rows, names)
        return {name: each[name].mean(1) for name in names}

    def explain(self, X: Any, *, context: Any = None, by: str = "auto") -> Explanation:
        """Return what is to blame for the score of each row: parts of it that are at least 0.

        Parameters
        ----------
        X : rows
            As for `fit`.
        context : value, row, or like that of `fit`
            That of the rows, where the detector was fitted with one.
        by : "auto", "conditional", "mahalanobis" or "reconstruction"
            "mahalanobis" and "reconstruction": the score that is taken apart, to which the parts add up; see `scores`.
            "conditional", of tables: how surprising each cell is given the others of its row, in nats, see
            `omokage.detection.conditional`; this also finds a cell that does not go with another one. "auto":
            "conditional" for tables of up to 64 columns and models whose posterior has a density, else "mahalanobis".

        Returns
        -------
        Explanation
            Its `contributions` are in the shape of X, its `normal` is what the models would have expected in the row's
            place, in raw units, and `top(k)` names what contributes most.
        """
        if not isinstance(by, str) or by not in (*scores.CONTRIBUTIONS, "conditional", "auto"):
            known = ("auto", "conditional", *scores.CONTRIBUTIONS)
            raise ParameterError(
                f"by={by!r}: expected one of {', '.join(known)}, which say something of each entry."
                + suggest(str(by), known)
            )
        fit, rows = self._asked(X, context)
        judge, schema, features = fit.judge, fit.judge.schema, fit.judge.schema.features
        unlikely: Any
        with self._device():
            by, cells = _way(by, judge, rows), schema.cells_of_entries
            if by == "conditional" and cells is not None:
                found = conditional(judge.ensemble, rows.whole, *cells)
                parts, normal, unlikely = found.surprises, found.expected, found.nats
            else:
                parts = rows.each_padded(lambda batch, _: scores.contributions(judge.ensemble, batch, by))
                normal = rows.each_padded(lambda batch, _: scores.reconstructions(judge.ensemble, batch))
                unlikely = parts if by == "mahalanobis" else None
        totals = np.stack([schema.by_column(row) for row in parts])
        nats = None if unlikely is None else np.stack([schema.by_column(row) for row in unlikely])
        return Explanation(
            schema.by_entry(parts),
            schema.decode(normal),
            by,
            tuple(schema.names or map(schema.column, range(features))),
            totals / np.maximum(totals.sum(1, keepdims=True), np.finfo(float).tiny),
            schema.sentence(rows, normal, nats),
        )

    def summary(self) -> Summary:
        """Return the layers of one member, with output shapes and numbers of parameters; it prints as a table."""
        return summary(self.judge_.ensemble.member(0))

    def recalibrate(self, X: Any, *, context: Any = None) -> Self:
        """Calibrate anew on rows that are known to be normal, without training; return self.

        Worth doing where normal has changed a little, for a lower rate of false alarms than the rows of the fit allow,
        or to have p-values whose guarantee is exact after a "cross" fit. None of the rows may have been trained on.

        Parameters
        ----------
        X : rows
            As for `fit`. `offset_` is then that of `false_alarm_rate`, also where there is a `contamination`.
        context : value, row, or like that of `fit`
            That of the rows, where the detector was fitted with one.
        """
        fit, rows = self._asked(X, context)
        judge = fit.judge
        with self._device():
            scores, codes = judge.scores(rows).mean(1), judge.codes(rows)
            if judge.schema.has_steps:
                judge = dataclasses.replace(judge, steps=steps.held_out(judge.ensemble, rows, seed=0))
        renewed = calibration_finding(len(scores))
        self.fitted_ = dataclasses.replace(
            fit,
            judge=dataclasses.replace(judge, reference=codes),
            calibration=Calibration.of([scores]),
            findings=Findings(renewed if one.name == renewed.name else one for one in fit.findings),
        ).at_rate(self._rate())
        return self

    def drift(self, X: Any, *, context: Any = None) -> Drift:
        """Say whether rows are like those of the calibration; see `omokage.detection.drift.Drift`.

        Parameters
        ----------
        X : rows
            As for `fit`, 10 at least; nearly all of them normal, as new data are.
        context : value, row, or like that of `fit`
            That of the rows, where the detector was fitted with one.
        """
        fit, rows = self._asked(X, context)
        judge = fit.judge
        with self._device():
            scores, codes = judge.scores(rows), judge.codes(rows)
        return drift(scores, fit.calibration, codes, judge.reference)

    def save(self, folder: AnyPath) -> Path:
        """Write the fitted detector to a folder; one that holds an older model is replaced in one step.

        Raises
        ------
        FileFormatError
            If the folder holds files that omokage did not write.
        ParameterError
            If a parameter is an object that cannot be written down, such as a function.
        """
        fit = self._fit
        settings = {name: value for name, value in fit.settings.items() if name != "model"}
        described: dict[str, Any] = {
            "settings": saving.described_parameters(settings),
            "given": fit.settings["model"] is not None,
            "model": fit.member,
            "scores": list(fit.judge.names),
            "offset": fit.offset,
            "findings": [vars(finding) for finding in fit.findings],
            "members": len(fit.judge.ensemble),
            "groups": len(fit.calibration.groups),
            "threshold": "pooled",
        }
        groups = {f"calibration.{number}": group for number, group in enumerate(fit.calibration.groups)}
        detector = saving.Detector(described, {**fit.judge.to_arrays(), **groups})
        plain = {field.name: getattr(fit, field.name) for field in dataclasses.fields(Fitted)}
        return saving.save(folder, saving.Saved(**plain, detector=detector))

    def _mean_score(self, X: Any, y: Any = None, *, context: Any = None) -> float:
        return float(np.mean(self.score_samples(X, context=context)))

    def _asked(self, X: Any, context: Any = None) -> tuple[FittedDetector, Encoded]:
        """Return the fit, and rows that it can be asked about, with their context."""
        fit: Any = self._fit
        return fit, read_rows(fit, X, context)

    def _checked(self) -> DetectorSettings:
        fields = DetectorSettings.model_fields  # of a class of the user's, some may be no parameters of its constructor
        given, model = {name: self.__dict__[name] for name in fields}, self.model
        if not (model is None or isinstance(model, Mapping | Estimator)):
            raise ParameterError(f"model: expected a VAE, an AutoEncoder, settings as a dict, or None; got {model!r}.")
        early = (
            model.get("early_stopping", False)
            if isinstance(model, Mapping)
            else getattr(model, "early_stopping", False)
        )
        if early is not False:
            raise ParameterError(
                "model: early_stopping holds rows out, which a detector needs to calibrate on. Set epochs instead."
            )
        settings = check(DetectorSettings, given)
        if settings.calibration == "cross" and settings.ensemble == 1:
            raise ParameterError("calibration='cross': needs an ensemble of 2 or more, each of which leaves rows out.")
        return settings

    def _rate(self) -> float:
        """Return the rate of false alarms that the constructor, or `set_params`, was given."""
        return check(DetectorSettings, {"false_alarm_rate": self.false_alarm_rate}).false_alarm_rate

    def _device(self) -> Any:
        return on_device(self._fit.parameters["device"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.random_state is None
        return tags


def _way(by: str, judge: Judge, rows: Encoded) -> str:
    """Return how to find what is to blame for the scores of rows, with "auto" decided.

    Raises:
        ParameterError: If cells are to be judged given the others, but rows are not made of cells, z has no density, or
            entries depend on one another given z.
    """
    cells = judge.schema.cells_of_entries
    apart = not takes_holes(judge.ensemble.models.likelihood.family)  # entries, given z
    able = cells is not None and apart and has_density(judge.ensemble, rows.groups[0][1])
    if by == "auto":
        return "conditional" if able and judge.schema.features <= _CELLS else "mahalanobis"
    if by == "conditional" and not able:
        what = "a posterior with a density, and a point mass has none" if apart else "entries that z makes independent"
        what = what if cells is not None else "rows of a table"
        raise ParameterError(f"by='conditional': expected {what}. Take by='mahalanobis'.")
    return by


def _scores(fit: FittedDetector, rows: Encoded) -> NDArray[np.float64]:
    """Return the score of each row to each member, (n, M)."""
    with on_device(fit.parameters["device"]):
        return fit.judge.scores(rows)

"""What every parameter may be, declared once.

The estimators check their parameters against these models, the command line makes its flags from them, a configuration
file is read with them, and a saved model's `spec.json` holds their values. Only names and numbers stand here: a
parameter marked with `instance` also takes an object, which has settings of its own.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omokage.errors import ParameterError, shown, suggest

Settings = TypeVar("Settings", bound=BaseModel)

Instance: Any = {"instance": True}

Activation = Literal["relu", "leaky", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid", "identity"]
Initializer = Literal[
    "auto",
    "glorot_uniform",
    "glorot_normal",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
]
Likelihood = Literal[
    "auto",
    "gaussian",
    "bernoulli",
    "continuous_bernoulli",
    "laplace",
    "student_t",
    "log_normal",
    "poisson",
    "negative_binomial",
    "discretized_logistic",
    "autoregressive",
]
Score = Literal[
    "reconstruction",
    "mahalanobis",
    "normaliser",
    "divergence",
    "elbo",
    "likelihood",
    "reconstruction_probability",
    "neighbours",
    "latent_neighbours",
]
AtLeastOne = Annotated[int, Field(ge=1)]


class CommonSettings(BaseModel):
    """Parameters that every estimator has."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    latent_dim: Annotated[int, Field(ge=1, description="Latent dimensions, L.")] = 10
    hidden: Annotated[
        Literal["auto"] | tuple[AtLeastOne, ...],
        Field(
            description="Widths of the encoder's hidden layers (channels of convolutions, units of recurrent ones); "
            "the decoder mirrors them; none: linear, of mlp; auto: 512,256 for mlp, 128,64,64 for conv, 128 for gru, "
            "64,64,64,64 for tcn."
        ),
    ] = "auto"
    network: Annotated[
        Literal["auto", "mlp", "conv", "gru", "tcn"],
        Field(
            description="Kind of network: mlp for vectors and images, conv for images, gru and tcn (temporal "
            "convolutions) for sequences; auto: mlp for vectors, conv for images, gru for sequences.",
            json_schema_extra=Instance,
        ),
    ] = "auto"
    activation: Annotated[Activation, Field(description="Activation of hidden layers.", json_schema_extra=Instance)] = (
        "relu"
    )
    normalization: Annotated[
        Literal["batch", "layer"] | None, Field(description="Normalisation before each activation.")
    ] = None
    dropout: Annotated[float, Field(ge=0, lt=1, description="Share of hidden entries dropped in training.")] = 0.0
    initializer: Annotated[
        Initializer,
        Field(
            description="First weights; auto: uniform up to 1/sqrt(inputs) either way (lecun_uniform).",
            json_schema_extra=Instance,
        ),
    ] = "auto"
    epochs: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1)],
        Field(description="Passes over the rows; auto: 30, for small data more: 2,000 steps, at most 1,000 epochs."),
    ] = "auto"
    batch_size: Annotated[int, Field(ge=1, description="Rows in each step; at most all rows.")] = 100
    optimizer: Annotated[
        Literal["adam", "adamw", "nadam", "rmsprop", "sgd"],
        Field(description="Rule that turns gradients into steps.", json_schema_extra=Instance),
    ] = "adam"
    learning_rate: Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)],
        Field(
            description="Size of the steps, which the schedule changes during training; auto: 0.001. An optimizer that "
            "is an object has its own."
        ),
    ] = "auto"
    schedule: Annotated[
        Literal["auto", "constant", "cosine", "linear", "one-cycle"],
        Field(
            description="Course of the learning rate; auto: one-cycle, which rises to three times the rate and falls.",
            json_schema_extra=Instance,
        ),
    ] = "auto"
    gradient_clip: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Field(description="Largest global norm of the gradient; none: no limit."),
    ] = None
    weight_decay: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0, allow_inf_nan=False)],
        Field(description="Decoupled weight decay, only with adamw; auto: 0.0001."),
    ] = "auto"
    early_stopping: Annotated[
        bool | Annotated[int, Field(ge=1)],
        Field(
            description="Stop after so many epochs (true: 10) without a lower validation loss; keep the best weights."
        ),
    ] = False
    validation_fraction: Annotated[
        float, Field(gt=0, lt=1, description="Share of the rows that early stopping holds out.")
    ] = 0.1
    standardize: Annotated[
        Literal["auto", "scale", "center", "range"] | bool,
        Field(
            description="scale: columns to mean 0 and deviation 1; center: to mean 0; range: to mean 0, all divided by "
            "the width of their common range; false: as they are; auto: as they are for likelihoods that are not for "
            "all numbers, else center where columns fill [0, 1], range where they share another, as grey levels do, "
            "else scale."
        ),
    ] = "auto"
    data: Annotated[
        Literal["auto", "vectors", "table", "images", "sequences"],
        Field(
            description="Kind of data; auto: images for folders and arrays (n, height, width, channels), sequences for "
            "arrays (n, time, channels), table for data frames and files with text or holes, else vectors. Tables of "
            "sequences need the column that tells series apart.",
            json_schema_extra=Instance,
        ),
    ] = "auto"
    warm_start: Annotated[bool, Field(description="fit continues the training of a fitted model.")] = False
    device: Annotated[Literal["auto", "cpu", "gpu", "tpu"], Field(description="Where to compute.")] = "auto"
    random_state: Annotated[
        Annotated[int, Field(ge=0, lt=2**32)] | None, Field(description="Seed; none: another one each time.")
    ] = 0
    verbose: Annotated[int, Field(ge=0, le=2, description="0: silent, 1: progress.")] = 1


class AutoEncoderSettings(CommonSettings):
    """Parameters of `AutoEncoder`."""

    likelihood: Annotated[
        Likelihood,
        Field(
            description="p(x|z); auto: Bernoulli for 0/1 columns, Gaussian otherwise. Counts, amounts and levels are "
            "taken as they are.",
            json_schema_extra=Instance,
        ),
    ] = "auto"
    objective: Annotated[
        Literal["reconstruction", "denoising", "rae", "wae"],
        Field(description="The loss that training minimises.", json_schema_extra=Instance),
    ] = "reconstruction"


class DetectorSettings(BaseModel):
    """Parameters of `AnomalyDetector`, but its model."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    score: Annotated[
        Literal["auto"] | Score | tuple[Score, ...],
        Field(
            description="What makes a row strange; of several the mean surprise; auto: elbo, neighbours and "
            "latent_neighbours."
        ),
    ] = "auto"
    contamination: Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0, le=0.5)],
        Field(description="Share of the training rows that are anomalies; auto: none, or few."),
    ] = "auto"
    false_alarm_rate: Annotated[
        float, Field(gt=0, lt=1, description="Share of normal rows that predict may flag, where contamination is auto.")
    ] = 0.05
    ensemble: Annotated[int, Field(ge=1, description="Number of models in the ensemble.")] = 5
    calibration: Annotated[
        Literal["auto", "split", "cross"] | Annotated[float, Field(gt=0, lt=1)],
        Field(
            description="Rows that say what a score means: split: a fifth held out (or the share that is given); "
            "cross: each left out by one model; auto: cross below 10,000 rows."
        ),
    ] = "auto"
    random_state: Annotated[
        Annotated[int, Field(ge=0, lt=2**32)] | None, Field(description="Seed; none: another one each time.")
    ] = 0
    verbose: Annotated[int, Field(ge=0, le=2, description="0: silent, 1: progress.")] = 1


class VAESettings(CommonSettings):
    """Parameters of `VAE`."""

    likelihood: Annotated[
        Likelihood,
        Field(
            description="p(x|z); auto: Bernoulli where all columns are 0/1, else Gaussian with a learned scale: one "
            "for all columns where they fill [0, 1], else one for each. Counts, amounts and levels are taken as they "
            "are.",
            json_schema_extra=Instance,
        ),
    ] = "auto"
    prior: Annotated[
        Literal["normal", "full_normal", "mixture", "vamp", "flow", "two_layer"],
        Field(description="p(z).", json_schema_extra=Instance),
    ] = "normal"
    posterior: Annotated[
        Literal["diagonal", "full_normal", "flow", "point"],
        Field(description="q(z|x).", json_schema_extra=Instance),
    ] = "diagonal"
    objective: Annotated[
        Literal[
            "elbo",
            "iwae",
            "dreg",
            "stl",
            "miwae",
            "piwae",
            "ciwae",
            "wae",
            "infovae",
            "tcvae",
            "dipvae",
            "rae",
            "moment_matching",
            "reconstruction",
            "denoising",
        ],
        Field(description="The loss that training minimises.", json_schema_extra=Instance),
    ] = "elbo"


def check(kind: type[Settings], values: Mapping[str, Any], problems: Mapping[str, str] | None = None) -> Settings:
    """Return the settings with these values, where names and numbers are; objects are left to their own checks.

    Args:
        kind: `VAESettings`, `AutoEncoderSettings` or `DetectorSettings`.
        values: Parameter name to value.
        problems: What is wrong with parameters that were looked at elsewhere, by name; told with all else.

    Raises:
        ParameterError: Naming every parameter that is unknown or has a value that it cannot have.
    """
    problems = problems or {}
    plain = {name: _plain(value) for name, value in values.items()}
    named = {name: value for name, value in plain.items() if not _is_instance(kind, name, value)}
    lines = []
    try:
        found = kind(**{name: value for name, value in named.items() if name not in problems})
    except ValidationError as error:
        lines = _lines(kind, named, error)
    lines += [f"{name}: {text}{'' if text.endswith(('.', '?')) else '.'}" for name, text in problems.items()]
    if lines:
        raise ParameterError(*lines) if len(lines) == 1 else ParameterError("several parameters:", *lines)
    return found


def not_of_the_command_line(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with those settings of a configuration file that only Python has, by name."""
    remedies = {
        "verbose": "Leave it out, or take 0, which is --quiet.",
        "warm_start": "Leave it out; --checkpoint and --resume go on with a run.",
    }
    return {
        name: f"no setting of the command line; got {values[name]!r}. {remedy}"
        for name, remedy in remedies.items()
        if name in values and not (name == "verbose" and values[name] == 0)
    }


def upgraded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a file as they are written now: 0.1 wrote a weight decay that "adam" has not."""
    unused = parameters.get("optimizer") != "adamw" and parameters.get("weight_decay") == 1e-4
    return {**parameters, **({"weight_decay": "auto"} if unused else {})}


def from_text(name: str, text: str) -> Any:
    """Return the value that a text on the command line means, for `check` to judge.

    Example:
        >>> from_text("hidden", "64,32"), from_text("epochs", "auto"), from_text("score", "elbo,neighbours")
        ((64, 32), 'auto', ('elbo', 'neighbours'))
    """
    if (name == "hidden" and text != "auto") or (name == "score" and "," in text):
        return tuple(_scalar(part) for part in text.replace(",", " ").split() if part != "none")
    return _scalar(text)


def hint(name: str) -> str:
    """Return what the help of the command line says of a parameter."""
    kinds = [kind for kind in (VAESettings, AutoEncoderSettings, DetectorSettings) if name in kind.model_fields]
    field = kinds[0].model_fields[name]
    choices = list(dict.fromkeys(choice for kind in kinds for choice in _names(kind, name)))
    default = {None: "none"}.get(field.default, field.default)
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    listed = f" [{'|'.join(choices)}]" if choices else ""
    return f"{field.description}{listed} Default: {default}."


def takes_instance(kind: type[BaseModel], name: str) -> bool:
    """Say whether a parameter also takes an object."""
    field = kind.model_fields.get(name)
    return bool(field and isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("instance"))


def _is_instance(kind: type[BaseModel], name: str, value: Any) -> bool:
    # Not `isinstance` of tuple: an Optax transformation is one.
    simple = value is None or isinstance(value, str | bool | int | float) or type(value) in (list, tuple)
    return takes_instance(kind, name) and not simple


def _plain(value: Any) -> Any:
    """Return Python's own numbers and tuples for NumPy's and for lists."""
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim):
        return tuple(map(_number, value))
    return _number(value)


def _number(value: Any) -> Any:
    """Return Python's own number or text for one of NumPy's; a time is none, and what is masked is but a word."""
    if not (isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)):
        return value
    if np.ma.is_masked(value):
        return "masked"
    return value.item() if value.dtype.kind in "biufUS" else value


def _lines(kind: type[BaseModel], values: Mapping[str, Any], error: ValidationError) -> list[str]:
    """Return what is wrong, a line for each parameter."""
    problems: dict[str, list[str]] = {}
    for detail in error.errors():
        name = str(detail["loc"][0])
        if detail["type"] == "extra_forbidden":
            problems[name] = [f"no such parameter.{suggest(name, kind.model_fields)}"]
            continue
        text = detail["msg"].removeprefix("Input should be ").removeprefix("a valid ")
        for start, clear in _CLEARER.items():
            text = text.replace(start, clear) if text.startswith(start) else text
        problems.setdefault(name, []).append(text)
    lines = []
    for name, texts in problems.items():
        if texts[0].startswith("no such parameter"):
            lines.append(f"{name}: {texts[0]}")
            continue
        value = values[name]
        hint = suggest(value, _names(kind, name)) if isinstance(value, str) else ""
        or_instance = " or an object" if takes_instance(kind, name) else ""
        lines.append(f"{name}: expected {' or '.join(dict.fromkeys(texts))}{or_instance}; got {shown(value)}.{hint}")
    return lines


def _scalar(text: str) -> Any:
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


_CLEARER = {
    "greater": "a number greater", "less": "a number less", "integer": "a whole number", "boolean": "True or False",
    "number": "a number", "tuple": "a sequence",
}  # fmt: skip


def _names(kind: type[BaseModel], parameter: str) -> list[str]:
    """Return the names that a parameter can have."""

    def enumerated(schema: Any) -> list[str]:
        if isinstance(schema, dict):
            own = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
            return [value for value in own if isinstance(value, str)] + [
                name for part in schema.get("anyOf", ()) for name in enumerated(part)
            ]
        return []

    return enumerated(kind.model_json_schema()["properties"][parameter])

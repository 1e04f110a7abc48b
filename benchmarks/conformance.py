"""Do autoencoder libraries compute what they say? The same closed-form checks on omokage, pythae and PyOD.

Each check asks for a number whose right value is known, mostly from a linear-Gaussian model, where every density is
in closed form (`conformance_problems.py`). What is right, and how near is near enough, stands here alone; how each
library was asked stands in `conformance_omokage.py`, `conformance_pythae.py` and `conformance_pyod.py`. Libraries
that are not installed are left out and named. Takes about three minutes.
"""

import contextlib
import importlib
import importlib.util
import inspect
import io
import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

import measure
from conformance_problems import TRUTH, Numbers

LOG_P = float(TRUTH.log_densities().mean())
ELBO = float(TRUTH.bounds().mean())
KL = float(TRUTH.divergences().mean())
CONTENDERS = {"omokage": "omokage", "pythae": "pythae", "PyOD": "pyod"}  # in the table: the package

INTRODUCTION = """\
Do libraries for autoencoders compute what they say? We asked each library for numbers whose right values are known. The
table shows what it gave. Most questions are about a *linear-Gaussian model*: z ~ N(0, I), x | z ~ N(W z + b, I). Its
log p(x), its posterior, its bounds and their gradients have closed forms. Every library gets the same W and b, the same
200 rows of 6 columns, and the same encoder. The encoder is a little wrong on purpose: with an exact encoder, every
bound would be tight, and a mistake in a bound would not show.

To run it: `make bench`, or `python benchmarks/conformance.py --out docs/conformance.md` in an environment with the
packages of `benchmarks/requirements-peers.txt`. `benchmarks/conformance.py` says what is right, and how near an answer
must be. The files beside it put the questions in the words of each library.

*pass* or *fail* stands before the answer of a library. *not offered* means that it has no public call for the question.
The calls are listed below the table, question by question. Unless the text says otherwise, all figures are in nats and
are means over the rows. We chose questions where mistakes are easily made, or where we found mistakes when reading. So
the counts in the last row say nothing about how much of a library is right."""


@dataclass(frozen=True)
class Check:
    """A question: the name of the function that puts it, its title, what is right, and notes.

    Attributes:
        name: Of the function in the contenders' modules.
        title: In the table.
        right: The right answer, in words or figures.
        passes: Whether an answer is near enough.
        digits: As in `format`, for the figures of the table.
        note: What is asked, why it matters, and what one should know before one judges.
    """

    name: str
    title: str
    right: str
    passes: Callable[[Numbers], bool]
    digits: str
    note: str


def near(right: float, tolerance: float) -> Callable[[Numbers], bool]:
    """Return a judge that wants each number within `tolerance` of `right`."""
    return lambda numbers: all(abs(value - right) <= tolerance for value in numbers.values())


def rises(numbers: Numbers) -> bool:
    """Whether a bound starts at the ELBO, never falls by more than its error, and ends at log p(x), not above."""
    values = list(numbers.values())
    steps = all(high > low - 0.03 for low, high in itertools.pairwise(values))
    return abs(values[0] - ELBO) < 0.1 and steps and abs(values[-1] - LOG_P) < 0.03


CHECKS = [
    Check(
        "size",
        "log p(x) from 5,000 draws, sign ignored",
        f"{-LOG_P:.3f} ± 0.02",
        near(-LOG_P, 0.02),
        ".3f",
        "This is the importance-weighted log-likelihood. A difference would mean wrong constants, units or averages.",
    ),
    Check(
        "sign",
        "log p(x) from 5,000 draws, with its sign",
        f"{LOG_P:.3f} ± 0.02",
        near(LOG_P, 0.02),
        "+.3f",
        "A call named negative log-likelihood must return a number that is small for a good model.",
    ),
    Check(
        "draws",
        "number of draws used when 1, 7 and 250 are asked for",
        "1, 7, 250, each ± 15 %",
        lambda numbers: all(abs(used / int(asked) - 1) < 0.15 for asked, used in numbers.items()),
        ".0f",
        "The bound depends on the number of draws, so figures can be compared only if this number is kept. We measure "
        "it from outside: the mean of n weights has a variance n times smaller than that of one weight, which is known "
        "in closed form. (pythae fills batches of `batch_size=100` draws, whatever number was asked for. With "
        "`batch_size=K`, as in the next question, one draw does give the ELBO.)",
    ),
    Check(
        "rising",
        "the bound with K = 1, 8, 64, 512 draws",
        f"from {ELBO:.2f} (the ELBO) up to {LOG_P:.2f} (log p)",
        rises,
        ".2f",
        "In expectation, one draw gives the ELBO. More draws give more, but never more than log p(x).",
    ),
    Check(
        "elbo",
        "the ELBO that training maximises",
        f"{ELBO:.3f} ± 0.03",
        near(ELBO, 0.03),
        ".3f",
        "This is the training loss, converted to nats of a Gaussian of unit scale. PyOD averages the squared error "
        "over features, and by default limits the KL (see the next two questions). If PyOD is told to weigh both as "
        "the ELBO does, and not to limit the KL, it is right.",
    ),
    Check(
        "kl_counts",
        "KL in the default loss: difference between two encoders whose KL is 0 and 12.5 nats",
        "12.5 ± 0.01",
        near(12.5, 0.01),
        ".2f",
        "The decoder ignores z, so both encoders give the same reconstructions, and the losses differ by the KL alone. "
        "PyOD's documentation gives the loss as reconstruction plus `beta` times KL. Its default `capacity=0.0` is "
        "used as an upper limit of the KL, so nothing of the KL is left. By default, PyOD trains an autoencoder with "
        "noise.",
    ),
    Check(
        "kl_slope",
        "slope of the loss in the encoder's mean μ, divided by μ",
        "1 ± 0.001",
        near(1.0, 1e-3),
        ".3f",
        "The model is the same as in the question before. The slope of ½‖μ‖² is μ. Without it, nothing pulls the codes "
        "to the prior.",
    ),
    Check(
        "kl_by_draws",
        "KL estimated from draws",
        f"{KL:.3f} ± 0.02",
        near(KL, 0.02),
        ".3f",
        "If a library estimates the KL from draws, by log q(z|x) - log p(z), it must agree with the closed form.",
    ),
    Check(
        "iwae_value",
        "IWAE's loss, 50 draws",
        f"from {-LOG_P:.3f} (-log p) to {-ELBO:.3f} (-ELBO), ± 0.03",
        lambda numbers: all(-LOG_P - 0.03 <= value <= -ELBO + 0.03 for value in numbers.values()),
        ".3f",
        "The loss is minus a lower bound of log p(x), so it cannot be below -log p(x). pythae reports Σ w̃ log w, "
        "where w are the importance weights and w̃ are the weights divided by their sum. It has the right gradient "
        "(next question), but it is above log p(x). So the number cannot be read as a bound.",
    ),
    Check(
        "iwae_gradient",
        "IWAE's gradient, 2,000 draws: distance to the gradient of -log p(x)",
        "0 ± 0.05",
        near(0.0, 0.05),
        ".3f",
        "This is the gradient with respect to the decoder's W and b. The distance is a share of the length of the "
        "exact gradient.",
    ),
    Check(
        "miwae",
        "MIWAE's gradient, M × K draws: distance to the exact gradients",
        "0 ± 0.05",
        near(0.0, 0.05),
        ".2f",
        "MIWAE is the mean of M bounds of K draws each. So 1 × 2,000 is IWAE, whose gradient is near that of -log "
        "p(x). And 2,000 × 1 is the ELBO, whose gradient is known in closed form. In pythae, the weights sum to one "
        "over the M groups instead of over the K draws in each group, so the two cases change places.",
    ),
    Check(
        "piwae",
        "PIWAE's gradients, M × K draws: distance to the exact gradients",
        "0 ± 0.05",
        near(0.0, 0.05),
        ".2f",
        "PIWAE trains the decoder by IWAE with M·K draws, and the encoder by MIWAE. The encoder's gradient is that of "
        "the ELBO for 2,000 × 1, and vanishes for 1 × 2,000. The distances of the encoder's gradients are shares of "
        "the length of the ELBO's gradient.",
    ),
    Check(
        "ciwae",
        "CIWAE's gradient at β = 0 and 1: distance to the exact gradients",
        "0 ± 0.05",
        near(0.0, 0.05),
        ".3f",
        "CIWAE is (1 - β) IWAE + β ELBO, here with 2,000 draws.",
    ),
    Check(
        "embed_twice",
        "embedding and reconstructing twice: largest difference",
        "0",
        near(0.0, 0.0),
        ".2g",
        "The same model gets the same rows in two calls, one after the other. We took the calls whose names say embed "
        "and reconstruct. Those of pythae draw z each time, also in evaluation mode. Its `predict` does not (next "
        "question).",
    ),
    Check(
        "posterior_means",
        "posterior means: error, and change when the rows come in another order",
        "0 ± 0.00001",
        near(0.0, 1e-5),
        ".1g",
        "We took the call that gives the means of q(z|x), and compared the means with A x + a.",
    ),
    Check(
        "rows_kept",
        "number of rows in the embedding of 5 rows",
        "5",
        near(5, 0),
        ".0f",
        "pythae's `embed` is the forward pass of training. That of FactorVAE splits the batch in two.",
    ),
    Check(
        "score_twice",
        "anomaly scores, twice: largest difference, in standard deviations; how many of the 20 highest are in both",
        "0 and 20",
        lambda numbers: list(numbers.values()) == [0, 20],
        ".2g",
        "Each library's model has its default settings, except for two latent dimensions. It is trained on the rows "
        "and scores them twice. The difference is in standard deviations of the scores.",
    ),
    Check(
        "output_range",
        "reconstructions of standardised data: least and greatest value",
        "below 0 and above 1",
        lambda numbers: numbers["least"] < 0 and numbers["greatest"] > 1,
        ".2f",
        "The data are two correlated columns of mean 0 and standard deviation 1. Each library uses its default "
        "network. Only one thing counts: whether values outside [0, 1] are possible. How good the reconstructions are "
        "does not count, because training was short. pythae's default decoder ends in a sigmoid, but you can give it a "
        "decoder of your own.",
    ),
    Check(
        "global_generator",
        "change of NumPy's global random numbers by building and training a model",
        "0",
        near(0.0, 0.0),
        ".2f",
        "This is how far the next number of the caller's own `np.random.random()` is from what it would have been. A "
        "library that sets the global seed makes other parts of a program repeat themselves. (pythae sets it where "
        "training begins, PyOD where the detector is built.)",
    ),
    Check(
        "generator_step",
        "VAEGAN: change of the sum of b in one step, where the discriminator takes a large sum for real",
        "+0.0030 ± 0.0005",
        near(0.003, 5e-4),
        "+.4f",
        "D(x) = σ(0.2 Σ (x - b)) is ½ on average for what the decoder makes. So a step of SGD at 0.01, with the "
        "default `adversarial_loss_scale` of ½, moves the sum of b by 0.01 · ½ · ½ · 0.2 · 6 towards what D takes for "
        "real. In pythae, the gradient of each loss is added to the gradients of the losses before it. The "
        "discriminator's own loss comes last, and arrives in the decoder with the opposite sign. If the trainer leaves "
        "the discriminator out of a step, the sign is right.",
    ),
]


def load(package: str) -> ModuleType | None:
    """Return a contender's module, or None where its package is not installed."""
    if importlib.util.find_spec(package) is None:
        return None
    return importlib.import_module(f"conformance_{package}")


def ask(module: ModuleType, checks: Iterable[Check]) -> dict[str, Numbers]:
    """Return what a contender answers to those of the questions that it has a call for, by their names."""
    found = {}
    logging.disable(logging.CRITICAL)
    try:
        for name in (check.name for check in checks if check.name in module.ANSWERS):
            measure.progress(f"{module.__name__}: {name}")
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                found[name] = module.ANSWERS[name]()
    finally:
        logging.disable(logging.NOTSET)
    return found


def shown(check: Check, numbers: Numbers) -> str:
    """The figures of an answer with their labels."""
    return "; ".join(f"{label}: {value:{check.digits}}".removeprefix(": ") for label, value in numbers.items())


def cell(check: Check, answers: dict[str, Numbers] | None) -> str:
    """What a contender got, in the table."""
    if answers is None:
        return "not installed"
    if check.name not in answers:
        return "not offered"
    numbers = answers[check.name]
    return f"{'pass' if check.passes(numbers) else '**fail**'}: {shown(check, numbers)}"


def notes(check: Check, modules: dict[str, ModuleType | None], results: dict[str, dict[str, Numbers] | None]) -> str:
    """The paragraph about a check: what is asked, what is right, and which calls were made."""
    lines = [f"### {check.title[0].upper()}{check.title[1:]}", "", check.note, "", f"* Right value: {check.right}."]
    for contender, module in modules.items():
        if module is not None and check.name in (results[contender] or {}):
            call = " ".join((inspect.getdoc(module.ANSWERS[check.name]) or "").split())
            lines.append(f"* {contender}: {call}")
    return "\n".join(lines)


def summary(results: dict[str, dict[str, Numbers] | None]) -> list[str]:
    """The last row of the table: how many of the questions that a contender has a call for it answers rightly."""
    row = []
    for answers in results.values():
        asked = [check for check in CHECKS if check.name in (answers or {})]
        right = sum(check.passes((answers or {})[check.name]) for check in asked)
        row.append(f"{right} of {len(asked)}" if answers is not None else "not installed")
    return row


def report(checks: list[Check]) -> str:
    """Put the questions to all contenders and return the page about it, in Markdown."""
    modules = {contender: load(package) for contender, package in CONTENDERS.items()}
    results = {contender: None if module is None else ask(module, checks) for contender, module in modules.items()}
    rows = [[check.title, check.right, *(cell(check, answers) for answers in results.values())] for check in checks]
    rows.append(["right answers, of the questions with a public call", "", *summary(results)])
    return "\n\n".join(
        [
            "# Right numbers",
            INTRODUCTION,
            measure.machine_line(["omokage", "jax", "numpyro", "torch", "pythae", "pyod"]),
            measure.table(["question", "right value", *CONTENDERS], rows),
            "## The questions one by one",
            *(notes(check, modules, results) for check in checks),
        ]
    )


def main() -> None:
    """Print the page, and write it where wished."""
    parser = measure.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=[check.name for check in CHECKS], help="put these questions only")
    chosen = parser.parse_args()
    text = report([check for check in CHECKS if chosen.only is None or check.name in chosen.only]) + "\n"
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

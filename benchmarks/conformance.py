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
Do libraries for autoencoders compute what they say? Here each is asked for numbers whose right values are known, and
the table shows what it gave. Most questions are put to a *linear-Gaussian model*: z ~ N(0, I), x | z ~ N(W z + b, I).
Its log p(x), its posterior, its bounds and their gradients have closed forms. Every library gets the same W and b, the
same 200 rows of 6 columns, and the same encoder, which is a little wrong on purpose: with an exact one every bound
would be tight, and a mistake in it would not show.

To run it: `make bench`, or `python benchmarks/conformance.py --out docs/conformance.md` where the packages of
`benchmarks/requirements-peers.txt` are installed. What is right, and how near is near enough, is in
`benchmarks/conformance.py`; the questions in words of each library are in the files beside it.

*pass* or *fail* stands before what a library gave, *not offered* where it has no public call for the question. Which
calls were made is under the table, question by question. All figures are in nats, means over the rows, unless said. The
questions are ours, taken from where mistakes are easily made or were found in reading; so the counts in the last row
say nothing about how much of a library is right."""


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
        "log p(x) by 5,000 draws, without its sign",
        f"{-LOG_P:.3f} ± 0.02",
        near(-LOG_P, 0.02),
        ".3f",
        "The importance-weighted log-likelihood; a difference would mean wrong constants, units or averages.",
    ),
    Check(
        "sign",
        "the same, with its sign",
        f"{LOG_P:.3f} ± 0.02",
        near(LOG_P, 0.02),
        "+.3f",
        "A call named negative log-likelihood has to return a number that is small for a good model.",
    ),
    Check(
        "draws",
        "draws used where 1, 7 and 250 are asked for",
        "1, 7, 250, each ± 15 %",
        lambda numbers: all(abs(used / int(asked) - 1) < 0.15 for asked, used in numbers.items()),
        ".0f",
        "The bound depends on the number of draws, so figures can be compared only where it is kept. It is seen from "
        "outside: the mean of n weights varies n times less than one weight, whose variance is known in closed form. "
        "(pythae fills batches of `batch_size=100` draws whatever was asked. With `batch_size=K`, as in the next "
        "question, one draw does give the ELBO.)",
    ),
    Check(
        "rising",
        "the bound with K = 1, 8, 64, 512 draws",
        f"from {ELBO:.2f} (the ELBO) up to {LOG_P:.2f} (log p)",
        rises,
        ".2f",
        "In expectation one draw gives the ELBO, and more draws give more, but never more than log p(x).",
    ),
    Check(
        "elbo",
        "the ELBO that is trained",
        f"{ELBO:.3f} ± 0.03",
        near(ELBO, 0.03),
        ".3f",
        "The training loss, turned into nats of a Gaussian of unit scale. PyOD averages the squared error over "
        "features, and by default limits the KL (see the next two questions); told to weigh both as the ELBO does, and "
        "not to limit, it is right.",
    ),
    Check(
        "kl_counts",
        "KL in the loss as it comes: two encoders, 0 and 12.5 nats",
        "12.5 ± 0.01",
        near(12.5, 0.01),
        ".2f",
        "The decoder ignores z, so both encoders reconstruct alike, and the losses differ by the KL alone. PyOD's "
        "documentation gives the loss as reconstruction plus `beta` times KL; its default `capacity=0.0` is used as "
        "an upper limit of the KL, so nothing of it is left. What is trained by default is an autoencoder with noise.",
    ),
    Check(
        "kl_slope",
        "slope of the loss by the encoder's mean μ, divided by μ",
        "1 ± 0.001",
        near(1.0, 1e-3),
        ".3f",
        "The same model: the slope of ½‖μ‖² is μ. Without it nothing draws codes to the prior.",
    ),
    Check(
        "kl_by_draws",
        "KL by draws",
        f"{KL:.3f} ± 0.02",
        near(KL, 0.02),
        ".3f",
        "Where the KL is estimated by log q(z|x) - log p(z) at draws, it has to agree with its closed form.",
    ),
    Check(
        "iwae_value",
        "IWAE's loss, 50 draws",
        f"from {-LOG_P:.3f} (-log p) to {-ELBO:.3f} (-ELBO), ± 0.03",
        lambda numbers: all(-LOG_P - 0.03 <= value <= -ELBO + 0.03 for value in numbers.values()),
        ".3f",
        "The loss is minus a lower bound of log p(x), so it cannot be below -log p(x). pythae reports Σ w̃ log w, "
        "which has the right gradient (next question), but is above log p(x): the number cannot be read as a bound.",
    ),
    Check(
        "iwae_gradient",
        "IWAE's gradient, 2,000 draws: distance to that of -log p(x)",
        "0 ± 0.05",
        near(0.0, 0.05),
        ".3f",
        "By the decoder's W and b; the distance as a share of the exact gradient's length.",
    ),
    Check(
        "miwae",
        "MIWAE's gradient, M × K draws: distance to the exact ones",
        "0 ± 0.05",
        near(0.0, 0.05),
        ".2f",
        "MIWAE is the mean of M bounds of K draws each. So 1 × 2,000 is IWAE, whose gradient is near that of "
        "-log p(x), and 2,000 × 1 is the ELBO, whose gradient is in closed form. In pythae weights sum to one over the "
        "M groups instead of over the K draws in each, so the two change places.",
    ),
    Check(
        "piwae",
        "PIWAE's gradients, M × K draws: distance to the exact ones",
        "0 ± 0.05",
        near(0.0, 0.05),
        ".2f",
        "PIWAE trains the decoder by IWAE with M·K draws, and the encoder by MIWAE. The encoder's gradient is that of "
        "the ELBO for 2,000 × 1, and vanishes for 1 × 2,000; distances are shares of the length of the ELBO's "
        "gradient.",
    ),
    Check(
        "ciwae",
        "CIWAE's gradient at β = 0 and 1: distance to the exact ones",
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
        "The same rows, the same model, one call after the other. The calls whose names say embed and reconstruct were "
        "taken; pythae's draw z each time, also in evaluation mode. Its `predict` does not (next question).",
    ),
    Check(
        "posterior_means",
        "posterior means: error, and change by the order of rows",
        "0 ± 0.00001",
        near(0.0, 1e-5),
        ".1g",
        "The call that gives the means of q(z|x), compared with A x + a.",
    ),
    Check(
        "rows_kept",
        "rows in the embedding of 5 rows",
        "5",
        near(5, 0),
        ".0f",
        "pythae's `embed` is the training's forward pass, and FactorVAE's splits the batch in two.",
    ),
    Check(
        "score_twice",
        "anomaly score twice: largest difference in deviations; of the 20 highest, in both",
        "0 and 20",
        lambda numbers: list(numbers.values()) == [0, 20],
        ".2g",
        "After training on the rows, each library's model as it comes but for two latent dimensions.",
    ),
    Check(
        "output_range",
        "reconstructions of standardised data: least and greatest",
        "below 0 and above 1",
        lambda numbers: numbers["least"] < 0 and numbers["greatest"] > 1,
        ".2f",
        "Two correlated columns of mean 0 and deviation 1, each library's default network. Only whether values outside "
        "[0, 1] are possible counts, not how good they are: training was short. pythae's default decoder ends in a "
        "sigmoid; a decoder of one's own can be given.",
    ),
    Check(
        "global_generator",
        "change of NumPy's global random numbers by building and training",
        "0",
        near(0.0, 0.0),
        ".2f",
        "How far the next number of the caller's own `np.random.random()` is from what it would have been. Libraries "
        "that set the global seed make other parts of a program repeat themselves. (pythae sets it where training "
        "begins, PyOD where the detector is built.)",
    ),
    Check(
        "generator_step",
        "VAEGAN: a step's change of the sum of b, which the discriminator likes large",
        "+0.0030 ± 0.0005",
        near(0.003, 5e-4),
        "+.4f",
        "D(x) = σ(0.2 Σ (x - b)) is ½ on average for what the decoder makes, so a step of SGD at 0.01 with the default "
        "`adversarial_loss_scale` of ½ moves the sum of b by 0.01 · ½ · ½ · 0.2 · 6 towards what D takes for real. In "
        "pythae each loss's gradient is added to those of the losses before it, and the discriminator's own loss "
        "arrives last in the decoder with the opposite sign. Where the trainer leaves the discriminator out of a step, "
        "the sign is right.",
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
    lines = [f"### {check.title[0].upper()}{check.title[1:]}", "", check.note, "", f"* Right: {check.right}."]
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
    rows.append(["right, of those offered", "", *summary(results)])
    return "\n\n".join(
        [
            "# Right numbers",
            INTRODUCTION,
            measure.machine_line(["omokage", "jax", "numpyro", "torch", "pythae", "pyod"]),
            measure.table(["question", "right", *CONTENDERS], rows),
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

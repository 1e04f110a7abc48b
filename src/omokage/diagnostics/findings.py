"""What a diagnosis says: one sentence or a few, a verdict, and the numbers that it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from omokage.tables import html_table

Verdict = Literal["good", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes:
        name: The question, in a word or two; the same for the same question.
        verdict: "good": nothing to do; "warning": know this before relying on it; "problem": the model does not do
            what it is for.
        text: The answer, its cause where that is known, and what to do.
        figures: The numbers behind it, by name.

    Example:
        >>> print(Finding("collapse", "good", "The outputs differ."))
        good     collapse: The outputs differ.
    """

    name: str
    verdict: Verdict
    text: str
    figures: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return plain(f"{self.verdict:8} {self.name}: {self.text}")

    def _repr_html_(self) -> str:
        return html_of([self], "Finding")


class Findings(list[Finding]):
    """Several answers; they print a line each, and a notebook shows a table.

    Example:
        >>> print(Findings([Finding("collapse", "good", "The outputs differ.")]))
        good     collapse: The outputs differ.
    """

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def _repr_html_(self) -> str:
        return html_of(self, f"{len(self)} findings")


def html_of(findings: Sequence[Finding], heading: str) -> str:
    """Return findings as a table for a notebook."""
    rows = [(finding.name, finding.verdict, finding.text) for finding in findings]
    return html_table(heading, ["question", "verdict", "answer"], rows)


def plain(text: str) -> str:
    """Return a text with letters that any terminal can show; names of columns stay as they are.

    Example:
        >>> plain("β = 1, within ±σ")
        'beta = 1, within +/-sigma'
    """
    return text.translate(_PLAIN)


_PLAIN = str.maketrans({"β": "beta", "σ": "sigma", "μ": "mu", "×": "x", "±": "+/-", "−": "-", "–": "-", "‖": "||"})


def worst(findings: Sequence[Finding]) -> Verdict:
    """Return the gravest verdict; "good" where there is none."""
    order: tuple[Verdict, ...] = get_args(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default="good")


def span(lower: float, upper: float) -> str:
    """Return an interval in words.

    Example:
        >>> span(0.12, 0.5), span(0.501, 0.504)
        ('0.12 to 0.50', '0.50')
    """
    low, high = f"{lower:z.2f}", f"{upper:z.2f}"
    return low if low == high else f"{low} to {high}"

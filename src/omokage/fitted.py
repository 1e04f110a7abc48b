"""What a fit makes: one value, which is asked, saved, exported and served, and is put in place at once."""

from dataclasses import dataclass, field
from typing import Any

from omokage.build import Recipe
from omokage.data.context import ContextSchema
from omokage.data.kinds import Schema
from omokage.ensemble import Ensemble
from omokage.files.options import Options
from omokage.model import Model
from omokage.supports import Support


def short(kind: str) -> str:
    """Return the name of a class without that of its module."""
    return kind.rpartition(".")[2]


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """A fitted model, or of a detector an ensemble of them.

    Attributes:
        kind: The name of the estimator's class; of one's own with its module.
        parameters: Those of the fit, of each model.
        recipe: What the model is made of, with every "auto" decided.
        schema: What was learned of the rows.
        model: The parts, or several models as one.
        history: One record an epoch.
        context: What was learned of the context, if there was one.
        reading: How files were read: "options" as `omokage.files.options.Options.to_json` has them, and "ids".
    """

    kind: str
    parameters: dict[str, Any]
    recipe: Recipe
    schema: Schema
    model: Any
    history: list[dict[str, Any]]
    context: ContextSchema | None = None
    reading: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> Options:
        """How files are read, as at the fit."""
        return Options.from_json(self.reading.get("options", {}))

    @property
    def ids(self) -> tuple[str, ...]:
        """Columns of files that are no input."""
        return tuple(self.reading.get("ids", ()))

    @property
    def name(self) -> str:
        """What messages call the estimator."""
        return short(self.kind)

    @property
    def accepts(self) -> Support:
        """Values that rows may hold."""
        return self.recipe.support

    @property
    def one(self) -> Model:
        """The model, or the first of several."""
        model: Model = self.model.member(0) if isinstance(self.model, Ensemble) else self.model
        return model

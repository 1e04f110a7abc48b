"""What a fit makes: one value, which is asked, saved, exported and served, and is put in place at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from omokage.build import Recipe, blank_rows
from omokage.codec import Codec
from omokage.data.context import ContextSchema
from omokage.data.kinds import Schema
from omokage.ensemble import Ensemble
from omokage.files.options import Options
from omokage.model import Model
from omokage.questions import Question, answered
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

    @property
    def model_of_raw_rows(self) -> Any:
        """The model, or the models as one, of rows and of their context in the units of X.

        Location and scale are then within the program, in float32: of a column whose values are large and hardly vary,
        digits are lost. `Schema.rows` works with float64. (A kind of data of one's own may do more than standardise.
        Then rows are what its schema standardises.)
        """
        columns, shape = self.schema.columns, self.schema.event.shape
        context = None if self.context is None else Codec(*self.context.scaling)
        outer = Codec(columns.location.reshape(shape), columns.scale.reshape(shape), context)

        def raw(model: Model) -> Model:
            return replace(model, codec=outer if model.codec is None else model.codec.after(outer))

        if isinstance(self.model, Ensemble):
            return Ensemble.of([raw(self.model.member(number)) for number in range(len(self.model))])
        return raw(self.model)

    @cached_property  # since all are traced to tell
    def questions(self) -> Mapping[str, Question]:
        """What the model, or each of several, can be asked, by name."""
        columns = 0 if self.context is None else self.context.size
        return answered(self.one, blank_rows(self.schema, 1, columns)._replace(weight=None))

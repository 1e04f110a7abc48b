"""`omokage evaluate`: how good scores are on labelled rows."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from omokage.commands.arguments import AS_USUAL, NONE, Data, Folder, Own, Reading
from omokage.errors import DataError, ParameterError, listing
from omokage.paths import location


def evaluate(
    model: Folder,
    data: Data,
    *,
    label_column: Annotated[str, Parameter(help="Column that is 1 for anomalies and 0 for normal rows.")],
    out: Annotated[Path | None, Parameter(help="Page to write, .html: figures, pictures, the rows to look at.")] = None,
    reading: Reading = AS_USUAL,
    own: Own = NONE,
) -> None:
    """Show how good scores are on labelled rows: AUROC, average precision, rates of detection and of false alarms.

    Of series the labels are those of steps, and events are counted too.
    """
    from omokage.estimators import evaluate_detector

    if out is not None:
        location(out, "--out")
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ParameterError(f"--out: {out} cannot be written; end it in .html.")
    estimator = own.load(model)
    rows, labels, ids, context = _labelled(reading.source(data, estimator), label_column, estimator)
    print(found := evaluate_detector(estimator, rows, labels, context=context))
    if out is not None:
        from omokage.report import evaluation_page

        evaluation_page(out, estimator, rows, labels, found, context=context, data=data, ids=ids)
        print(f"{out}: written", file=sys.stderr)


def _labelled(source: Any, label: str, estimator: Any) -> tuple[Any, Any, Any, Any]:
    """Return the rows of a table as a model knows them, their labels, their ids, and their context.

    Labels are (n,); of sequences (T,) for each series, or for the only one. There are as many ids as labels, or none.
    """
    from omokage.commands.context import told_of_given
    from omokage.commands.sources import named, open_rows

    schema = estimator.schema_
    source = replace(source, ids=tuple(name for name in source.ids if name != label or name in source.context))
    file = open_rows(source, schema.key_columns, passed=True)  # labels are numbers, also where they were an id
    if label not in (known := getattr(file, "names", None) or ()):
        raise DataError(
            f"--label-column: no column {label!r} in {source.data}; it has {listing(known, 20) or 'no names'}."
        )
    uses = {
        "is one of the columns that the model is told, --context": source.context,
        "tells series or their steps apart": (*schema.key_columns, *getattr(schema.kind, "keys", ())),
        "is one of the columns that the model judges": schema.names or (),
    }
    if use := next((use for use, names in uses.items() if label in names), None):
        raise DataError(
            f"--label-column: {label!r} {use}. Name a column of labels, which the model does not know; "
            f"{source.data} has {listing(known, 20)}."
        )
    with named(source.data):
        given = schema.given(file, (*source.ids, label))
        context = told_of_given(given, source, estimator)
    frame = given.frame
    ids = frame.select(source.ids)[given.order].rows() if source.ids else ()
    return given.rows, given.each(frame[label].to_numpy()), ids, context

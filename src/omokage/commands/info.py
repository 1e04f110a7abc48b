"""`omokage info`: what a saved model is made of."""

from omokage.commands.arguments import NONE, Folder, Own

_SHOWN = 50  # columns


def info(model: Folder, own: Own = NONE) -> None:
    """Show what a saved model is made of."""
    from omokage.progress import raw_history
    from omokage.tables import aligned

    estimator = own.load(model)
    schema = estimator.schema_
    print(f"{type(estimator).__name__} of {schema.described}, in {model}")
    parts = {name: repr(part) for name, part in vars(estimator.recipe_).items()} | schema.facts()
    print(aligned(list(parts.items())))
    print(estimator.summary())
    if schema.drawing.style != "pictures":  # of which nobody wants to see each pixel
        columns = schema.overview()
        print(aligned(columns[: _SHOWN + 1], right=() if schema.announcement else range(2, 6)))
        if (more := len(columns) - 1 - _SHOWN) > 0:
            print(f"and {more} more columns")
    if (context := estimator.context_schema_) is not None:
        names = context.names or tuple(f"column_{j + 1}" for j in range(len(context.columns)))
        print(aligned([("context", "taken as"), *zip(names, map(str, context.columns), strict=True)]))
    for name, value in raw_history(estimator)[-1].items() if estimator.history_ else ():
        print(f"{name.replace('_', ' ')}: {value:.6g}")

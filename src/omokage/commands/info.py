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
        columns, learned = [("column", "kind", "location", "scale", "low", "high")], schema.columns
        for j, name in list(enumerate(schema.table_names))[:_SHOWN]:
            figures = (learned.location[j], learned.scale[j], learned.low[j], learned.high[j])
            columns.append((name, learned.kinds[j], *(f"{figure:.6g}" for figure in figures)))
        print(aligned(columns, right=range(2, 6)))
        if schema.features > _SHOWN:
            print(f"and {schema.features - _SHOWN} more columns")
    if (context := estimator.context_schema_) is not None:
        names = context.names or tuple(f"column_{j + 1}" for j in range(len(context.columns)))
        print(aligned([("context", "taken as"), *zip(names, map(str, context.columns), strict=True)]))
    for name, value in raw_history(estimator)[-1].items() if estimator.history_ else ():
        print(f"{name.replace('_', ' ')}: {value:.6g}")

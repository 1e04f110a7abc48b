"""`omokage info`: what a saved model is made of."""

from omokage.commands.arguments import NONE, Folder, Own

_SHOWN = 50  # columns


def info(model: Folder, own: Own = NONE) -> None:
    """Show what a saved model is made of."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    estimator, console = own.load(model), Console()
    schema, parts = estimator.schema_, Table(show_header=False, box=None)
    print(f"{type(estimator).__name__} of {schema.described}, in {model}")
    for name, part in ({name: repr(part) for name, part in vars(estimator.recipe_).items()} | schema.facts()).items():
        parts.add_row(name, Text(part))
    console.print(parts)
    print(estimator.summary())
    if schema.drawing.style != "pictures":  # of which nobody wants to see each pixel
        columns = Table("column", "kind", "location", "scale", "low", "high", box=None)
        learned = schema.columns
        for j, name in list(enumerate(schema.table_names))[:_SHOWN]:
            figures = (learned.location[j], learned.scale[j], learned.low[j], learned.high[j])
            # As text, since names such as "speed [m]" would be taken for markup.
            columns.add_row(Text(name, overflow="fold"), learned.kinds[j], *(f"{figure:.6g}" for figure in figures))
        console.print(columns)
        if schema.features > _SHOWN:
            print(f"and {schema.features - _SHOWN} more columns")
    for name, value in estimator.history_[-1].items() if estimator.history_ else ():
        print(f"{name.replace('_', ' ')}: {value:.6g}")

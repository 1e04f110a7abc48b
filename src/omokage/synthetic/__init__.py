"""Made tables: rows like those of a table, and how good they are.

making      `synthesize`: from a table to made rows, in one call
defaults    its settings, where nothing is said
forms       what is given to a model in place of a table, and back; keys: new ones
measures    how alike are made rows and real ones, and do they give real ones away: functions of frames
coded       tables as matrices of numbers, for the measures
quality     all measures of made rows, beside those of real rows, and what they say in words
page        the same as an HTML page
"""

from omokage.synthetic.coded import coded
from omokage.synthetic.defaults import COLUMNS, settings_for
from omokage.synthetic.making import synthesize
from omokage.synthetic.measures import (
    closest_distances,
    closest_row_share,
    column_shapes,
    copies,
    nearer_than,
    pair_trends,
    rare_levels,
    told_apart,
    usefulness,
)
from omokage.synthetic.page import quality_page
from omokage.synthetic.quality import Quality, evaluate

__all__ = [
    "COLUMNS",
    "Quality",
    "closest_distances",
    "closest_row_share",
    "coded",
    "column_shapes",
    "copies",
    "evaluate",
    "nearer_than",
    "pair_trends",
    "quality_page",
    "rare_levels",
    "settings_for",
    "synthesize",
    "told_apart",
    "usefulness",
]

"""The pictures: each function takes plain arrays and returns a matplotlib `Figure` of its own.

    training      learning curves
    bars          one number for each column, or for each latent dimension
    images        rows that are pictures: reconstructions, best and worst, grids, interpolations
    sequences     rows that are sequences: curves, bands, gaps, strips of scores
    latent        codes in a plane
    space         codes in three dimensions, still or turning
    posterior     how far z moves for one x; whether all z together are normal
    codes         no pictures: the z that are worth decoding into some
    tables        made rows of a table beside real ones
    weights       weights, layer by layer
    style, checks, files, mosaic    what they share

No pyplot and no settings of matplotlib's are touched, and every colour, size and font is given where it is used, so a
figure looks the same whatever style the caller has set, and figures can be made in threads. A notebook shows a figure
that is the last line of a cell. `figure.savefig(path)` writes one to a file; `svg(figure)` gives its source, with text
that stays text.

Rows of pictures are (n, D) with D = height × width (× 3 or 4 for colours), as the estimators take and give them.
"""

from omokage.plots.anomalies import false_alarms, precision_recall, score_histogram
from omokage.plots.bars import column_errors, kl_per_dimension
from omokage.plots.codes import codes_at_norms, linear_path, quantile_grid, range_grid, spherical_path
from omokage.plots.files import svg
from omokage.plots.images import best_and_worst, far_out, grid, heat_maps, interpolation, picture_rows, reconstructions
from omokage.plots.latent import latent_scatter
from omokage.plots.posterior import normality, posterior_jitter
from omokage.plots.sequences import sequences
from omokage.plots.space import latent_rotation, latent_scatter_3d
from omokage.plots.style import CLASSES, INK, INK_ON_PAPER, MUTED, PAPER, RULE, TRAINING, VALIDATION, WIDTH
from omokage.plots.tables import closest_row_histogram, marginals, pair_heat_map
from omokage.plots.training import learning_curve
from omokage.plots.weights import weight_panels

__all__ = [
    "CLASSES",
    "INK",
    "INK_ON_PAPER",
    "MUTED",
    "PAPER",
    "RULE",
    "TRAINING",
    "VALIDATION",
    "WIDTH",
    "best_and_worst",
    "closest_row_histogram",
    "codes_at_norms",
    "column_errors",
    "false_alarms",
    "far_out",
    "grid",
    "heat_maps",
    "interpolation",
    "kl_per_dimension",
    "latent_rotation",
    "latent_scatter",
    "latent_scatter_3d",
    "learning_curve",
    "linear_path",
    "marginals",
    "normality",
    "pair_heat_map",
    "picture_rows",
    "posterior_jitter",
    "precision_recall",
    "quantile_grid",
    "range_grid",
    "reconstructions",
    "score_histogram",
    "sequences",
    "spherical_path",
    "svg",
    "weight_panels",
]

"""Made rows have the form of the table, and measures of them say what theorems say."""

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

import omokage as om
from omokage import synthetic
from omokage.errors import DataError, ParameterError
from omokage.likelihoods import Autoregressive
from omokage.synthetic.forms import Form, in_container
from omokage.synthetic.keys import new_keys

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 60, "batch_size": 100, "learning_rate": 2e-3, "verbose": 0}
QUICK |= {"likelihood": Autoregressive(width=16, bins=20)}


def parts(n: int, seed: int = 0) -> pl.DataFrame:
    """Return rows of a workshop: keys, levels of which one is rare, holes that depend on them, a spike, dates."""
    random = np.random.default_rng(seed)
    machine = random.choice(3, n, p=[0.6, 0.37, 0.03])
    width = machine * 2 + random.normal(0, 0.5, n)
    gone = random.random(n) < np.where(machine == 0, 0.3, 0.05)
    amount = np.where(random.random(n) < 0.4, 0.0, np.round(random.lognormal(3, 1, n), 2))
    day = [datetime.date(2024, 1, 1) + datetime.timedelta(int(d)) for d in random.integers(0, 300, n)]
    return pl.DataFrame(
        {
            "lot": [f"L-{number:05d}" for number in random.permutation(n)],
            "machine": np.array(["drill", "lathe", "saw"])[machine],
            "width": [None if hole else round(float(w), 2) for w, hole in zip(width, gone, strict=True)],
            "amount": amount,
            "count": pl.Series(random.poisson(5, n)).cast(pl.Int32),
            "day": day,
            "note": [f"the part number {number} is fine" for number in range(n)],
            "good": random.random(n) < np.where(width > 1, 0.95, 0.2),
        }
    )


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return parts(800)


@pytest.fixture(scope="module")
def answer(frame, tmp_path_factory):
    page = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.warns(UserWarning, match=r"made anew: 'lot' \(a key.*; left empty: 'note' \(free text\)"):
        made, vae = om.synthesize(frame, 700, report=page, return_model=True, **QUICK)
    return made, vae, page.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ the form


def test_made_rows_have_the_columns_types_ranges_levels_and_decimals_of_the_table(answer, frame):
    made = answer[0]
    assert made.schema == frame.schema and made.height == 700
    for name in ("width", "amount", "count", "day"):
        assert frame[name].min() <= made[name].min() and made[name].max() <= frame[name].max()
    assert set(made["machine"]) <= set(frame["machine"])
    np.testing.assert_allclose(made["amount"], made["amount"].round(2), atol=1e-9)
    assert abs((made["amount"] == 0).mean() - (frame["amount"] == 0).mean()) < 0.12  # 4 standard errors and a tenth
    assert made["note"].null_count() == 700
    assert made["lot"].n_unique() == 700 and made["lot"].str.contains(r"^L-\d{5}$").all()
    assert not set(made["lot"]) & set(frame["lot"])


def test_cells_are_missing_as_in_the_table(answer, frame):
    made = answer[0]
    others = made.drop("width", "note")
    assert not any(others.null_count().row(0))
    assert abs(made["width"].null_count() / 700 - frame["width"].null_count() / 800) < 0.1
    holes = made.group_by("machine").agg(pl.col("width").is_null().mean()).rows_by_key("machine", unique=True)
    assert holes["drill"] > holes["lathe"]
    names = answer[1].schema_.names
    assert names[names.index("width") - 1] == "width is there"


def test_the_page_says_what_is_good_and_what_is_not(answer):
    page = answer[2]
    for words in (
        "told from real rows, AUROC",
        "exact copies",
        "membership",
        "closest rows",
        "predicts &#39;good&#39;",
    ):
        assert words in page
    assert page.count("<svg") == 3 and "http" not in page


def test_pandas_comes_back_as_pandas_with_its_types():
    form_of = parts(60).with_columns(
        span=pl.duration(seconds=pl.int_range(60) % 7 + 3), text=pl.Series(["1.234,50", "7,25", "12,00", "3,75"] * 15)
    )
    given = pd.DataFrame({column.name: column.to_list() for column in form_of.drop("note")})
    given["machine"] = given["machine"].astype("category")
    given["width"] = given["width"].astype("Float64")
    source = synthetic.forms.frame_like(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        form = Form.of(source, om.data.Columns())
    drawn = form.given(source)
    made = in_container(form.finished(drawn, 0, source), "pandas", given)
    assert made.dtypes.to_dict() == given.dtypes.to_dict()
    pd.testing.assert_frame_equal(made.drop(columns="lot"), given.drop(columns="lot"))


def test_of_columns_that_are_missing_together_one_speaks_for_all():
    rows = pl.DataFrame({"a": [1.5, None, 2.5, 3.0] * 10, "b": ["x", None, "y", "x"] * 10, "c": [None, 1, 2, 3] * 10})
    form = Form.of(rows, om.data.Columns())
    assert form.speaks == {"a": "a is there", "b": "a is there", "c": "c is there"}
    assert form.given(rows).columns == ["a is there", "a", "b is there", "b", "c is there", "c"]
    assert form.cells == ((2, 4, None), (2, 2), (2, 4, None))
    drawn = form.given(rows).with_columns(pl.lit(False).alias("b is there"), a=pl.lit(1.5), b=pl.lit("x"))
    assert form.finished(drawn, 0, rows)["b"].null_count() == 10


def test_rare_levels_stand_in_place_of_the_one_that_they_share():
    rows = pl.DataFrame({"a": ["x"] * 30 + ["y"] * 20 + ["p", "q", "r"], "b": range(53)})
    with pytest.warns(UserWarning, match="'b'"):
        form = Form.of(rows, om.data.Columns(levels=3))
    drawn = pl.DataFrame({"a": ["other"] * 50})
    assert set(form.finished(drawn, 0, rows)["a"]) == {"p", "q", "r"}


def test_keys_go_on_when_there_are_no_more_of_their_length():
    made = new_keys(pl.Series(["a1", "b2", "c3"]), 50, np.random.default_rng(0))
    assert made.n_unique() == 50 and not set(made) & {"a1", "b2", "c3"}


def test_on_the_command_line(frame, tmp_path, command):
    data, out = tmp_path / "parts.csv", tmp_path / "rows.csv"
    frame.drop("note").write_csv(data)
    flags = ["--rows", 30, "--id", "lot", "--quiet", "--latent-dim", 2, "--hidden", 8, "--epochs", 1]
    code, _, noted = command("synthesize", data, "--out", out, "--density", "full_normal", *flags)
    assert code == 0, noted
    assert pl.read_csv(out).schema == pl.read_csv(data).schema and pl.read_csv(out).height == 30
    code, _, noted = command("synthesize", data, "--out", tmp_path / "rows.txt2", *flags)
    assert code == 1 and "end it in .csv" in noted


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epoch": 3}, "epoch: no parameter of synthesize.*Did you mean 'epochs'"),
        ({"held_out": 0.9, "report": "r.html"}, "held_out: expected a share"),
        ({"report": "r.pdf"}, "end it in .html"),
        ({"target": "god"}, "target: no column 'god' in X.*Did you mean 'good'"),
        ({"target": "note"}, "target: 'note' is left out"),
        ({"data": "images"}, "data: expected omokage.data.Columns"),
    ],
)
def test_what_is_asked_for_wrongly_is_said(frame, settings, words):
    with pytest.raises((ParameterError, DataError), match=words):
        om.synthesize(frame, 5, **settings)


# -------------------------------------------------------------------------------------------------- the measures


def pair(n: int, seed: int) -> pl.DataFrame:
    """Return rows with a number, another that depends on it, a level that depends on both, and holes."""
    random = np.random.default_rng(seed)
    a = random.normal(size=n)
    b = a + random.normal(0, 0.4, n)
    level = np.where(a + b > 0, "up", np.where(a > -1, "down", "far"))
    return pl.DataFrame({"a": a, "b": np.where(random.random(n) < 0.1, np.nan, b), "c": level}).fill_nan(None)


def independent(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return pl.DataFrame([column.shuffle(seed + j) for j, column in enumerate(frame.get_columns())])


def test_a_copy_is_alike_and_independent_columns_keep_their_shapes_but_lose_their_trends():
    real = pair(2000, 0)
    assert set(synthetic.column_shapes(real, real).values()) == {1.0}
    assert set(synthetic.pair_trends(real, real).values()) == {1.0}
    apart = independent(real, 5)
    assert set(synthetic.column_shapes(real, apart).values()) == {1.0}
    trends = synthetic.pair_trends(real, apart)
    assert max(trends.values()) < 0.75
    complete = real.drop_nulls("b")
    expected = 1 - abs(np.corrcoef(complete["a"], complete["b"])[0, 1]) / 2
    assert trends["a", "b"] == pytest.approx(expected, abs=0.05)  # the standard error of a correlation is 0.02


def test_a_classifier_tells_nothing_of_one_distribution_and_all_of_lost_trends():
    real, more = pair(2000, 0), pair(2000, 1)
    assert synthetic.told_apart(real, more) == pytest.approx(0.5, abs=0.04)  # standard error 0.009
    assert synthetic.told_apart(real, independent(real, 5)) > 0.8


def test_fresh_rows_are_as_close_to_training_rows_as_to_others_and_copies_are_closer():
    train, rest, fresh = pair(1000, 0), pair(1000, 1), pair(1000, 2)
    assert synthetic.closest_row_share(train, fresh, rest) == pytest.approx(0.5, abs=0.065)  # 4 standard errors
    assert synthetic.closest_row_share(train, train, rest) > 0.99
    near = [synthetic.closest_distances(rows, train) for rows in (fresh, rest, train)]
    assert synthetic.nearer_than(near[0], near[1]) == pytest.approx(0.5, abs=0.055)
    assert synthetic.nearer_than(near[2], near[1]) > 0.99
    assert synthetic.copies(train, train) == 1 and synthetic.copies(train, fresh) == 0


def test_findings_tell_copies_from_fresh_rows_and_lost_trends():
    train, rest = pair(1000, 0), pair(500, 1)
    verdicts = [
        {finding.name: finding.verdict for finding in synthetic.evaluate(train, rows, rest).findings}
        for rows in (pair(1000, 2), train, independent(train, 5))
    ]
    assert set(verdicts[0].values()) == {"good"}
    assert verdicts[1]["copies"] == verdicts[1]["closest rows"] == "problem"
    assert verdicts[2]["pairs"] == verdicts[2]["told apart"] == verdicts[2]["use"] == "problem"
    assert verdicts[2]["columns"] == "good"


def test_use_is_that_of_the_target():
    train, rest = pair(1000, 0), pair(1000, 1)
    number = synthetic.usefulness(train, independent(train, 5), rest, "a")
    assert number.score == "R²" and number.of_real > 0.8 and number.of_made < 0.1
    level = synthetic.usefulness(train, pair(1000, 2), rest)
    assert level.score == "accuracy" and level.of_made == pytest.approx(level.of_real, abs=0.05)


def test_shapes_and_trends_are_those_of_sdmetrics():
    pytest.importorskip("sdmetrics")
    from omokage.synthetic.measures import by_sdmetrics, mean_of

    real, made = pair(500, 0), independent(pair(400, 1), 3)
    found = by_sdmetrics(real, made)
    assert found is not None
    assert found[0] == pytest.approx(mean_of(synthetic.column_shapes(real, made)), abs=1e-9)
    assert found[1] == pytest.approx(mean_of(synthetic.pair_trends(real, made)), abs=1e-9)

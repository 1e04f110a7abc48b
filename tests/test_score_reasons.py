"""`omokage score --explain`: which cells are to blame, and why, in sentences."""

import io
import re
import warnings

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage.commands.verdicts import _blamed
from omokage.data.kinds.tables import _percent
from omokage.detection.explanation import Explanation

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")  # they are in sys.argv
SETTINGS = {"hidden": (8,), "latent_dim": 2, "epochs": 20}
LEVELS = ["drill", "lathe", "saw"]


def parts(n: int, seed: int = 0) -> pl.DataFrame:
    """Return rows of a workshop: the width depends on the machine."""
    random = np.random.default_rng(seed)
    machine = random.choice(3, n, p=[0.5, 0.3, 0.2])
    width = (machine * 2 + random.normal(0, 0.5, n)).round(2)
    return pl.DataFrame({"machine": [LEVELS[m] for m in machine], "width": width, "mass": random.normal(9, 1, n)})


def fitted(X: object) -> om.AnomalyDetector:
    return om.AnomalyDetector(SETTINGS, ensemble=2, verbose=0).fit(X)


@pytest.fixture(scope="module")
def of_table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table") / "d"
    fitted(parts(200)).save(folder)
    return folder


@pytest.fixture(scope="module")
def of_vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors") / "d"
    fitted(parts(200).select("width", "mass")).save(folder)
    return folder


def test_reasons_of_tables_are_the_sentences_of_the_detector(command, of_table, tmp_path):
    new = parts(20, seed=1).with_row_index("number")
    new = new.with_columns(
        width=pl.when(pl.col("number") == 4).then(25.0).otherwise("width"),
        machine=pl.when(pl.col("number") == 7).then(pl.lit("press")).otherwise("machine"),
    )
    new.write_csv(tmp_path / "new.csv")
    words = ("score", of_table, tmp_path / "new.csv", "--id", "number", "--explain", "2", "--out", tmp_path / "s.csv")
    assert command(*words)[0] == 0
    found = pl.read_csv(tmp_path / "s.csv")
    assert found.columns[-4:] == ["top_feature_1", "top_feature_2", "reason_1", "reason_2"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the level that the fit did not see
        expected = om.load(of_table).explain(new.drop("number"))
    assert found.select("reason_1", "reason_2").rows() == [tuple(row) for row in expected.reasons(2)]
    for place in (1, 2):  # the sentence is about the column that is named
        pairs = zip(found[f"top_feature_{place}"], found[f"reason_{place}"], strict=True)
        assert all(reason.startswith(f"{name} ") for name, reason in pairs)
    assert re.fullmatch(r"width = 25\.0, where -?\d+(\.\d+)? is expected", found["reason_1"][4])
    assert found["reason_1"][7].startswith("machine has a level that the fit did not see, where '")


def test_reasons_of_vectors_do_not_depend_on_how_rows_come(command, of_vectors, tmp_path):
    new = parts(6, seed=2).select("width", "mass").with_columns(pl.col("mass").round(3))
    new[3, "mass"] = 1234.5
    new.write_csv(tmp_path / "new.csv")
    words = ("score", of_vectors, tmp_path / "new.csv", "--explain", "1", "--out", tmp_path / "s.csv")
    assert command(*words)[0] == 0
    found = pl.read_csv(tmp_path / "s.csv")
    assert found["reason_1"].to_list() == [one for (one,) in om.load(of_vectors).explain(new).reasons(1)]
    assert re.fullmatch(r"mass = 1234\.5, where -?[\d.]+ is expected", found["reason_1"][3])
    lines = (tmp_path / "new.csv").read_text("utf-8")
    status, out, _ = command("score", of_vectors, "-", "--explain", "1", stdin=lines)
    assert status == 0
    assert pl.read_csv(io.StringIO(out))["reason_1"].to_list() == found["reason_1"].to_list()


def test_a_row_that_cannot_be_scored_has_no_reason(command, of_vectors, tmp_path):
    (tmp_path / "new.csv").write_text("width,mass\n1.5,9\n,8\n2,900\n", "utf-8")
    words = ("score", of_vectors, tmp_path / "new.csv", "--explain", "2", "--out", tmp_path / "s.csv")
    assert command(*words)[0] == 0
    found = pl.read_csv(tmp_path / "s.csv")
    assert found["reason_1"][1] is None and found["reason_2"][1] is None
    assert found["reason_1"][2].startswith("mass = 900, where ")


def test_without_explain_there_are_no_reasons_and_more_than_there_are_columns_give_all(command, of_vectors, tmp_path):
    parts(5).select("width", "mass").write_csv(tmp_path / "new.csv")
    words = ("score", of_vectors, tmp_path / "new.csv", "--out", tmp_path / "s.csv")
    assert command(*words)[0] == 0
    assert not [name for name in pl.read_csv(tmp_path / "s.csv").columns if "reason" in name or "top" in name]
    assert command(*words, "--explain", "9")[0] == 0
    assert [name for name in pl.read_csv(tmp_path / "s.csv").columns if "reason" in name] == ["reason_1", "reason_2"]


def test_what_is_no_line_of_a_table_has_names_only():
    found = Explanation(None, None, "mahalanobis", ("a", "b"), np.array([[0.2, 0.8]]))
    assert {name: list(column) for name, column in _blamed(found, None, 1).items()} == {"top_feature_1": ["b"]}


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100 %"),
        (0.999, "100 %"),
        (0.5, "50 %"),
        (0.0123, "1.2 %"),
        (2e-5, "0.002 %"),
        (1e-7, "less than 0.001 %"),
    ],
)
def test_shares_are_written_as_people_write_them(share, text):
    assert _percent(share) == text

"""A kind of data of one's own: points on a circle, written in this file alone, go through all that there is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage.batch import Batch
from omokage.data.columns import ColumnSchema, Moments
from omokage.data.encoded import Encoded
from omokage.data.kinds import Given, Kind, Schema
from omokage.data.rows import MemoryRows, divide
from omokage.errors import DataError, FileFormatError
from omokage.supports import REAL


@dataclass(frozen=True)
class Circle(Kind):
    """Angles (n,) in units of which there are `turn` in a full turn: to a model they are points on a circle."""

    turn: float = 360.0
    name: ClassVar[str] = "angles"
    called: ClassVar[str] = "angles"

    def rows(self, X: Any, sample_weight: Any = None, *, estimator: str = "") -> "Angles":
        return Angles(self, angles(X))

    def points(self, X: np.ndarray) -> np.ndarray:
        turned = 2 * np.pi * X / self.turn
        return np.stack([np.cos(turned), np.sin(turned)], 1)

    @staticmethod
    def schema_from_json(value: Mapping[str, Any]) -> "CircleSchema":
        try:
            return CircleSchema(ColumnSchema.from_json(value["columns"]), Circle(float(value["turn"])))
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"schema.json: not a schema of angles ({error!r}).") from None


@dataclass(frozen=True, eq=False)
class CircleSchema(Schema):
    columns: ColumnSchema
    kind: Circle

    @property
    def event(self) -> Any:
        return self.columns.event

    def rows(self, X: Any, *, support: Any = REAL, name: str = "X", estimator: str = "") -> Encoded:
        return Encoded.of(Batch(self.columns.encode(self.kind.points(angles(self.opened(X), name)))))

    def decode(self, x: Any, rows: Encoded | None = None) -> Any:
        cosine, sine = np.moveaxis(self.columns.decode(x), -1, 0)
        return np.arctan2(sine, cosine) % (2 * np.pi) * self.kind.turn / (2 * np.pi)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "angles", "columns": self.columns.to_json(), "turn": self.kind.turn}

    def given(self, source: Any, ids: Sequence[str] = ()) -> Given:
        frame = source.read()
        rest = [name for name in frame.columns if name not in ids]
        return Given(frame[rest[0]].to_numpy(), frame.select(ids), frame)

    def to_table(self, answers: Any, given: Given | None = None) -> pl.DataFrame:
        keys = () if given is None else given.keys.get_columns()
        return pl.DataFrame([*keys, pl.Series("angle", answers)])


class Angles:
    """Training rows."""

    alike, streamed, names, blocks = False, False, None, None

    def __init__(self, kind: Circle, X: np.ndarray):
        self.kind, self.X, self.values, self.count = kind, X, kind.points(X), len(X)
        self.moments = Moments.empty(2).updated(self.values)

    def columns(self) -> None: ...

    def schema(self, standardize: Any) -> CircleSchema:
        return CircleSchema(ColumnSchema.learn(self.moments, None, standardize), self.kind)

    def part(self, index: np.ndarray) -> "Angles":
        return Angles(self.kind, self.X[index])

    def encoded(self, schema: CircleSchema) -> Encoded:
        return Encoded.of(Batch(schema.columns.encode(self.values)))

    def values_of(self, index: np.ndarray) -> np.ndarray:
        return self.values[index]

    def rows(self, schema: CircleSchema, held_out: float, seed: int, context: Any = None) -> Any:
        batch = Batch(schema.columns.encode(self.values), context=context)
        parts = divide(np.arange(self.count), held_out, np.random.default_rng(seed))
        training, checking = (MemoryRows(batch, None, part) if len(part) else None for part in parts)
        return training, checking


def angles(X: Any, name: str = "X") -> np.ndarray:
    made = np.asarray(X, np.float64)
    if made.ndim != 1:
        raise DataError(f"{name}: expected angles, (n,); got the shape {made.shape}.")
    return made


X = np.random.default_rng(0).normal(350, 20, 200) % 360  # around the place where 360 becomes 0
SMALL: dict[str, Any] = {"latent_dim": 1, "hidden": (16,), "epochs": 3, "verbose": 0, "data": Circle()}
CUSTOM = {f"{Circle.__module__}.Circle": Circle}


@pytest.fixture(scope="module")
def vae() -> om.VAE:
    return om.VAE(**SMALL).fit(X)


def test_everything_is_asked_in_the_kinds_own_form(vae):
    assert vae.transform(X).shape == (200, 1)
    assert (vae.reconstruct(X).shape, vae.sample(7).shape) == ((200,), (7,))
    assert ((vae.sample(50) >= 0) & (vae.sample(50) < 360)).all()
    assert vae.score_samples(X).shape == (200,)
    # The same angle, a full turn on, is the same row.
    np.testing.assert_allclose(vae.score_samples(X + 360), vae.score_samples(X), atol=1e-4)
    assert vae.entry_scores(X).shape == (200, 2)
    assert "active" in str(vae.diagnose(X))
    with pytest.raises(DataError, match="only sequences have steps"):
        vae.step_scores(X)
    with pytest.raises(DataError, match="expected angles"):
        vae.transform(X[:, None])


def test_it_is_saved_and_loads_where_its_class_is_handed_over(vae, tmp_path):
    folder = vae.save(tmp_path / "m")
    back = om.load(folder, custom=CUSTOM)
    assert back.schema_.kind == Circle() == back.data
    np.testing.assert_array_equal(back.score_samples(X), vae.score_samples(X))
    with pytest.raises(FileFormatError, match=r"names the class .*Circle"):
        om.load(folder)
    schema = json.loads((folder / "schema.json").read_text())
    assert (schema["kind"], schema["turn"]) == ("angles", 360)


def test_a_detector_judges_it():
    detector = om.AnomalyDetector(om.VAE(**SMALL), ensemble=2, verbose=0).fit(X)
    assert detector.score_samples([350.0]) > detector.score_samples([170.0])
    assert detector.p_values(X).shape == (200,)


def test_the_command_line_takes_it(vae, tmp_path, monkeypatch, capsys):
    from omokage import cli

    (tmp_path / "circles.py").write_text(
        f"from importlib.util import module_from_spec, spec_from_file_location\n"
        f"import sys\nCircle = sys.modules[{Circle.__module__!r}].Circle\n"
    )
    vae.save(tmp_path / "m")
    pl.DataFrame({"part": ["a", "b"], "angle": [350.0, 170.0]}).write_csv(tmp_path / "new.csv")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["omokage", *words, "--custom", "circles:Circle"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    run("score", "m", "new.csv", "--out", "scores.csv", "--id", "part")
    scores = pl.read_csv("scores.csv")
    assert scores["part"].to_list() == ["a", "b"]
    np.testing.assert_allclose(scores["anomaly_score"], -vae.score_samples([350.0, 170.0]), rtol=1e-6)
    run("reconstruct", "m", "new.csv", "--out", "made.csv", "--id", "part")
    np.testing.assert_allclose(pl.read_csv("made.csv")["angle"], vae.reconstruct([350.0, 170.0]), rtol=1e-6)
    assert "2 columns" in run("info", "m")
    assert "5 angles" in run("sample", "m", "--out", "drawn.csv", "-n", "5")


def test_the_report_shows_it(vae):
    from omokage.report import model_sections

    titles = [section.heading for section in model_sections(vae, X)]
    assert {"Reconstruction", "Codes", "Diagnosis", "Training"} <= set(titles)

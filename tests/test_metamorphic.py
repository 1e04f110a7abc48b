"""What must not change an answer: order of columns and rows, type of numbers, saving, company, thread, process."""

import concurrent.futures
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import omokage as om

NAMES = ["熱", "rpm", "p", "v"]
SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 3, "batch_size": 20, "verbose": 0}
MODELS = {
    "VAE": lambda: om.VAE(**SMALL),
    "AutoEncoder": lambda: om.AutoEncoder(**SMALL),
    "flow": lambda: om.VAE(**SMALL, posterior="flow", prior="mixture"),
    "layer norm": lambda: om.VAE(**SMALL, normalization="layer", likelihood="student_t"),
    "detector": lambda: om.AnomalyDetector(SMALL, ensemble=2, verbose=0),
}
PROCESS = """
import sys, numpy as np, polars as pl, omokage as om
model = om.load(sys.argv[1])
np.save(sys.argv[3], model.score_samples(pl.read_parquet(sys.argv[2])))
"""


def rows(seed, count=60):
    """Return a table of float32 numbers in units of their own."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, 2)) @ random.normal(size=(2, 4)) + 0.3 * random.normal(size=(count, 4))
    return pl.DataFrame((X * [1, 100, 0.01, 5] + [0, 500, 0, -3]).astype(np.float32), schema=NAMES)


def answers(model, X):
    """Return what a model says of each row, (n, ...) each."""
    if isinstance(model, om.AnomalyDetector):
        return {"score": model.score_samples(X), "p": model.p_values(X), "explain": model.explain(X).shares}
    found = {"score": model.score_samples(X), "z": model.transform(X), "made": np.asarray(model.reconstruct(X))}
    if isinstance(model, om.VAE):
        found |= model.terms(X, samples=4) | {"likelihood": model.log_likelihood(X, samples=4)}
    return found


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
    """A model and what it says of new rows."""
    model = MODELS[request.param]().fit(rows(0))
    return MODELS[request.param], model, answers(model, rows(1, 40))


def same(found, expected, order=slice(None)):
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values[order], err_msg=name)


@pytest.mark.exhaustive
@pytest.mark.optimised
def test_the_order_of_rows_at_the_fit(fitted):
    make, _, expected = fitted
    shuffled = rows(0).sample(fraction=1, shuffle=True, seed=3)
    same(answers(make().fit(shuffled), rows(1, 40)), expected)


@pytest.mark.exhaustive
@pytest.mark.optimised
def test_the_type_of_numbers(fitted):
    make, model, expected = fitted
    wide = rows(1, 40).cast(pl.Float64)
    same(answers(model, wide), expected)
    same(answers(make().fit(rows(0).cast(pl.Float64)), wide), expected)


@pytest.mark.exhaustive
@pytest.mark.optimised
def test_the_order_of_rows_and_their_company(fitted):
    _, model, expected = fitted
    new, order = rows(1, 40), np.random.default_rng(5).permutation(40)
    same(answers(model, new[order.tolist()]), expected, order)
    same(answers(model, new[7:8]), expected, slice(7, 8))
    many = pl.concat([rows(9, 700), new])
    same({name: values[700:] for name, values in answers(model, many).items()}, expected)


@pytest.mark.exhaustive
@pytest.mark.optimised
def test_the_order_of_columns_of_files(fitted, tmp_path, capsys):
    from omokage.cli import app

    _, model, expected = fitted
    model.save(tmp_path / "model")
    for number, names in enumerate((NAMES, NAMES[::-1])):
        rows(1, 40).select(names).write_parquet(tmp_path / "new.parquet")
        words = ["score", tmp_path / "model", tmp_path / "new.parquet", "--out", tmp_path / f"{number}.parquet"]
        app([str(word) for word in words], exit_on_error=False, print_error=False, result_action="return_value")
    one, two = (pl.read_parquet(tmp_path / f"{number}.parquet") for number in range(2))
    assert one.equals(two)
    np.testing.assert_array_equal(-one["anomaly_score"].to_numpy(), expected["score"])


@pytest.mark.exhaustive
@pytest.mark.optimised
def test_saved_and_loaded_in_a_thread_and_in_a_process(fitted, tmp_path):
    _, model, expected = fitted
    model.save(tmp_path / "model")
    new = rows(1, 40)
    same(answers(om.load(tmp_path / "model"), new), expected)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: answers(model, new), range(2)):
            same(found, expected)
    new.write_parquet(tmp_path / "new.parquet")
    words = [str(tmp_path / name) for name in ("model", "new.parquet", "scores.npy")]
    subprocess.run([sys.executable, "-c", PROCESS, *words], check=True, capture_output=True, timeout=300)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), expected["score"])

"""Conditional models: what context can be, and what a model makes of it."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omokage as om
from omokage.batch import Batch
from omokage.data import Sequences
from omokage.data.context import ContextSchema
from omokage.data.context_columns import Covariate, Labels
from omokage.data.kinds.sequences import SequenceTable
from omokage.data.kinds.vectors import Table
from omokage.data.rows import SpooledRows, hashes
from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.estimators.fitting import conditions

OFFSETS = np.array([[-4.0, 0, 2], [0, 3, -1], [5, -2, 0]])
SMALL = {"latent_dim": 1, "hidden": (8,), "epochs": 3, "verbose": 0}


def labelled(n=300, seed=0):
    """Return rows around an offset for each label, (n, 3), and the labels, (n,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    return OFFSETS[labels] + random.normal(size=(n, 3)) * [1, 0.5, 0.7], np.array(["a", "b", "c"])[labels]


X, CONTEXT = labelled()


@pytest.fixture(scope="module")
def conditional():
    return om.VAE(**{**SMALL, "epochs": 60, "learning_rate": 1e-2}).fit(X, context=CONTEXT)


def test_samples_have_the_mean_of_their_label(conditional):
    for label, expected in zip("abc", OFFSETS, strict=True):
        drawn = conditional.sample(1000, context=label)
        # Of the training rows' mean about 0.1; the rest is what a short training misses.
        np.testing.assert_allclose(drawn.mean(0), expected, atol=0.4)
    mixed = conditional.sample(6, context=list("abcabc"))
    np.testing.assert_array_equal(mixed[[0, 3]], conditional.sample(6, context="a")[[0, 3]])


def test_to_know_the_label_raises_the_bound_of_rows_held_out(conditional):
    rows, labels = labelled(500, seed=1)
    plain = om.VAE(**{**SMALL, "epochs": 60, "learning_rate": 1e-2}).fit(X)
    gain = conditional.score_samples(rows, context=labels) - plain.score_samples(rows)
    # log 3 nats say which of three labels it is; one latent dimension for two directions of labels costs more.
    assert gain.mean() - 6 * gain.std() / np.sqrt(len(gain)) > np.log(3) / 2
    wrong = np.roll(list("abc"), 1)[np.searchsorted(list("abc"), labels)]
    assert conditional.score(rows, context=wrong) < conditional.score(rows, context=labels) - 5
    assert conditional.score(rows, context=labels) == conditional.score_samples(rows, context=labels).mean()


def test_a_prior_can_depend_on_the_context(tmp_path):
    prior = om.priors.Conditional(om.priors.DiagonalNormal(), hidden=(8,))
    vae = om.VAE(**{**SMALL, "epochs": 60, "learning_rate": 1e-2}, prior=prior).fit(X, context=CONTEXT)
    for label, expected in zip("abc", OFFSETS, strict=True):
        np.testing.assert_allclose(vae.sample(1000, context=label).mean(0), expected, atol=0.4)
    parts = vae.terms(X, context=CONTEXT)
    np.testing.assert_allclose(parts["elbo"], parts["reconstruction"] - parts["kl"], rtol=1e-4, atol=1e-3)
    assert vae.kl_form_ == "closed form"
    vae.save(tmp_path / "m")
    again = om.load(tmp_path / "m")
    np.testing.assert_array_equal(again.sample(5, context="b"), vae.sample(5, context="b"))
    np.testing.assert_array_equal(
        again.log_likelihood(X[:9], context=CONTEXT[:9]), vae.log_likelihood(X[:9], context=CONTEXT[:9])
    )


@pytest.mark.parametrize(
    ("prior", "context", "said"),
    [
        (om.priors.Conditional(om.priors.DiagonalNormal()), None, r"needs a context. Give fit one: fit\(X, context="),
        ("vamp", CONTEXT, "without context, and there is a context"),
    ],
)
def test_a_prior_and_a_context_that_do_not_go_together_are_refused(prior, context, said):
    with pytest.raises(ParameterError, match=said):
        om.VAE(**SMALL, prior=prior).fit(X, context=context)


def test_a_conditional_prior_needs_a_family_that_a_network_can_give():
    with pytest.raises(ParameterError, match="parameters that a network can give"):
        om.priors.Conditional(om.priors.StandardNormal())


def test_a_saved_model_comes_back_with_its_context(conditional, tmp_path):
    conditional.save(tmp_path / "m")
    again = om.load(tmp_path / "m")
    assert again.context_schema_ == conditional.context_schema_
    np.testing.assert_array_equal(again.sample(5, context="b"), conditional.sample(5, context="b"))
    assert "Conditioned on 3 labels." in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    for name in ("score_samples", "transform", "reconstruct"):
        results = [getattr(model, name)(X[:9], context=CONTEXT[:9]) for model in (again, conditional)]
        np.testing.assert_array_equal(*results)


def test_a_folder_without_context_is_as_it_was(tmp_path):
    vae = om.VAE(**SMALL).fit(X)
    vae.save(tmp_path / "m")
    assert "context" not in json.loads((tmp_path / "m" / "schema.json").read_text())
    assert om.load(tmp_path / "m").context_schema_ is None


@pytest.mark.optimised
def test_a_row_has_the_same_score_alone(conditional):
    together = conditional.score_samples(X, context=CONTEXT)
    for row in (0, 7, 299):
        assert conditional.score_samples(X[[row]], context=CONTEXT[[row]]) == together[row]
    alike = np.repeat(X[:1], 3, 0)
    assert len(set(conditional.score_samples(alike, context=["a", "b", "c"]))) == 3


def test_all_that_is_asked_goes_with_the_context(conditional):
    assert {*conditional.terms(X[:4], context="a")} == {"reconstruction", "kl", "elbo"}
    Z = conditional.transform(X[:4], context=CONTEXT[:4])
    np.testing.assert_allclose(
        conditional.inverse_transform(Z, context=CONTEXT[:4]), conditional.reconstruct(X[:4], context=CONTEXT[:4])
    )
    assert conditional.diagnose(X[:60], context=CONTEXT[:60]).findings
    assert conditional.sample(3, context="c", mean=True).shape == (3, 3)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_rows_does_not_matter(weighted):
    order = np.random.default_rng(3).permutation(len(X))
    covariate = X.sum(1) + np.random.default_rng(4).normal(size=len(X))
    context = pl.DataFrame({"label": CONTEXT, "size": covariate})
    weight = np.random.default_rng(5).integers(0, 3, len(X)) if weighted else None
    early = {**SMALL, "early_stopping": True}
    first = om.VAE(**early).fit(X, context=context, sample_weight=weight)
    second = om.VAE(**early).fit(
        X[order], context=context[order.tolist()], sample_weight=None if weight is None else weight[order]
    )
    np.testing.assert_array_equal(first.transform(X, context=context), second.transform(X, context=context))
    assert first.history_[-1]["validation_loss"] == second.history_[-1]["validation_loss"]


def test_a_row_of_weight_0_is_as_if_it_were_not_there():
    weight, covariate = (CONTEXT != "c").astype(float), np.where(CONTEXT == "c", 1e9, np.arange(300.0))
    kept = weight > 0
    for values in (CONTEXT, covariate):
        schema, context = conditions(values, Table(X, weight), weight, None)
        fewer, expected = conditions(values[kept], Table(X[kept]), None, None)
        assert schema == fewer
        np.testing.assert_array_equal(context[kept], expected)
        assert not context[~kept].any()
    heavy, _ = conditions(covariate, Table(X, weight * 3), weight * 3, None)
    assert heavy == conditions(np.repeat(covariate[kept], 3), Table(np.repeat(X[kept], 3, 0)), None, None)[0]


def test_series_of_every_padded_length_keep_their_context():
    level = np.arange(60.0)
    series = [np.full((5 + number % 25, 1), value) for number, value in enumerate(level)]
    weight = (level % 7 != 0).astype(float)
    table = SequenceTable(series, weight, Sequences())
    schema = table.schema("scale")
    assert len(schema.buckets) > 1
    training, validation = table.rows(schema, 0.2, 0, level[:, None].astype(np.float32))
    seen = []
    for batch in [*training.epoch(np.random.default_rng(0), 4), *validation.epoch(np.random.default_rng(0), 4)]:
        np.testing.assert_allclose(schema.decode(batch.x[:, 0]), batch.context, rtol=1e-5)
        seen += batch.context[:, 0].tolist()
    assert sorted(seen) == level[weight > 0].tolist()
    whole = schema.rows(series).with_context(level[:, None]).whole
    np.testing.assert_allclose(whole.context[:, 0], level)


def test_rows_alike_in_x_are_told_apart_by_their_context():
    x = np.zeros((3, 2), np.float32)
    different = hashes(Batch(x, context=np.eye(3, dtype=np.float32)))
    assert len(set(different)) == 3
    assert len(set(hashes(Batch(x, context=np.ones((3, 3), np.float32))))) == 1
    assert len(set(hashes(Batch(x)))) == 1
    # The same numbers in x and in the context do not cancel or stand for one another.
    swapped = [
        Batch(np.float32([[1, 0]]), context=np.float32([[0, 1]])),
        Batch(np.float32([[0, 1]]), context=np.float32([[1, 0]])),
    ]
    assert hashes(swapped[0]) != hashes(swapped[1])


def test_validation_rows_bring_their_context():
    rows, labels = labelled(60, seed=2)
    vae = om.VAE(**SMALL).fit(X, context=CONTEXT, X_valid=rows, context_valid=labels)
    assert np.isfinite(vae.history_[-1]["validation_loss"])
    other = om.VAE(**SMALL).fit(X, context=CONTEXT, X_valid=rows, context_valid=np.roll(labels, 1))
    assert vae.history_[-1]["loss"] == other.history_[-1]["loss"]
    assert vae.history_[-1]["validation_loss"] != other.history_[-1]["validation_loss"]


def test_training_goes_on_with_the_context_of_the_fit_before():
    vae = om.VAE(**SMALL, warm_start=True).fit(X, context=CONTEXT)
    schema = vae.context_schema_
    vae.fit(X[CONTEXT == "a"], context=CONTEXT[CONTEXT == "a"])
    assert vae.context_schema_ is schema
    with pytest.raises(DataError, match="needs that of these rows"):
        vae.fit(X)


@pytest.mark.optimised
def test_a_resumed_run_is_the_one_that_never_stopped(tmp_path):
    whole = om.VAE(**SMALL).fit(X, context=CONTEXT)

    def stop(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        om.VAE(**SMALL).fit(X, context=CONTEXT, checkpoint=tmp_path / "c", on_epoch=stop)
    with pytest.raises(ParameterError, match="other settings or data"):  # the same labels, in other places
        om.VAE(**SMALL).fit(X, context=np.roll(CONTEXT, 1), checkpoint=tmp_path / "c", resume=True)
    with pytest.raises(ParameterError, match="context was"):  # the same numbers, by other names
        om.VAE(**SMALL).fit(X, context=np.char.add(CONTEXT, "!"), checkpoint=tmp_path / "c", resume=True)
    again = om.VAE(**SMALL).fit(X, context=CONTEXT, checkpoint=tmp_path / "c", resume=True)
    assert len(again.history_) == 3
    np.testing.assert_array_equal(again.sample(5, context="b"), whole.sample(5, context="b"))


def test_rows_of_a_spool_keep_their_context(monkeypatch):
    numbers = np.arange(3000, dtype=np.float32)[:, None]
    source = SpooledRows([numbers[:1234], numbers[1234:]])
    source.context = np.concatenate([numbers * 2, -numbers], -1)
    digest = source.digest
    held_out = source.hold_out(np.random.default_rng(0), 300)
    monkeypatch.setattr("omokage.data.rows._POOL", 500)
    batches = [held_out, *source.epoch(np.random.default_rng(1), 128)]
    x, context = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("x", "context"))
    assert sorted(x[:, 0]) == numbers[:, 0].tolist()
    np.testing.assert_array_equal(context, np.concatenate([x * 2, -x], -1))
    source.context = source.context[::-1]
    assert source.digest != digest


def test_a_streamed_file_takes_a_context(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    monkeypatch.setattr("omokage.data.kinds.vectors.IN_MEMORY_BYTES", 1000)
    vae = om.VAE(**{**SMALL, "epochs": 60, "learning_rate": 1e-2}).fit(tmp_path / "x.npy", context=CONTEXT)
    for label, expected in zip("abc", OFFSETS, strict=True):
        np.testing.assert_allclose(vae.sample(1000, context=label, mean=True).mean(0), expected, atol=0.5)


def test_images_take_a_context():
    random = np.random.default_rng(0)
    bright = random.integers(0, 2, 80)
    pictures = bright[:, None, None] * 0.6 + 0.2 * random.random((80, 8, 8))
    settings = {**SMALL, "hidden": (4, 4), "epochs": 40, "learning_rate": 1e-2, "data": "images"}
    vae = om.VAE(**settings).fit(pictures, context=bright == 1)
    assert vae.model_.posterior.network.layers[0].weight.shape[-1] % 3 == 0  # one channel, and two for the labels
    assert vae.reconstruct(pictures[:5], context=bright[:5] == 1).shape == (5, 8, 8)
    dark, light = (vae.sample(50, context=value, mean=True).mean() for value in (False, True))
    assert abs(dark - 0.1) < 0.1
    assert abs(light - 0.7) < 0.1


@pytest.mark.parametrize("network", ["gru", "tcn"])
def test_sequences_take_a_context(network):
    random = np.random.default_rng(0)
    level = random.normal(size=60)
    series = [value + 0.1 * random.normal(size=(4 + number % 5, 1)) for number, value in enumerate(level)]
    settings = {**SMALL, "hidden": (6,), "epochs": 60, "learning_rate": 2e-2, "network": network}
    vae = om.VAE(**settings).fit(series, context=level)
    made = vae.reconstruct(series, context=level)
    assert [len(row) for row in made] == [len(row) for row in series]
    low, high = (vae.sample(40, context=value, length=7, mean=True).mean() for value in (-1.0, 1.0))
    assert high - low > 1
    backwards = vae.reconstruct(series[::-1], context=level[::-1])
    assert all(np.array_equal(*pair) for pair in zip(made, backwards[::-1], strict=True))


def test_an_autoencoder_takes_a_context(tmp_path):
    ae = om.AutoEncoder(**SMALL)
    Z = ae.fit_transform(X, context=CONTEXT)
    np.testing.assert_array_equal(Z, ae.transform(X, context=CONTEXT))
    assert ae.score_samples(X, context=CONTEXT).shape == (300,)
    assert {*ae.terms(X[:2], context="a")} == {"reconstruction", "squared_error"}
    assert ae.fit_density(X, context=CONTEXT).sample(4, context="b").shape == (4, 3)


# What context can be.

WHOLE = np.array([3, 1, 3])
FORMS = {
    "list of strings": (["b", "a", "b"], ["a", "b"]),
    "array of strings": (np.array(["b", "a", "b"]), ["a", "b"]),
    "object array": (np.array(["b", "a", "b"], object), ["a", "b"]),
    "pandas": (pd.Series(["b", "a", "b"]), ["a", "b"]),
    "pandas categories": (pd.Series(["b", "a", "b"], dtype="category"), ["a", "b"]),
    "polars": (pl.Series(["b", "a", "b"]), ["a", "b"]),
    "whole numbers": (WHOLE, [1, 3]),
    "list of whole numbers": ([3, 1, 3], [1, 3]),
    "small whole numbers": (WHOLE.astype(np.uint8), [1, 3]),
    "pandas Int64": (pd.Series([3, 1, 3], dtype="Int64"), [1, 3]),
    "booleans": (WHOLE == 3, [False, True]),
    "list of booleans": ([True, False, True], [False, True]),
    "polars booleans": (pl.Series([True, False, True]), [False, True]),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_one_hot(form):
    context, labels = FORMS[form]
    schema = ContextSchema.learn(context, 3)
    assert schema == ContextSchema((Labels(tuple(labels)),))
    assert [type(label) for label in schema.columns[0].labels] == [type(label) for label in labels]
    encoded = schema.encode(context, 3)
    assert (encoded.dtype, encoded.tolist()) == (np.float32, [[0, 1], [1, 0], [0, 1]])
    assert schema.encode(labels[1], 2).tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("form", [list, np.array, pl.Series, pd.Series, lambda values: np.array(values)[:, None]])
def test_covariates_are_standardised(form):
    schema = ContextSchema.learn(form([1.0, 2.0, 6.0]), 3)
    encoded = schema.encode(form([1.0, 2.0, 6.0]), 3)
    np.testing.assert_allclose([encoded.mean(), encoded.std()], [0, 1], atol=1e-6)
    np.testing.assert_allclose(schema.encode(3, 2), [[0], [0]], atol=1e-6)


def test_a_matrix_is_one_of_covariates_and_a_constant_one_keeps_its_unit():
    matrix = np.array([[1, 10, 5], [3, 30, 5]])
    schema = ContextSchema.learn(matrix, 2)
    assert schema.encode(matrix, 2).tolist() == [[-1, -1, 0], [1, 1, 0]]
    assert schema.columns[2] == Covariate(5, 1)
    assert schema.encode([3, 10, 6], 2).tolist() == [[1, -1, 1]] * 2  # one row for both
    assert schema.encode(pl.DataFrame(matrix), 2).tolist() == schema.encode(matrix.tolist(), 2).tolist()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_of_a_frame_go_by_their_type_and_name(frame):
    context = frame({"digit": [3, 1, 3], "size": [1.0, 3.0, 5.0], "kind": ["x", "y", "x"]})
    schema = ContextSchema.learn(context, 3)
    assert schema.names == ("digit", "size", "kind")
    assert [column.size for column in schema.columns] == [2, 1, 2]
    turned = schema.encode(context[["kind", "digit", "size"]], 3)
    np.testing.assert_array_equal(turned, schema.encode(context, 3))
    np.testing.assert_array_equal(schema.encode({"size": 3.0, "kind": "y", "digit": 1}, 4), turned[[1, 1, 1, 1]])


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_what_is_learned_does_not_depend_on_the_order(offset):
    values = np.random.default_rng(0).normal(size=5000) + offset
    schemas = {ContextSchema.learn(np.random.default_rng(seed).permutation(values), 5000) for seed in range(5)}
    assert len(schemas) == 1


columns = st.one_of(
    st.lists(st.text(), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=1, max_size=5),
    st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=5),
    st.lists(st.floats(-1e38, 1e38), min_size=1, max_size=5),
)


@settings(max_examples=100, deadline=None)
@given(columns)
def test_a_schema_comes_back_from_json(context):
    schema = ContextSchema.learn(context, len(context))
    again = ContextSchema.from_json(json.loads(json.dumps(schema.to_json())))
    assert repr(again) == repr(schema)
    encoded = schema.encode(context, len(context))
    np.testing.assert_array_equal(again.encode(context, len(context)), encoded)
    assert np.isfinite(encoded).all()
    if isinstance(schema.columns[0], Labels):
        labels = schema.columns[0].labels
        assert [labels[place] for place in encoded.argmax(1)] == context
        assert all(a < b for a, b in pairwise(labels))


SOUND = {"names": None, "columns": [{"labels": ["a", "b"]}]}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"names": None},
        {"names": None, "columns": []},
        {"names": None, "columns": "ab"},
        {"names": ["x", "y"], "columns": SOUND["columns"]},
        {"names": [1], "columns": SOUND["columns"]},
        {"names": "x", "columns": SOUND["columns"]},
        {"names": None, "columns": [{"labels": ["b", "a"]}]},
        {"names": None, "columns": [{"labels": ["a", "a"]}]},
        {"names": None, "columns": [{"labels": ["a", 1]}]},
        {"names": None, "columns": [{"labels": [1.5]}]},
        {"names": None, "columns": [{"labels": []}]},
        {"names": None, "columns": [{"labels": 3}]},
        {"names": None, "columns": [{"location": 0}]},
        {"names": None, "columns": [{"location": 0, "scale": 0}]},
        {"names": None, "columns": [{"location": "x", "scale": 1}]},
        {"names": None, "columns": [{"location": float("nan"), "scale": 1}]},
    ],
)
def test_a_schema_that_is_not_sound_is_refused(value):
    assert ContextSchema.from_json(SOUND).size == 2
    with pytest.raises(FileFormatError, match=r"schema\.json"):
        ContextSchema.from_json(value)


FRAME = pl.DataFrame({"digit": [1, 2, 1], "size": [0.5, 1.5, 2.5]})


@pytest.mark.parametrize(
    ("fitted", "context", "words"),
    [
        (["cat", "dog", "eel"], ["cat", "dgo", "dgo"], ["'dgo' (row 1) is not among the labels", "mean 'dog'?"]),
        (["cat", "dog", "eel"], ["cat", "ape", "cow"], ["'ape', 'cow' (row 1) are not among the labels of the fit"]),
        ([1, 2, 3], [1, 2, 7], ["7 (row 2) is not among the labels of the fit, 1, 2, 3."]),
        ([1, 2, 3], ["1", "2", "3"], ["expected whole numbers, as at fit (such as 1); got strings, '1' in row 0"]),
        ([1, 2, 3], [1.0, 2.0, 3.0], ["expected whole numbers, as at fit (such as 1); got numbers, 1.0 in row 0"]),
        ([0, 1, 1], [True, False, True], ["expected whole numbers", "got True and False"]),
        ([0.5, 1.5, 2.5], ["1", "2", "3"], ["expected numbers, as at fit; got '1' in row 0"]),
        (["a", "b", "a"], ["a", None, None], ["got None in row 1, and in 1 more rows", "'unknown'"]),
        (["a", "b", "a"], pl.Series(["a", None, "b"]), ["got nothing in row 1."]),
        (["a", "b", "a"], np.array(["a", np.nan, "b"], object), ["got nan in row 1."]),
        (["a", "b", "a"], np.ma.array(["a", "b", "a"], mask=[0, 0, 1]), ["got None in row 2."]),
        (["a", "b", "a"], pd.Series(["a", "b", pd.NA]), ["in row 2."]),
        ([0.5, 1.5, 2.5], [0.5, np.inf, 1], ["a finite number", "got inf in row 1."]),
        ([0.5, 1.5, 2.5], [0.5, 1.0, 1e39], ["a finite number", "got 1e+39 in row 2."]),
        ([0.5, 1.5, 2.5], [0.5, 1.5], ["expected the context of 3 rows, one for each; got that of 2."]),
        ([0.5, 1.5, 2.5], [], ["expected the context of one row or more; got none."]),
        (["a", "b", "a"], ["a", 1, "b"], ["of one type in a column; got 1 in row 1, after 'a'."]),
        (["a", "b", "a"], [b"a", b"b", b"a"], ["expected strings, whole numbers, booleans or", "b'a' in row 0"]),
        (["a", "b", "a"], [["a"], ["a", "b"], []], ["got ['a'] in row 0"]),
        (["a", "b", "a"], np.zeros((3, 2, 2)), ["got the shape (3, 2, 2)"]),
        (["a", "b", "a"], [["a", "b"]] * 3, ["a matrix is taken for numbers, and column 0 has strings ('a')"]),
        (["a", "b", "a"], np.zeros((3, 2)), ["expected 1 column, as at fit; got 2 columns without names."]),
        (np.zeros((3, 2)), np.zeros(3), ["expected 2 columns, as at fit; got 1 column without names."]),
        (FRAME, np.zeros((3, 2)), ["expected a data frame with 'digit', 'size', as at fit; got 2 columns"]),
        (FRAME, FRAME.rename({"size": "Size"}), ["missing 'size'; unexpected 'Size'"]),
        (FRAME, {"digit": 5, "size": 1.0}, ["5 (row 0, column 'digit') is not among the labels of the fit, 1, 2."]),
        (FRAME, {"digit": 1, "size": None}, ["got None in row 0, column 'size'"]),
        (FRAME, {"digit": [1, 2], "size": 1.0}, ["expected columns of one length; got '1', '2'."]),
        (FRAME, {"digit": 1, "size": np.zeros((3, 2))}, [", column 'size': expected one value a row"]),
        (FRAME, FRAME.lazy(), ["a LazyFrame. Call .collect() on it first."]),
        (FRAME, pd.DataFrame([[1, 2, 3]] * 3, columns=["digit", "size", "size"]), ["column names must differ"]),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(fitted, context, words):
    schema = ContextSchema.learn(fitted, 3)
    with pytest.raises(DataError) as caught:
        schema.encode(context, 3, "context_valid")
    assert str(caught.value).startswith("context_valid")
    for word in words:
        assert word in str(caught.value)


def test_labels_by_the_thousand_are_refused():
    with pytest.raises(DataError, match=r"1,001 different whole numbers, and labels can be at most 1,000. Give quant"):
        ContextSchema.learn(np.arange(1001), 1001)
    assert ContextSchema.learn(np.arange(1001.0), 1001).size == 1


def test_a_context_at_fit_is_one_for_each_row():
    with pytest.raises(DataError, match="expected the context of 300 rows, one for each; got that of 1"):
        om.VAE(**SMALL).fit(X, context="a")
    with pytest.raises(DataError, match=r"context: .* got that of 299"):
        om.VAE(**SMALL).fit(X, context=CONTEXT[:-1])
    with pytest.raises(DataError, match="there is no X_valid"):
        om.VAE(**SMALL).fit(X, context=CONTEXT, context_valid=CONTEXT)
    with pytest.raises(DataError, match="context_valid: the model was fitted with a context and needs that"):
        om.VAE(**SMALL).fit(X, context=CONTEXT, X_valid=X)


def test_a_model_is_asked_with_a_context_just_where_it_has_one(conditional):
    for ask in (conditional.transform, conditional.score_samples, conditional.reconstruct, conditional.diagnose):
        with pytest.raises(
            DataError, match="context: the model was fitted with a context and needs that of these rows"
        ):
            ask(X)
    for ask in (conditional.sample, lambda: conditional.inverse_transform(np.zeros((2, 1)))):
        with pytest.raises(DataError, match="give context="):
            ask()
    plain = om.VAE(**SMALL).fit(X)
    with pytest.raises(DataError, match=r"context: the model was fitted without a context\. Leave it out"):
        plain.sample(3, context="a")
    with pytest.raises(DataError, match="fitted without a context"):
        plain.score_samples(X, context=CONTEXT)


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ([np.timedelta64(1, "s")] * 4, r"expected strings, whole numbers, .* got np.timedelta64\(1,'s'\) in row 0"),
        ([np.ma.array([1.0, 2.0], mask=[False, True])] * 4, "got nan in row 0, column 1, and in 3 more rows"),
    ],
)
def test_times_and_what_is_masked_in_a_list_are_refused(context, said):
    with pytest.raises(DataError, match=said):
        ContextSchema.learn(context, 4)


def test_a_number_far_beyond_what_was_learned_is_as_far_as_numbers_go():
    column = Covariate(0.0, 1e-308)  # RuntimeWarnings are errors here
    found = column.encode(np.array([1e3, -1e3, 0.0]), "context", "")
    assert found.ravel().tolist() == [1e15, -1e15, 0.0]

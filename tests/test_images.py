"""Images: arrays of any numbers and folders of pictures, and every way to get them wrong."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import omokage as om
from omokage.data import Images
from omokage.data.kinds.images import ImageSchema, ImageTable, read_images
from omokage.errors import DataError, DataTypeError, FileFormatError, ParameterError
from omokage.files.pictures import write_pictures

SMALL = {"latent_dim": 2, "hidden": (6,), "network": "mlp", "epochs": 2, "batch_size": 10, "verbose": 0}
N, H, W = 20, 4, 6


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){re.escape(part)})" for part in parts))


def pictures(channels=None, seed=0, count=N, height=H, width=W):
    """Return pictures of 256 grey levels, float32 in [0, 1], of which the first column is black."""
    shape = (count, height, width) if channels is None else (count, height, width, channels)
    levels = np.random.default_rng(seed).integers(0, 256, shape)
    levels[:, :, 0] = 0
    return levels.astype(np.float32) / 255


@pytest.fixture(scope="module")
def fitted():
    return om.VAE(**SMALL, data="images").fit(pictures())


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path / "new", pictures(seed=1), [f"part/{number}.png" for number in range(N)])
    return tmp_path / "new"


def answers(model, X):
    return {
        **model.terms(X, samples=4),
        "log_likelihood": model.log_likelihood(X, samples=4),
        "transform": model.transform(X),
        "reconstruct": model.reconstruct(X),
        "drawn": model.reconstruct(X, sample=True, seed=3),
        "entry_scores": model.entry_scores(X, samples=4),
    }


# ------------------------------------------------------------------------------------------------------- what is one


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_what_comes_out_has_the_shape_of_what_went_in(channels):
    X = pictures(channels)
    model = om.VAE(**SMALL, data="images").fit(X)
    assert model.schema_.shape == (H, W, channels or 1)
    assert model.schema_.flat == (channels is None)
    assert model.n_features_in_ == H * W * (channels or 1)
    entries = model.entry_scores(X, samples=4)
    assert model.reconstruct(X).shape == entries.shape == X.shape
    assert model.sample(3).shape == model.sample(3, mean=True).shape == (3, *X.shape[1:])
    assert model.inverse_transform(np.zeros((5, 2))).shape == (5, *X.shape[1:])


def test_an_axis_of_one_channel_makes_no_other_difference(fitted):
    one = om.VAE(**SMALL).fit(pictures()[..., None])  # "auto" takes four axes for images
    for name, values in answers(fitted, pictures()).items():
        np.testing.assert_array_equal(np.reshape(answers(one, pictures())[name], values.shape), values, err_msg=name)
    assert one.reconstruct(pictures()).shape == (N, H, W, 1)


def test_images_are_the_flat_vectors_to_a_network_of_them(fitted):
    """A mean picture is taken away and all pixels share a scale, as for columns that fill [0, 1]."""
    flat = om.VAE(**SMALL).fit(pictures().reshape(N, -1))
    same = {"rtol": 1e-5, "atol": 1e-5}
    for name in ("transform", "reconstruct", "score_samples"):
        values = getattr(flat, name)(pictures().reshape(N, -1))
        found = getattr(fitted, name)(pictures())
        np.testing.assert_allclose(np.reshape(found, values.shape), values, **same, err_msg=name)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_grey_levels_of_any_type_are_scored_in_their_unit(dtype, fitted):
    """A density of the levels is that of them over 256, divided by 256 for each pixel."""
    levels = np.rint(pictures() * 255).astype(dtype)
    model = om.VAE(**SMALL, data="images", standardize="scale").fit(levels)
    unit = om.VAE(**SMALL, data="images", standardize="scale").fit(levels / 256)
    expected = unit.score_samples(levels / 256) - H * W * np.log(256)
    np.testing.assert_allclose(model.score_samples(levels), expected, rtol=1e-6)
    assert om.VAE(**SMALL, data="images").fit(levels).recipe_.standardize == "range"  # what "auto" does
    assert fitted.recipe_.standardize == "center"
    assert type(fitted.recipe_.likelihood).__name__ == "Gaussian"


def test_each_channel_has_a_scale_and_all_its_pixels_share_it():
    X = pictures(3) * [1, 10, 100]
    X[..., 2] = 7  # constant
    schema = ImageTable(X, None, Images()).schema("scale")
    scale = schema.event.unit
    assert scale.shape == (H, W, 3)
    assert (scale == scale[0, 0]).all()
    varying = X[:, :, 1:, :2]
    np.testing.assert_allclose(scale[0, 0, :2], np.sqrt(varying.var(0).mean((0, 1))), rtol=1e-5)
    np.testing.assert_allclose(scale[0, 0, 2], np.sqrt(varying.var(0).mean()), rtol=1e-5)
    assert np.isfinite(schema.encode(X.reshape(N, -1))).all()
    np.testing.assert_allclose(schema.decode(schema.encode(X.reshape(N, -1))), X, atol=1e-4)


def test_constant_pixels_stay_as_they_are():
    X = np.where(np.arange(W) == 0, 200, np.rint(pictures() * 100))
    model = om.VAE(**{**SMALL, "epochs": 100}, data="images").fit(X)
    np.testing.assert_allclose(model.reconstruct(X)[:, :, 0], 200, atol=10)
    assert np.isfinite(model.score_samples(X)).all()


def test_bits_get_a_bernoulli_and_other_values_are_named():
    bits = np.rint(pictures())
    model = om.VAE(**SMALL, data="images").fit(bits)
    assert type(model.recipe_.likelihood).__name__ == "Bernoulli"
    assert set(np.unique(model.sample(5))) <= {0.0, 1.0}
    bits[3, 2, 5] = 9
    with refused(DataError, "from 0 to 1", "got 9 in image 3, row 2, column 5"):
        model.score_samples(bits)
    grey = om.VAE(**SMALL, data="images", likelihood="continuous_bernoulli").fit(pictures())
    assert grey.recipe_.standardize is False
    with refused(DataError, "needs values from 0 to 1"):
        om.VAE(**SMALL, data="images", likelihood="bernoulli").fit(pictures() * 255)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("kind", [om.VAE, om.AutoEncoder])
def test_denoising_and_plain_autoencoders_take_images(kind, network):
    X = pictures(3, height=8, width=8)
    model = kind(**{**SMALL, "network": network}, objective="denoising").fit(X)
    errors = np.square(model.reconstruct(X) - X).sum((1, 2, 3))
    if kind is om.AutoEncoder:
        np.testing.assert_allclose(-model.score_samples(X), errors, rtol=1e-4)
        np.testing.assert_allclose(model.entry_scores(X).sum((1, 2, 3)), model.terms(X)["reconstruction"], rtol=1e-4)
    assert np.isfinite(errors).all()


@pytest.mark.optimised
def test_an_image_has_the_answers_that_it_has_alone(fitted):
    X = pictures(seed=2)
    for name, values in answers(fitted, X).items():
        for number in (0, 7):
            np.testing.assert_array_equal(answers(fitted, X[[number]])[name][0], values[number], err_msg=name)


def test_order_and_weights(fitted):
    X = pictures()
    turned = om.VAE(**SMALL, data="images").fit(X[::-1])
    np.testing.assert_array_equal(turned.transform(X), fitted.transform(X))
    weight = np.resize([2, 1, 0, 3], N)
    weighted = om.VAE(**SMALL, data="images").fit(X, sample_weight=weight)
    repeated = om.VAE(**SMALL, data="images").fit(np.repeat(X, weight, axis=0))
    np.testing.assert_array_equal(weighted.transform(X), repeated.transform(X))
    early = om.VAE(**SMALL, data="images", early_stopping=True).fit(X)
    assert "validation_loss" in early.history_[-1]


# ----------------------------------------------------------------------------------------------------- files, folders


def test_a_saved_model_gives_equal_answers(fitted, tmp_path):
    loaded = om.load(fitted.save(tmp_path / "m"))
    for name, values in answers(fitted, pictures()).items():
        np.testing.assert_array_equal(answers(loaded, pictures())[name], values, err_msg=name)
    np.testing.assert_array_equal(loaded.sample(4), fitted.sample(4))
    assert " of images of " in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


def test_a_folder_of_pictures_is_the_array(fitted, folder, tmp_path):
    X = pictures(seed=1)
    write_pictures(tmp_path / "train", pictures())
    model = om.VAE(**SMALL).fit(tmp_path / "train", X_valid=folder)
    assert np.isfinite(model.history_[-1]["validation_loss"])
    assert (model.schema_.shape, model.schema_.flat) == ((H, W, 1), False)
    loaded = om.load(model.save(tmp_path / "m"))
    for name, values in answers(fitted, X).items():
        for found in (model, loaded):
            np.testing.assert_allclose(np.squeeze(answers(found, folder)[name]), values, rtol=1e-5, atol=1e-6)


def test_pictures_of_other_sizes_and_colours_are_read_as_at_fit(tmp_path):
    settings = {**SMALL, "data": Images(size=(H, W), colours="rgb")}
    write_pictures(tmp_path / "large", pictures(3, height=9, width=7))
    model = om.VAE(**settings).fit(tmp_path / "large")
    assert model.schema_.shape == (H, W, 3)
    write_pictures(tmp_path / "grey", pictures(height=5, width=5))
    loaded = om.load(model.save(tmp_path / "m"))
    assert loaded.data == Images(size=(H, W), colours="rgb")
    assert loaded.reconstruct(tmp_path / "grey").shape == (N, H, W, 3)
    # A model of colours that were found, not asked for, takes grey pictures too: they are colours without loss.
    write_pictures(tmp_path / "colours", pictures(3))
    found = om.VAE(**SMALL).fit(tmp_path / "colours")
    write_pictures(tmp_path / "same", pictures())
    assert found.transform(tmp_path / "same").shape == (N, 2)
    with refused(DataError, f"expected images of {H}×{W} pixels and 3 channels", "got 5×5 pixels and 3 channels"):
        found.transform(tmp_path / "grey")
    grey = om.VAE(**SMALL).fit(tmp_path / "same")
    with refused(DataError, "1 channel,", "got 4×6 pixels and 3 channels", "colours='grey'"):
        grey.transform(tmp_path / "colours")


def in_mode(mode, seed):
    """Return a picture of Pillow in a mode, which PNG or TIFF keeps."""
    levels = np.random.default_rng(seed).integers(0, 256, (H, W, 4), np.uint8)
    match mode:
        case "I;16":
            return Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
        case "F":
            return Image.fromarray(levels[..., 0].astype(np.float32) / 255)
        case "P":
            return Image.fromarray(levels[..., :3]).quantize(9)
    return Image.fromarray(levels, "RGBA").convert(mode)


@pytest.mark.parametrize(
    "modes",
    [("1",), ("L",), ("P",), ("LA",), ("RGB",), ("RGBA",), ("I;16",), ("F",), ("CMYK",), ("L", "P"), ("1", "I;16")],
)
def test_pictures_of_pillow_are_those_of_a_folder(modes, tmp_path):
    images = [in_mode(modes[number % len(modes)], number) for number in range(4)]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.{'tif' if image.mode in ('F', 'CMYK') else 'png'}")
    reopened = [Image.open(path) for path in sorted(tmp_path.iterdir())]
    for colours in ("auto", "grey", "rgb"):
        kind = Images(colours=colours, size=(3, 5))
        expected, shape, _ = read_images(tmp_path, kind, "X")
        for given in (images, tuple(images), reopened):
            found, its_shape, _ = read_images(given, kind, "X")
            np.testing.assert_array_equal(found, expected)
            assert its_shape == shape


def test_a_model_takes_pictures_of_pillow_and_folders_alike(fitted, folder):
    images = [Image.open(folder / "part" / f"{number}.png") for number in range(N)]
    np.testing.assert_allclose(fitted.score_samples(images), fitted.score_samples(pictures(seed=1)), rtol=1e-5)
    model = om.VAE(**SMALL).fit(images)
    np.testing.assert_array_equal(model.score_samples(images), om.VAE(**SMALL).fit(folder).score_samples(folder))


def test_pictures_of_pillow_that_cannot_be_read(tmp_path):
    grey = Image.new("L", (W, H))
    with refused(DataError, "X: picture 1: expected a picture of Pillow", "got ndarray"):
        om.VAE(**SMALL).fit([grey, np.zeros((H, W))])
    with refused(DataError, "differ in size", "X: picture 1 has 3 × 3"):
        om.VAE(**SMALL).fit([grey, Image.new("L", (3, 3))])
    with refused(FileFormatError, "X: picture 1: whole numbers of 32 bits, for which no value is white"):
        om.VAE(**SMALL).fit([grey, Image.new("I", (W, H))])
    in_mode("RGB", 0).save(tmp_path / "0.png")
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    with refused(FileFormatError, "X: picture 1: the picture is damaged or cut short"):
        om.VAE(**SMALL).fit([grey, Image.open(tmp_path / "0.png")])


@pytest.mark.parametrize("data", ["auto", "images", "vectors", "sequences"])
def test_pictures_that_are_no_list_of_them_are_told_to_be_one(data):
    picture = Image.new("P", (W, H))
    cases = [picture, [[picture]]] + [[picture] * 2] * (data in ("vectors", "sequences"))
    for X in cases:
        with refused(DataError, "X: expected numbers, got ", "picture", "[picture, ...], with data='images'"):
            om.VAE(**{**SMALL, "network": "auto"}, data=data).fit(X)


def test_folders_that_cannot_be_read(folder, tmp_path):
    Image.new("L", (3, 3)).save(folder / "part" / "99.png")
    with refused(DataError, "differ in size", "99.png has 3 × 3", "size=(height, width)"):
        om.VAE(**SMALL).fit(folder)
    (folder / "part" / "99.png").write_bytes(b"no picture")
    with refused(FileFormatError, "99.png: not a picture that omokage reads"):
        om.VAE(**SMALL).fit(folder)
    (tmp_path / "empty").mkdir()
    with refused(FileFormatError, "no pictures in it"):
        om.VAE(**SMALL).fit(tmp_path / "empty")
    (folder / "part" / "99.png").unlink()
    with refused(DataError, "expected sequences, "):
        om.VAE(latent_dim=2, data="sequences", verbose=0).fit(folder)


def test_files_of_arrays_are_images_where_they_have_four_axes(fitted, tmp_path):
    np.save(tmp_path / "three.npy", pictures())
    np.save(tmp_path / "four.npy", pictures()[..., None])
    four = om.VAE(**SMALL).fit(tmp_path / "four.npy")
    three = om.VAE(**SMALL, data="images").fit(tmp_path / "three.npy")
    for model, name in ((four, "four.npy"), (three, "three.npy")):
        np.testing.assert_array_equal(model.transform(tmp_path / name), fitted.transform(pictures()))


# ---------------------------------------------------------------------------------------------------------- bad input

BAD = {
    "nan": (np.where(np.arange(N)[:, None, None] == 3, np.nan, pictures()), DataError, [
        "nan in image 3, row 0, column 0", "23 more", "leave these images out"]),
    "infinity": (np.where(np.arange(N)[:, None, None] == 3, np.inf, pictures()), DataError, ["image 3, row 0"]),
    "two axes": (np.ones((9, 5)), DataError, ["(n, height, width, channels)", "shape (9, 5)"]),
    "five axes": (np.ones((9, 5, 5, 3, 1)), DataError, ["shape (9, 5, 5, 3, 1)"]),
    "none": (np.ones((0, 5, 5)), DataError, ["shape (0, 5, 5)"]),
    "no pixels": (np.ones((5, 0, 5)), DataError, ["shape (5, 0, 5)"]),
    "one": (pictures()[:1], DataError, ["at least 2 images, got 1"]),
    "text": (np.full((3, 2, 2), "x"), DataTypeError, ["expected numbers, got 'x'"]),
    "objects": (np.full((3, 2, 2), None), DataTypeError, ["expected numbers, got objects"]),
    "unlike": ([np.ones((3, 4)), np.ones((4, 4))], DataError, ["images of one size"]),
    "constant": (np.ones((5, 3, 3)), DataError, ["every column is constant"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_data_that_cannot_be_used(case):
    X, error, parts = BAD[case]
    with refused(error, *parts):
        om.VAE(**SMALL, data="images").fit(X)


def test_images_other_than_at_fit(fitted):
    for X, parts in [
        (pictures(height=5), ["expected images of 4×6 pixels and 1 channel, as at fit", "got 5×6"]),
        (pictures(height=6, width=4), ["got 6×4"]),
        (pictures(3), ["got 4×6 pixels and 3 channels"]),
        (pictures().reshape(N, -1), ["expected images", "shape (20, 24)"]),
    ]:
        with refused(DataError, *parts):
            fitted.score_samples(X)
        with refused(DataError, "X_valid: ", *parts):
            om.VAE(**SMALL, data="images").fit(pictures(), X_valid=X)
    again = om.VAE(**SMALL, data="images", warm_start=True).fit(pictures())
    with refused(DataError, "got 6×4"):
        again.fit(pictures(height=6, width=4))
    with refused(DataError, "expected images, as at the fit before; got sequences"):
        again.set_params(data="sequences").fit(pictures())
    with refused(DataError, "no missing entries"):
        fitted.impute(pictures())
    with refused(DataError, "only sequences have steps"):
        fitted.step_scores(pictures())
    with refused(ParameterError, "length=5: only sequences have one"):
        fitted.sample(3, length=5)


def test_settings_that_cannot_be():
    assert Images(size=[3, 4]) == Images(size=(3, 4))  # as a configuration file has it
    for size in (5, (3,), (3, 4, 5), (0, 4), (3.0, 4), ("3", "4"), "34"):
        with refused(ParameterError, "size=", "expected (height, width)"):
            Images(size=size)
    with refused(ParameterError, "colours='gray'): expected 'auto', 'grey' or 'rgb'"):
        Images(colours="gray")


def test_a_damaged_schema_is_refused(fitted):
    whole = fitted.schema_.to_json()
    assert ImageSchema.from_json(json.loads(json.dumps(whole))).to_json() == whole
    for name, value in {"shape": [4, 5, 1], "columns": {}, "size": [1], "colours": "all", "flat": None}.items():
        if name != "flat":
            with pytest.raises(FileFormatError, match=r"schema\.json"):
                ImageSchema.from_json({**whole, name: value})
        with pytest.raises(FileFormatError, match=r"schema\.json"):
            ImageSchema.from_json({key: entry for key, entry in whole.items() if key != name})


def test_pixels_are_called_by_row_and_column():
    flat, shape, no_axis = read_images(pictures(3), Images(), "X")
    assert (flat.shape, shape, no_axis) == ((N, H * W * 3), (H, W, 3), False)
    schema = ImageTable(pictures(3), None, Images()).schema("center")
    assert schema.column(W * 3 + 5) == "row 1, column 1, channel 2"

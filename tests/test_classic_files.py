"""Chainer's layout: read against a forward pass in NumPy, written whole, refused where it is something else."""

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from omokage import classic, storage
from omokage.classic import chainer_files
from omokage.errors import FileFormatError

D, HIDDEN = 12, [8, 5, 3]
X = np.random.default_rng(0).random((20, D)).astype(np.float32)


def chainer_model(use_BN, is_gauss_dist):
    """Return arrays such as Chainer's save_npz writes of the documented program, with random values."""
    random = np.random.default_rng(5)
    arrays = {}

    def linear(name, outputs, inputs):
        arrays[f"{name}/W"] = random.normal(size=(outputs, inputs)).astype(np.float32)
        arrays[f"{name}/b"] = random.normal(size=outputs).astype(np.float32)

    for side, sizes in (("enc", [D, *HIDDEN[:-1]]), ("dec", HIDDEN[::-1])):
        for number, (inputs, outputs) in enumerate(pairwise(sizes)):
            linear(f"{side}{number}", outputs, inputs)
            if use_BN:
                name = f"{side}{number}_BN"
                for key in ("gamma", "beta", "avg_mean"):
                    arrays[f"{name}/{key}"] = random.normal(size=outputs).astype(np.float32)
                # Small enough for the epsilon to be seen.
                arrays[f"{name}/avg_var"] = random.uniform(1e-4, 1, outputs).astype(np.float32)
                arrays[f"{name}/N"] = np.array(0)
    linear("enc_mu", HIDDEN[-1], HIDDEN[-2])
    linear("enc_var", HIDDEN[-1], HIDDEN[-2])
    linear("dec_out1", D, HIDDEN[0])
    if is_gauss_dist:
        linear("dec_out2", D, HIDDEN[0])
    return arrays


def forward(arrays, side, h):
    """Return the features behind the hidden layers, in double precision."""
    arrays = {key: array.astype(float) for key, array in arrays.items()}
    h = h.astype(float)
    for number in range(len(HIDDEN) - 1):
        name = f"{side}{number}"
        h = h @ arrays[f"{name}/W"].T + arrays[f"{name}/b"]
        if f"{name}_BN/gamma" in arrays:
            gamma, beta, mean, var = (arrays[f"{name}_BN/{key}"] for key in ("gamma", "beta", "avg_mean", "avg_var"))
            h = gamma * (h - mean) / np.sqrt(var + 2e-5) + beta
        h = np.tanh(h)
    return h


def linear(arrays, name, h):
    return h @ arrays[f"{name}/W"].T.astype(float) + arrays[f"{name}/b"]


def write(folder, arrays):
    Path(folder).mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "model.npz", **arrays)


def make(use_BN=True, is_gauss_dist=False, **settings):
    return classic.VAE(D, HIDDEN, use_BN=use_BN, is_gauss_dist=is_gauss_dist, **settings)


@pytest.mark.parametrize("use_BN", [False, True])
@pytest.mark.parametrize("is_gauss_dist", [False, True])
def test_a_file_of_chainers_gives_what_chainer_computes(tmp_path, use_BN, is_gauss_dist):
    arrays = chainer_model(use_BN, is_gauss_dist)
    write(tmp_path, arrays)
    vae = make(use_BN, is_gauss_dist, floor=0.2)
    vae.load(tmp_path)
    feat, reconst, m = vae.reconst(X, unregular=True)
    h = forward(arrays, "enc", X)
    mu, log_variance = linear(arrays, "enc_mu", h), linear(arrays, "enc_var", h)
    np.testing.assert_allclose(feat, mu, rtol=1e-4, atol=1e-4)
    kl = 0.5 * (mu**2 + np.exp(log_variance) - 1 - log_variance).sum(1)
    terms = vae.terms(X)
    np.testing.assert_allclose(terms["D"], kl, rtol=1e-3)
    g = forward(arrays, "dec", mu)
    first = linear(arrays, "dec_out1", g)
    if is_gauss_dist:
        v = 1 / (1 + np.exp(-linear(arrays, "dec_out2", g)))
        variance = 0.2**2 + np.exp(v)
        np.testing.assert_allclose(reconst, first, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(m, 0.5 * (X - first) ** 2 / variance, rtol=5e-3, atol=1e-4)
        np.testing.assert_allclose(terms["A"], 0.5 * np.log(2 * np.pi * variance).sum(1), rtol=1e-4)
    else:
        rate = 1 / (1 + np.exp(-first))
        np.testing.assert_allclose(reconst, rate, rtol=1e-3, atol=1e-4)
        deviance = X * np.log(X / rate) + (1 - X) * np.log((1 - X) / (1 - rate))
        np.testing.assert_allclose(m, deviance, rtol=5e-3, atol=1e-3)
        np.testing.assert_allclose(terms["A"], -(X * np.log(X) + (1 - X) * np.log(1 - X)).sum(1), rtol=1e-4)


@pytest.mark.parametrize("is_gauss_dist", [False, True])
def test_what_is_written_has_chainers_keys_shapes_and_types(tmp_path, is_gauss_dist):
    vae = make(is_gauss_dist=is_gauss_dist, folder=tmp_path)
    with np.load(tmp_path_file(tmp_path, vae), allow_pickle=False) as file:
        written = {key: (file[key].shape, file[key].dtype.kind) for key in file}
    like = chainer_model(True, is_gauss_dist)
    assert written == {key: (array.shape, array.dtype.kind) for key, array in like.items()}


def tmp_path_file(folder, vae):
    content = chainer_files.to_bytes(chainer_files.arrays(vae.model))
    storage.replace_file(folder / "sub" / "model.npz", content)
    return folder / "sub" / "model.npz"


def test_arrays_go_there_and_back(tmp_path):
    arrays = chainer_files.arrays(make().model)
    changed = {key: array + 1 for key, array in arrays.items()}
    back = chainer_files.arrays(chainer_files.with_arrays(make().model, changed))
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[key], arrays[key] + 1) for key in arrays)


def broken(change):
    arrays = chainer_model(True, False)
    change(arrays)
    return arrays


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update({"enc0/W": a["enc0/W"].T}), r"enc0/W is \(12, 8\), expected \(8, 12\)"),
        (lambda a: a.pop("enc_mu/b"), "missing 'enc_mu/b'"),
        (lambda a: a.update({"extra/W": a["enc0/W"]}), "unexpected 'extra/W'"),
        (lambda a: a["dec0/b"].fill(np.nan), "dec0/b holds values that are not finite"),
        (lambda a: a.update({"enc0/b": np.array(list("abcdefgh"))}), "enc0/b holds <U1, expected numbers"),
        (lambda a: a.update({"dec_out2/W": a["dec_out1/W"]}), "The file is of a VAE with is_gauss_dist=True"),
        (lambda a: [a.pop(key) for key in list(a) if "_BN" in key], "The file is of a VAE with use_BN=False"),
        (lambda a: a.update({"enc0/b": np.array([None])}), "not a sound .npz file"),
    ],
)
def test_a_file_of_another_model_is_refused(tmp_path, change, message):
    write(tmp_path, broken(change))
    vae = make()
    with pytest.raises(FileFormatError, match=message) as caught:
        vae.load(tmp_path)
    assert str(tmp_path / "model.npz") in str(caught.value)


def test_what_is_no_such_file_is_refused(tmp_path):
    place = tmp_path / "model.npz"
    write(tmp_path, chainer_model(True, False))
    whole = place.read_bytes()
    np.save(tmp_path / "array.npy", X)
    for content, message in [
        (whole[: len(whole) // 2], "not a sound .npz file"),
        (whole[:1000] + bytes(50) + whole[1050:], "not a sound .npz file"),
        (b"", "not a sound .npz file"),
        (pickle.dumps({"enc0/W": X}), "not a sound .npz file"),
        ((tmp_path / "array.npy").read_bytes(), "one array, not an .npz file"),
    ]:
        place.write_bytes(content)
        with pytest.raises(FileFormatError, match=message):
            make().load(tmp_path)
    place.rename(tmp_path / "encoder.npz")
    with pytest.raises(FileFormatError, match=r"model\.npz: does not exist; there is 'encoder\.npz'"):
        make().load(tmp_path)
    with pytest.raises(FileFormatError, match=r"does not exist"):
        make().load(tmp_path / "nowhere")


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    place = tmp_path / "model.npz"
    storage.replace_file(place, b"old")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(FileFormatError, match="cannot be written"):
        storage.replace_file(place, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
    assert place.read_bytes() == b"old"

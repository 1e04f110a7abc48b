"""Bytes of another encoding in a text, which Python has as lone surrogates: refused before training, or kept."""

import os
import sys

import numpy as np
import pandas
import polars as pl
import pytest
from PIL import Image

import omokage as om
from omokage.errors import OmokageError
from omokage.files.writing import write_table

ODD = "caf\udce9"  # as Python decodes b"caf\xe9" of a file name or with errors="surrogateescape"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_pictures_keep_names_that_can_be_read_and_differ(command, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for name in (b"\xe9t\xe9.png", b"\xe8t\xe8.png", b"a.png"):
        Image.fromarray(random.integers(0, 255, (4, 4), np.uint8)).save(
            os.fsdecode(os.fsencode(pictures) + b"/" + name)
        )
    small = ["--latent-dim", "1", "--hidden", "4", "--epochs", "1", "--quiet"]
    assert command("fit", pictures, "--out", tmp_path / "m", *small)[0] == 0
    for name in ("score", "encode"):
        assert command(name, tmp_path / "m", pictures, "--out", tmp_path / "s.csv")[0] == 0
        assert set(pl.read_csv(tmp_path / "s.csv")["file"]) == {"a.png", "%E9t%E9.png", "%E8t%E8.png"}
    assert command("reconstruct", tmp_path / "m", pictures, "--out", tmp_path / "r")[0] == 0
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"a.png", "%E9t%E9.png", "%E8t%E8.png"}


@pytest.mark.parametrize(
    ("X", "context", "text"),
    [
        (pandas.DataFrame({ODD: [1.0, 2.0, 3.0]}), None, "X: .* as the name of a column"),
        (np.eye(3), ["a", ODD, "b"], r"context: .* in row 1"),
        (np.eye(3), {ODD: ["a", "b", "a"]}, r"context: .* as the name of a column"),
        (np.eye(3), pandas.DataFrame({"lot": ["a", "b", ODD]}), r"context: .* in row 2, column 'lot'"),
    ],
)
def test_names_and_labels_are_refused_before_training(X, context, text):
    with pytest.raises(OmokageError, match=text) as refused:
        om.VAE(latent_dim=1, hidden=(4,), epochs=1, verbose=0).fit(X, context=context)
    assert "encoding=" in str(refused.value)
    str(refused.value).encode()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_parquet_file_needs_a_path_in_unicode(tmp_path):
    path = tmp_path / f"{ODD}.parquet"
    with pytest.raises(OmokageError, match="Rename the file"):
        write_table(path, {"a": [1]})
    path.write_bytes(write_table(tmp_path / "a.parquet", {"a": [1]}).read_bytes())
    with pytest.raises(OmokageError, match="Rename the file"):
        om.read(path)


def test_options_are_text(tmp_path):
    path = write_table(tmp_path / "a.csv", {"a": [1]})
    with pytest.raises(OmokageError, match="missing: expected a list of texts in Unicode"):
        om.read(path, missing=[ODD])

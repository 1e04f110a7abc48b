"""Random command lines over all commands and flags, with files of many makes: a right answer, or a line that says why.

The lines are drawn from fixed seeds. They run within the process, since starting one takes longer than they do; what
they print, how they end and what is written is looked at as for a process.
"""

import bz2
import gzip
import io
import itertools
import lzma
import sys
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import omokage as om
from omokage import cli

pytestmark = pytest.mark.exhaustive

TINY = {"latent_dim": 2, "hidden": (4,), "epochs": 1, "batch_size": 16, "verbose": 0}
NAMES = ("温度", "b", "c")
ROWS = np.random.default_rng(0).normal(size=(30, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, 0.0]
IDS = [f"{number:03d}" for number in range(30)]
LABELS = np.arange(30) < 4
SERIES = np.random.default_rng(1).normal(size=(10, 6, 2))
SECONDS = 20


# ------------------------------------------------------------------------------------------------------------ files


def table():
    return pl.DataFrame({"id": IDS, **{name: ROWS[:, j] for j, name in enumerate(NAMES)}})


def text(frame=None, separator=",", decimal=".", header=True, end="\n"):
    frame = table() if frame is None else frame
    lines = [separator.join(frame.columns)] if header else []
    for row in frame.rows():
        cells = ["" if cell is None else str(cell) for cell in row]
        pairs = zip(cells, row, strict=True)
        cells = [cell.replace(".", decimal) if isinstance(value, float) else cell for cell, value in pairs]
        lines.append(separator.join(cells))
    return end.join(lines) + end


def long_table(holes=False):
    values = SERIES.copy()
    if holes:
        values[2, 3, 1] = np.nan
    frame = pl.DataFrame(
        {
            "series": np.repeat(np.arange(len(SERIES)), 6),
            "time": np.tile(np.arange(6), len(SERIES)),
            "x": values[:, :, 0].ravel(),
            "y": values[:, :, 1].ravel(),
        }
    )
    return frame.with_columns(pl.col("x", "y").fill_nan(None))


def good_files(folder):
    """Write files with the 30 rows in their order; return them with the flags that they need."""
    made, packed = {}, text().encode()

    def put(name, content, *flags):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        made[name] = flags

    put("plain.csv", packed)
    put("semicolon.csv", text(separator=";"))
    put("decimal.csv", text(separator=";", decimal=","))
    put("tabs.tsv", text(separator="\t"))
    put("bar.txt", text(separator="|"), "--separator", "|")
    put("crlf.csv", text(end="\r\n"))
    put("bom.csv", "\ufeff" + text())
    put("utf16.csv", text().encode("utf-16"))
    put("cp932.csv", text().encode("cp932"), "--encoding", "cp932")
    put("plain.csv.gz", gzip.compress(packed))
    put("plain.csv.bz2", bz2.compress(packed))
    put("plain.csv.xz", lzma.compress(packed))
    put("misnamed.csv", gzip.compress(packed))
    put("other order.csv", text(table().select("c", "id", "b", NAMES[0])))
    put("quoted.csv", text().replace("\n000,", '\n"000",'))
    put("blank.csv", text() + "\n\n")
    with zipfile.ZipFile(folder / "plain.csv.zip", "w") as file:
        file.writestr("plain.csv", packed)
    made["plain.csv.zip"] = ()
    table().write_parquet(folder / "plain.parquet")
    made["plain.parquet"] = ()
    table().with_columns(pl.col("b").cast(pl.Float32)).write_parquet(folder / "float32.parquet")
    made["float32.parquet"] = ()
    return made


def bad_files(folder):
    """Write files that cannot be used, or not whole; return their names."""
    frame, packed = table(), text().encode()
    contents = {
        "empty.csv": b"",
        "blank only.csv": b"\n\n\n",
        "header.csv": text(frame[:0]).encode(),
        "one.csv": text(frame[:1]).encode(),
        "hole.csv": text(frame.with_columns(b=pl.when(pl.col("id") != "003").then("b"))).encode(),
        "nan.csv": text().replace(str(ROWS[3, 1]), "NaN").encode(),
        "inf.csv": text().replace(str(ROWS[3, 1]), "inf").encode(),
        "word.csv": text().replace(str(ROWS[3, 1]), "broken").encode(),
        "huge.csv": text().replace(str(ROWS[3, 1]), "1e300").encode(),
        "less.csv": text(frame.drop("b")).encode(),
        "more.csv": text(frame.with_columns(d=1.5)).encode(),
        "renamed.csv": text(frame.rename({"b": "B"})).encode(),
        "twice.csv": text().replace(",b,c", ",b,b", 1).encode(),
        "all text.csv": text(frame.with_columns(b=pl.lit("x"))).encode(),
        "all empty.csv": text(frame.with_columns(b=pl.lit(None))).encode(),
        "constant.csv": text(frame.with_columns(pl.lit(1.0).alias(name) for name in NAMES)).encode(),
        "ragged.csv": packed.replace(b"\n005,", b"\n005,7,8,9,", 1),
        "short.csv": packed.replace(b"\n005,", b"\n005\n", 1),
        "quote.csv": packed.replace(b"\n005,", b'\n"005,', 1),
        "nul.csv": packed.replace(b"\n005,", b"\n0\x005,", 1),
        "bad byte.csv": packed.replace(b"\n005,", b"\n\xff5,", 1),
        "binary.csv": bytes(range(256)) * 20,
        "no header.csv": text(header=False).encode(),
        "long line.csv": b"a," * 5_000 + b"\n",
        "torn.csv.gz": gzip.compress(packed)[:-20],
        "no gzip.csv.gz": packed,
        "torn.parquet": (folder / "plain.parquet").read_bytes()[:-30],
        "no parquet.parquet": packed,
        "no array.npy": packed,
        "torn.npy": _npy(ROWS)[:-30],
        "objects.npy": _npy(np.array([[1, "a"]], dtype=object)),
        "text.npy": _npy(np.array([["a", "b"]])),
        "flat.npy": _npy(ROWS[:, 0]),
        "wide.npy": _npy(np.ones((5, 7))),
        "none.npy": _npy(np.ones((0, 3))),
        "deep.npy": _npy(np.ones((2, 2, 2, 2, 2))),
        "no zip.npz": packed,
        "several.npz": _npz(a=ROWS, b=ROWS),
        "nothing.npz": _npz(),
        "torn.idx": b"\0\0\x08\x03\0\0\0\xff\0\0\0\x02\0\0\0\x02\1\2",
        "lying.idx": b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        "unknown.xlsx": b"PK\3\4" + bytes(100),
        "no suffix": packed,
        "unknown.foo": packed,
        "settings.toml": b"latent_dim = 2",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    frame.with_columns(b=pl.concat_list("b")).write_parquet(folder / "lists.parquet")
    frame.with_columns(b=pl.lit(b"x")).write_parquet(folder / "bytes.parquet")
    frame.with_columns(b=pl.lit("x").cast(pl.Categorical)).write_parquet(folder / "category.parquet")
    frame.with_columns(b=pl.struct("b", "c")).write_parquet(folder / "structs.parquet")
    frame[:0].write_parquet(folder / "no rows.parquet")
    (folder / "no pictures").mkdir()
    (folder / "a folder.csv").mkdir()
    pictures = folder / "broken pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    more = ["lists.parquet", "bytes.parquet", "category.parquet", "structs.parquet", "no rows.parquet"]
    return [
        *contents,
        *more,
        "no pictures",
        "a folder.csv",
        "broken pictures",
        "there is none.csv",
        "-",
        "",
        "é" * 200,
    ]


def _npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with models and files."""
    folder = tmp_path_factory.mktemp("fuzz")
    frame = table().drop("id")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        om.VAE(**TINY).fit(frame).save(folder / "vae")
        om.AutoEncoder(**TINY).fit(ROWS).save(folder / "autoencoder")
        om.AnomalyDetector(om.VAE(**TINY), ensemble=2, verbose=0).fit(frame).save(folder / "detector")
        kind = om.data.Sequences(series="series", time="time")
        om.VAE(network="tcn", data=kind, **TINY).fit(long_table()).save(folder / "series")
        stream = om.data.Sequences(window=8)
        om.AnomalyDetector(om.VAE(network="tcn", data=stream, **TINY), ensemble=2, verbose=0).fit(
            long_table().drop("series", "time")
        ).save(folder / "stream")
        om.VAE(network="mlp", data="images", **TINY).fit(np.random.default_rng(3).uniform(size=(12, 4, 4))).save(
            folder / "pictures"
        )
    pictures = folder / "photos"
    pictures.mkdir()
    for number in range(5):
        values = np.random.default_rng(number).integers(0, 256, (4, 4), dtype=np.uint8)
        Image.fromarray(values).save(pictures / f"{number}.png")
    long_table().write_csv(folder / "long.csv")
    long_table(holes=True).write_csv(folder / "holes.csv")
    long_table().drop("series", "time").write_csv(folder / "stream.csv")
    table().with_columns(label=pl.Series(LABELS).cast(pl.Int8)).write_csv(folder / "labelled.csv")
    np.save(folder / "rows.npy", ROWS)
    np.save(folder / "series.npy", SERIES)
    return folder


# -------------------------------------------------------------------------------------------------------- the judge


class Lines:
    """Runs command lines, and keeps what they did that they must not do."""

    def __init__(self, monkeypatch):
        self.monkeypatch, self.problems, self.counts, self.slowest = monkeypatch, [], {}, []

    def run(self, words, given=b""):
        """Return the exit status and both texts."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
        with self.monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["omokage", *map(str, words)])
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
            patch.setattr(warnings, "formatwarning", warnings.formatwarning)
            try:
                cli.main()
                status = 0
            except SystemExit as ended:
                status = ended.code or 0
        for stream in streams:
            stream.flush()
        return (status, *(stream.buffer.getvalue().decode() for stream in streams))

    def __call__(self, folder, words, given=b"", out=None, rows=None, must=None):
        """Run a command line and judge what it did.

        Args:
            folder: Where hidden files would be left.
            words: The command line.
            given: Standard input.
            out: What it writes.
            rows: How many rows of answers are right; with their ids, where there are some.
            must: The exit status that is right, where one is.
        """
        line = " ".join(repr(str(word)) if " " in str(word) or not str(word) else str(word) for word in words)
        before = _content(out)
        hidden = set(folder.rglob(".*"))
        begun = time.perf_counter()
        try:
            status, shown, said = self.run(words, given)
        except BaseException as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "omokage" in f.filename]
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
            self.problem(f"{type(error).__name__} at {where}", line, " ".join(str(error).split())[:200])
            if isinstance(error, KeyboardInterrupt):
                raise
            return None
        self.counts[status] = self.counts.get(status, 0) + 1
        seconds = time.perf_counter() - begun
        self.slowest = sorted([*self.slowest, (round(seconds, 1), line)], reverse=True)[:5]
        if left := set(folder.rglob(".*")) - hidden:
            self.problem("left behind", line, str(sorted(left)))
        if status not in (0, 1):
            self.problem(f"status {status}", line, said[-300:])
        if must is not None and status != must:
            self.problem(f"status {status}, not {must}", line, said[-300:])
        lines = said.splitlines()
        odd = [one for one in lines if not one.startswith(("omokage: ", "  ", str(out or "\n")))]
        if odd:
            self.problem("not our line", line, str(odd)[:300])
        if status == 1:
            if not lines or (len(lines) > 1 and any(not one.startswith(("omokage: ", "  ")) for one in lines)):
                self.problem("lines", line, said[-400:])
            if _content(out) != before:
                self.problem("written in spite of an error", line, said[-200:])
        elif status == 0 and out is not None:
            self._check(line, out, rows)
        return status, shown, said

    def _check(self, line, out, rows):
        if not out.exists():
            self.problem("nothing written", line, "")
        elif rows is not None and out.suffix in (".csv", ".parquet"):
            text = pl.read_csv(out, infer_schema=False) if out.suffix == ".csv" else pl.read_parquet(out)
            count = rows if isinstance(rows, int) else len(rows)
            if len(text) != count:
                self.problem("number of rows", line, f"{len(text)}, not {count}")
            elif not isinstance(rows, int) and ("id" not in text.columns or text["id"].to_list() != list(rows)):
                self.problem("ids", line, f"{text.columns}")

    def problem(self, kind, text, what):
        self.problems.append((kind, text, what))

    def report(self):
        shown = [f"{sum(self.counts.values())} command lines, by exit status {self.counts}; slowest {self.slowest}"]
        for kind, group in itertools.groupby(sorted(self.problems), lambda one: one[0]):
            each = list(group)
            shown.append(f"{kind}: {len(each)}")
            shown += [f"    {text[:300]}\n        {what}" for _, text, what in each[:6]]
        return "\n".join(shown)


def _content(out):
    """Return what stands at a path."""
    if out is None or not out.exists():
        return None
    if out.is_dir():
        return {path.name: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    return out.read_bytes()


@pytest.fixture
def lines(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    found = Lines(monkeypatch)
    yield found
    print(found.report())
    assert not found.problems, found.report()


# --------------------------------------------------------------------------------------------------- the command lines


def test_files_of_every_make(lines, place, tmp_path):
    for name, flags in good_files(tmp_path).items():
        for command, model in (("score", "vae"), ("score", "detector"), ("encode", "vae"), ("reconstruct", "vae")):
            out = tmp_path / "answers" / f"{command}-{model}-{name}.csv"
            out.parent.mkdir(exist_ok=True)
            words = [command, place / model, tmp_path / name, "--out", out, "--id", "id", *flags]
            lines(out.parent, words, out=out, rows=IDS, must=0)
    answers = {}
    for path in sorted((tmp_path / "answers").glob("score-vae-*")):
        answers[path.name] = pl.read_csv(path, infer_schema=False).drop("id").cast(pl.Float64).to_numpy()
    right = answers["score-vae-plain.csv.csv"]
    for name, found in answers.items():
        assert np.allclose(found, right, rtol=1e-5 if "float32" in name else 0, atol=0), name


def test_files_that_cannot_be_used(lines, place, tmp_path):
    good_files(tmp_path)
    for number, name in enumerate(bad_files(tmp_path)):
        path = name if name in ("-", "") else tmp_path / name
        for command, model in (
            ("score", "vae"),
            ("score", "detector"),
            ("encode", "autoencoder"),
            ("reconstruct", "vae"),
            ("impute", "series"),
            ("score", "stream"),
            ("encode", "pictures"),
        ):
            out = tmp_path / "answers" / f"{number}-{command}-{model}.csv"
            out.parent.mkdir(exist_ok=True)
            ids = ("--id", "id") if number % 2 and model in ("vae", "detector") else ()
            lines(out.parent, [command, place / model, path, "--out", out, *ids], out=out)
        out = tmp_path / "answers" / f"{number}-model"
        lines(
            out.parent,
            ["fit", path, "--out", out, "--id", "id", "--epochs", 1, "--latent-dim", 2, "--hidden", 4, "--quiet"],
            out=out,
        )
        evaluated = ["evaluate", place / "detector", path, "--label-column", "b"]
        lines(out.parent, evaluated)


# Flags of each command with right and with odd values; those that every command has come last.
READING = {
    "--id": ("id", "none", "b", ""),
    "--separator": (",", ";", "", "ab", "\\t"),
    "--decimal": (".", ",", "x", ""),
    "--thousands": (",", "'", "", "."),
    "--encoding": ("utf-8", "cp932", "no such", "", "idna", "base64"),
    "--header": (None,),
    "--no-header": (None,),
    "--missing": ("NA", "", "-"),
    "--index": ("auto", "keep", "drop", "x"),
    "--array": ("a", ""),
    "--custom": ("a:b", "x", "", "os:getcwd", "omokage:VAE", ":"),
}
ODD = (
    "",
    "0",
    "-1",
    "1",
    "3",
    "1.5",
    "nan",
    "inf",
    "1e400",
    "9" * 30,
    "none",
    "true",
    "auto",
    "x",
    "7,8",
    ",",
    "é",
    "\x1b[2J",
    "--",
)
FLAGS = {
    "score": {
        **READING,
        "--by-step": (None,),
        "--window": ("8", *ODD),
        "--false-alarm-rate": ("0.5", *ODD),
        "--explain": ("2", *ODD),
        "--strict": (None,),
    },
    "encode": READING,
    "reconstruct": READING,
    "impute": READING,
    "evaluate": {**READING, "--label-column": ("label", "b", "id", "", "x")},
    "sample": {
        "-n": ("3", *ODD),
        "--length": ("4", *ODD),
        "--mean": (None,),
        "--seed": ("1", *ODD),
        "--custom": ("x",),
    },
    "info": {"--custom": ("x", "a:b")},
    "reproduce": {"--list": (None,), "--seed": ODD, "--out": ("",)},
}
DATA = (
    "labelled.csv",
    "long.csv",
    "holes.csv",
    "stream.csv",
    "rows.npy",
    "series.npy",
    "photos",
    "-",
    "vae",
    "no such",
)
OUT = ("a.csv", "a.parquet", "a.tsv", "a.npy", "a.html", "a", "a.xyz", "no such folder/a.csv", "")


def test_flags_of_every_command(lines, place, tmp_path):
    random = np.random.default_rng(1)

    def pick(values):
        return values[random.integers(len(values))]

    models = ("vae", "autoencoder", "detector", "series", "stream", "pictures", "no such", "photos", "labelled.csv")
    for number in range(400):
        command, folder = pick(list(FLAGS)), tmp_path / str(number)
        folder.mkdir()
        words = [command]
        if command != "reproduce":
            words.append(place / pick(models))
        if command not in ("sample", "info", "reproduce"):
            data = pick(DATA)
            words.append(data if data == "-" else place / data)
        out = None
        if command not in ("info", "reproduce") and random.random() < 0.95:
            name = pick(OUT)
            out = folder / name
            words += ["--out", out if name else ""]
        for flag in random.permutation(list(FLAGS[command]))[: random.integers(0, 4)]:
            value = pick(FLAGS[command][str(flag)])
            words += [str(flag)] if value is None else [str(flag), value]
        given = pick((b"", b"a", text().encode(), b"\xff\xfe\0", b"\n\n"))
        lines(folder, words, given, out=out if out != folder else None)


def test_settings_of_fit(lines, place, tmp_path):
    from omokage.commands.fit import _OF_DETECTORS, _OF_MODELS

    random = np.random.default_rng(2)
    tiny = ["--epochs", "1", "--latent-dim", "2", "--hidden", "4", "--batch-size", "16"]
    for number, (name, value) in enumerate(itertools.product([*_OF_MODELS, *_OF_DETECTORS], ODD)):
        if name == "epochs" and value == "9" * 30:  # as long as it was asked for
            continue
        flag = f"--{name.replace('_', '-')}"
        detector = name in _OF_DETECTORS
        task = ["--task", "detect"] if detector and random.random() < 0.8 else []
        model = ["--model", "autoencoder"] if not detector and random.random() < 0.2 else []
        folder = tmp_path / str(number)
        folder.mkdir()
        out = folder / "model"
        rows = "rows.npy" if random.random() < 0.9 else "labelled.csv"
        usual = [word for pair in zip(tiny[::2], tiny[1::2], strict=False) if pair[0] != flag for word in pair]
        lines(folder, ["fit", place / rows, "--out", out, "--quiet", *usual, *task, *model, flag, value], out=out)


def test_configurations(lines, place, tmp_path):
    texts = (
        "latent_dim = 2\nepochs = 1\nhidden = [4]\n",
        "latent_dim = 'x'\n", "latent_dim = nan\n", "verbose = 1\n", "verbose = 0\nepochs = 1\nhidden = [4]\n",
        "warm_start = true\n", "nothing = 1\n", "= 1\n", "\ufeffepochs = 1\n", "[data]\n", "[data]\nname = 'x'\n",
        "data = 1\n", "[data]\nname = 'images'\nsize = 3\n", "[likelihood]\nname = 'gaussian'\nscale = 'x'\n",
        "[likelihood]\nscale = 1\n", "[objective]\nname = 'elbo'\nbeta = 'x'\n",
        "[objective]\nname = 'elbo'\nbeta = -1\n", "[objective.objective]\nname = 'elbo'\n", "[[hidden]]\na = 1\n",
        "epochs = 2026-01-01\n", "hidden = [[4]]\n",
        "[prior]\nname = 'mixture'\ncomponents = 0\n", "[prior]\nname = 'mixture'\ncomponents = 1000000000000\n",
        "[epochs]\na = 1\n", "ensemble = 2\n", "[optimizer]\nname = 'adam'\n", "[network]\nname = 'gru'\n",
        "\0", "é = 1",
        "score = ['elbo', 'elbo']\n", "random_state = -1\n", "[posterior]\nname = 'flow'\nsteps = 1e9\n",
    )  # fmt: skip
    for number, text in enumerate(texts):
        for task in ([], ["--task", "detect"]):
            folder = tmp_path / f"{number}{len(task)}"
            folder.mkdir()
            (folder / "settings.toml").write_text(text, encoding="utf-8")
            words = [
                "fit",
                place / "rows.npy",
                "--out",
                folder / "model",
                "--config",
                folder / "settings.toml",
                "--quiet",
            ]
            if "epochs" not in text:
                words += ["--epochs", "1"]
            lines(folder, [*words, *task], out=folder / "model")

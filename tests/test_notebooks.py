"""What a notebook and an interactive session show: figures, results as HTML, names to complete."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import omokage as om
from omokage.detection.drift import Drift
from omokage.detection.explanation import Explanation
from omokage.diagnostics import Finding, Findings, diagnose
from omokage.tables import html_table


def test_the_face_has_its_parts_without_another_import():
    program = """
import sys
import omokage as om
for name in ("priors", "datasets", "plots", "report"):
    assert name in dir(om)
    assert not {"jax", "matplotlib"} & sys.modules.keys() or name != "priors"
    print(getattr(om, name).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.split() == ["omokage.priors", "omokage.data.datasets", "omokage.plots", "omokage.report"]


def test_what_can_be_completed_is_what_is_meant_to_be_used():
    offered = [name for name in dir(om) if not name.startswith("_")]
    assert offered == sorted(om.__all__) and len(set(offered)) == len(offered)
    assert all(getattr(om, name) is not None for name in offered)


# -------------------------------------------------------------------------------------------------------- results

HOSTILE = '<script>alert("1")</script>&'


class Cells(HTMLParser):
    """The texts of the cells of a piece of HTML; it fails where elements are not closed in order."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.texts, self.tags, self._open = [], [], []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def results():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    finding = Finding(HOSTILE, "problem", HOSTILE, {})
    shares = random.dirichlet([1.0, 1.0, 1.0], size=12)
    return {
        "finding": finding,
        "findings": Findings([finding, Finding("b", "good", "c")]),
        "diagnosis": diagnose(x, 0.5 * x, x, np.full((60, 3), 0.3)),
        "explanation": Explanation(shares, shares, "mahalanobis", (HOSTILE, "温度", "β"), shares),
        "drift": Drift(1e-5, 0.9, 0.4, 3, 0.2, 1200),
        "no drift": Drift(0.5, 0.5, 0.1, None, 0.0, 1200),
        "summary": om.VAE(latent_dim=1, hidden=(), epochs=1, verbose=0).fit(x).summary(),
    }


@pytest.fixture(scope="module")
def made():
    return results()


def test_results_are_tables_in_a_notebook_and_text_is_escaped(made):
    for name, result in made.items():
        read = Cells(result._repr_html_())
        assert "table" in {tag for tag, _ in read.tags} and "script" not in {tag for tag, _ in read.tags}, name
        if name in ("finding", "findings"):
            assert read.texts.count(HOSTILE) == 2, "it is there as text"
        if name == "explanation":
            assert any(HOSTILE in text for text in read.texts) and "and 2 more rows" in read.texts
    texts = Cells(made["diagnosis"]._repr_html_()).texts
    assert all(finding.text in texts and finding.name in texts for finding in made["diagnosis"].findings)


def test_their_colours_can_be_read_on_light_and_on_dark_ground(made):
    def luminance(colour):
        parts = np.array([int(colour[j : j + 2], 16) for j in (1, 3, 5)]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    source = "".join(result._repr_html_() for result in made.values())
    source += html_table("a", ["b", "c"], [["x", verdict] for verdict in ("good", "warning", "problem")])
    assert "background" not in source, "the notebook's own"
    colours = set(re.findall("#[0-9a-f]{6}", source))
    assert len(colours) == 3
    for colour in colours:  # 3:1 for bold text, as WCAG asks of large text; JupyterLab's dark ground is #111111
        light, dark = 1.05 / (luminance(colour) + 0.05), (luminance(colour) + 0.05) / (luminance("#111111") + 0.05)
        assert light > 3 and dark > 3, colour


def test_what_is_to_blame_prints_the_largest_shares(made):
    shown, shares = str(made["explanation"]).splitlines(), made["explanation"].shares
    assert "12 rows" in shown[0] and len(shown) == 13
    first = made["explanation"].top(3)[0]
    assert shown[2].startswith("0") and shown[2].index(first[0]) < shown[2].index(first[1]) < shown[2].index(first[2])
    assert f"{shares[0].max():.0%}" in shown[2] and shown[-1] == "and 2 more rows"


def test_findings_of_a_detector_are_a_list_that_shows_itself(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    small = om.VAE(latent_dim=2, hidden=(4,), epochs=1, verbose=0)
    detector = om.AnomalyDetector(small, ensemble=2, verbose=0).fit(X)
    again = om.load(detector.save(tmp_path / "detector"))
    for one in (detector, again, again.recalibrate(X)):
        assert isinstance(one.findings_, list) and len(one.findings_) == 4
        assert "<table>" in one.findings_._repr_html_() and len(str(one.findings_).splitlines()) == 4

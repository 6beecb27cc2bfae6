from __future__ import annotations

import importlib
import re
import sys

import pytest

from evaluation import metrics
from rotationbench import plugins
from rotationbench.catalogue import show
from rotationbench.config import named_model
from rotationbench.datasets import formats, open_dataset
from rotationbench.errors import ConfigError

CACHED = (plugins.plugins, formats.known_formats, metrics.families, metrics._metrics, metrics._sets)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install packages with the files given, each a plug-in; undone after the test."""

    def installed(package: str, files: dict[str, str]) -> None:
        for name, text in ({"__init__.py": ""} | files).items():
            (tmp_path / package / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / package / name).write_text(text, encoding="utf-8")
        info = tmp_path / f"{package}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{package} = {package}\n", encoding="utf-8")
        importlib.invalidate_caches()
        for cache in CACHED:
            cache.cache_clear()

    monkeypatch.syspath_prepend(tmp_path)
    yield installed
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("plug_")]:
        del sys.modules[name]
    for cache in CACHED:
        cache.cache_clear()


FORMAT = """
from rotationbench.datasets.formats.imagefolder import ImageFolder

class Mine(ImageFolder):
    name = "mine"
    signature = "a listing of mine"
"""
UNFINISHED = """
from evaluation.metrics.base import MetricFamily

class A(MetricFamily):
    metrics = ()
"""
METRIC = """
from evaluation.metrics.base import Metric, MetricFamily

class Constant(MetricFamily):
    metrics = (Metric({name!r}, "constant", None, "", "fidelity"),)

    def measure(self, edit):
        return {{{name!r}: 1.0}}
"""


def test_formats_metrics_and_models_of_plugins_are_found_beside_the_own(install, tmp_path):
    install(
        "plug_good",
        {
            "form.py": FORMAT,
            "conf/format/mine.yaml": "_target_: plug_good.form.Mine",
            "measure.py": METRIC.format(name="constant"),
            "conf/metric/constant.yaml": "_target_: plug_good.measure.Constant",
            "conf/model/ours.yaml": "# Our own.\nname: ours\npretrained: us/ours",
        },
    )
    assert formats.known_formats().keys() == {*formats.FORMATS, "mine"}
    with pytest.raises(ConfigError, match=r"data\.format: .*mine, got 'nowhere'"):
        open_dataset(tmp_path, "nowhere")
    assert "constant" in metrics.select_metrics("full")
    assert ("constant", "plug_good 2.0", "constant") in metrics.catalogue()
    assert ("mine", "plug_good 2.0", "a listing of mine") in formats.catalogue()
    assert named_model("ours").pretrained == "us/ours"
    lines: list[str] = []
    show(["models"], lines.append)
    assert "  ours   plug_good 2.0  Our own." in lines[0].splitlines()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"nothing.txt": ""}, r"plug-in plug_bad .*expected a package with a folder conf"),
        ({"conf/metric/a.yaml": "_target_: plug_bad.nowhere.A"}, r"a\.yaml: metric a cannot be used: .*nowhere"),
        ({"conf/metric/a.yaml": "_target_: pathlib.Path"}, r"expected a subclass of MetricFamily, got Path"),
        (
            {"m.py": UNFINISHED, "conf/metric/a.yaml": "_target_: plug_bad.m.A"},
            r"expected all methods .*, got .* measure",
        ),
        ({"conf/metric/a.yaml": "- 1"}, r"metric a cannot be used"),
        ({"m.py": "1 / 0", "conf/metric/a.yaml": "_target_: plug_bad.m.A"}, r"metric a cannot be used: .*zero"),
        ({"m.py": METRIC.format(name="psnr"), "conf/metric/a.yaml": "_target_: plug_bad.m.Constant"}, "psnr.*taken"),
        (
            {"conf/method/turn.yaml": "name: turn"},
            r"plug-in plug_bad: its method turn is hidden by that of rotationbench",
        ),
    ],
)
def test_what_is_wrong_with_a_plugin_is_said_and_everything_else_goes_on(install, files, message, caplog):
    own = metrics.select_metrics("full")
    install("plug_bad", files)
    assert metrics.select_metrics("full") == own
    assert len([line for line in caplog.messages if re.search(message, line)]) == 1


def test_a_module_with_a_metric_may_be_imported_first(install):
    install(
        "plug_first",
        {"m.py": METRIC.format(name="first"), "conf/metric/a.yaml": "_target_: plug_first.m.Constant"},
    )
    family = importlib.import_module("plug_first.m").Constant
    assert family in metrics.FAMILIES

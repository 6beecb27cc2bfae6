from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from headless_chromium import Page, chromium
from tests_helpers import compose_config

from evaluation.report.statistics import estimate
from evaluation.submission.archive import canonical, open_submission, write_archive
from evaluation.submission.leaderboard import board_data, boards_of, published_rows, run
from rotationbench.errors import ConfigError

COSTS = {"seconds": 2.0, "unet_calls": 100, "unet_images": 120, "unet_grad_calls": 8, "steps": 40, "converged": True}


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_submission(
    path: Path,
    *,
    samples: int = 8,
    offset: float = 0.0,
    seeds: int = 1,
    version: str = "1",
    revision: int = 1,
    variant: str = "method",
    failed: int = 0,
) -> Path:
    """A submission whose mean distances are `offset` plus a known noise, half of the samples in each split."""
    rng = np.random.default_rng(3)
    facts = {
        f"sample{index:03d}": {
            "digest": hashed(f"{index}"),
            "full_digest": hashed(f"{index} {version}"),
            "split": "real" if index % 2 else "generated",
            "category": None,
            "angle": 30.0,
            "pairs": 2,
        }
        for index in range(samples)
    }
    entries, members = [], {}
    for seed in range(seeds):
        for index, name in enumerate(facts):
            distance = float(10 + offset + rng.normal())
            label = variant if seed == 0 else f"{variant}-seed{seed}"
            done = index >= failed
            entries.append(
                {
                    "label": label,
                    "variant": variant,
                    "method": variant,
                    "seed": seed,
                    "sample": name,
                    "status": "done" if done else "failed",
                    "fingerprint": hashed(f"{path.name} {label} {name}"),
                    "weights": None,
                    "edited": hashed(f"{path.name} {label} {name}") if done else None,
                    "cost": COSTS if done else {},
                    "values": {"mean_distance": distance, "psnr": "inf", "image_fidelity": 0.9} if done else {},
                    "measured_by": {"mean_distance": {"revision": revision, "tools": "dift", "seed": seed}}
                    if done
                    else {},
                    "settings": {"method": {"name": variant, "lam": 0.1, "note": "</script><b>"}, "dtype": "float32"},
                }
            )
            members[f"records/{label}/{name}.json"] = canonical({"seed": seed})
    manifest = {
        "schema": 1,
        "name": path.stem,
        "data": "rotationbench",
        "versions": {"torch": "2.6"},
        "samples": facts,
        "edits": entries,
    }
    write_archive(path, manifest, members)
    with open_submission(path) as opened:
        assert opened.manifest["name"] == path.stem
    return path


def test_a_board_for_each_split_and_no_rank_across_versions_of_samples(tmp_path):
    paths = [write_submission(tmp_path / f"{name}.zip", offset=offset) for name, offset in (("a", 0.0), ("b", 5.0))]
    paths.append(write_submission(tmp_path / "other.zip", version="2"))
    # Half of the samples are other samples.
    paths.append(write_submission(tmp_path / "half.zip", samples=4))
    boards = boards_of(paths)
    found = [(board.split, board.samples, [entrant.submission for entrant in board.entrants]) for board in boards]
    for split in ("generated", "real"):
        own = sorted((samples, names) for of, samples, names in found if of == split)
        assert own == [(2, ["half"]), (4, ["a", "b"]), (4, ["other"])]
    assert len({board.version for board in boards}) == 6


def test_seeds_are_repeated_measures_and_failures_are_counted(tmp_path):
    (board, _) = boards_of([write_submission(tmp_path / "a.zip", seeds=3, failed=1)])
    (entrant,) = board.entrants
    data = board_data(board, [])
    (row,) = data["rows"]
    assert (row["edits"], row["seeds"], row["failed"]) == (12, 3, 3)
    place = [column["name"] for column in data["columns"]].index("mean_distance")
    expected = estimate(entrant.table.groupby("sample")["mean_distance"].mean().to_numpy())
    assert row["values"][place] == pytest.approx([expected.mean, expected.low, expected.high], abs=1e-5)
    assert expected.samples == 3
    psnr = [column["name"] for column in data["columns"]].index("psnr")
    assert row["values"][psnr][0] == 100


def test_what_was_measured_in_different_ways_has_no_rank(tmp_path):
    paths = [write_submission(tmp_path / f"{revision}.zip", revision=revision) for revision in (1, 2)]
    data = board_data(boards_of(paths)[0], [])
    unlike = {column["name"]: column["unlike"] for column in data["columns"]}
    assert unlike["mean_distance"] and not unlike["psnr"]
    assert data["rank"] == "image_fidelity"


def test_two_submissions_of_one_name_are_refused(tmp_path):
    (tmp_path / "b").mkdir()
    paths = [write_submission(tmp_path / "a.zip"), write_submission(tmp_path / "b" / "a.zip")]
    with pytest.raises(ConfigError, match=r"submissions: expected names of their own, got 'a'"):
        boards_of(paths)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {method: a, source: b, data: c, values: {bogus: 1}}", r"published\[0\]\.values: .*bogus"),
        ("- {method: a, data: c, values: {psnr: 1}}", r"published\[0\]\.source: expected a value"),
        ("- {method: a, source: b, data: c, values: {psnr: x}}", r"published\[0\]\.values\.psnr"),
        ("a: 1", r"expected a list of rows, got dict"),
        ("{", r"expected YAML"),
    ],
)
def test_rows_of_papers_are_checked(tmp_path, text, message):
    (tmp_path / "papers.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        published_rows(tmp_path / "papers.yaml")


PAPER = "- {method: Old, source: 'A paper, Table 1', data: rotationbench, split: real, values: {mean_distance: 3.0}}"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for name, offset, seeds in (("alpha", 2.0, 1), ("beta", 0.0, 3), ("gamma", 5.0, 1)):
        write_submission(folder / f"{name}.zip", offset=offset, seeds=seeds, variant=f"{name}-drag")
    (folder / "papers.yaml").write_text(PAPER)
    settings = [f"submissions=['{folder}/*.zip']", f"output={folder / 'board'}", f"published={folder / 'papers.yaml'}"]
    assert run(compose_config("task=leaderboard", *settings)) == 0
    return folder / "board"


def test_the_site_is_one_page_with_plots_beside_it(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!plots/)', text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, flags=re.DOTALL)[1])
    plots = [plot["path"] for board in data for plot in board["plots"]]
    assert plots and all((site / path).stat().st_size > 0 for path in plots)
    assert "</script><b>" not in text.split('id="data">')[1].split("</script>")[0]


def test_nothing_to_rank_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"submissions: expected files, got '.*nowhere\.zip', which names none"):
        run(compose_config("task=leaderboard", f"submissions=[{tmp_path}/nowhere.zip]"))
    with pytest.raises(ConfigError, match="submissions: expected a value"):
        run(compose_config("task=leaderboard"))


ROWS = "[...document.querySelectorAll('tbody tr')].map(row => row.innerText.split(/\\s+/).slice(0, 2).join(' '))"


@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_the_page_sorts_and_marks_what_papers_print(site):
    with Page(chromium()) as page:
        page.open(site / "index.html")
        assert page.errors == []
        assert page.run(ROWS) == ["1 beta-drag", "2 alpha-drag", "3 gamma-drag"]
        page.run("document.querySelector('th[aria-sort] button').click()")
        assert page.run(ROWS) == ["3 gamma-drag", "2 alpha-drag", "1 beta-drag"]
        # The other board, on which a paper's row stands, without a rank.
        page.choose("#boards", "1")
        assert page.run(ROWS)[0] == "– Old"
        assert "published" in page.run("document.querySelector('tr.paper').innerText").lower()
        assert page.run(ROWS)[1:] == ["1 beta-drag", "2 alpha-drag", "3 gamma-drag"]
        page.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
        assert page.run("document.documentElement.scrollWidth") == 390
        page.run("document.querySelector('td button').click()")
        assert '"lam": 0.1' in page.run("document.querySelector('dialog').innerText")
        assert page.errors == []


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_a_hundred_submissions_of_two_hundred_samples_load_within_two_seconds(tmp_path):
    for index in range(100):
        write_submission(tmp_path / f"s{index:03d}.zip", samples=200, offset=index / 10, variant=f"method{index}")
    assert (
        run(compose_config("task=leaderboard", f"submissions=['{tmp_path}/*.zip']", f"output={tmp_path / 'board'}"))
        == 0
    )
    with Page(chromium()) as page:
        # Rows are drawn before the page counts as loaded; the browser's start slows the first of several down.
        seconds = [page.open(tmp_path / "board" / "index.html") for _ in range(3)]
        assert page.run("document.querySelectorAll('tbody tr').length") == 100
        assert min(seconds) < 2
        assert page.errors == []

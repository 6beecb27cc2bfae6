"""`task=report`: the summary, the comparisons, the plots and `report.html` of one or several results folders."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from omegaconf import DictConfig

from evaluation.report.collect import ReportedVariant, ResultsFolder, read_folders
from evaluation.report.columns import BY_NAME, COLUMNS
from evaluation.report.gallery import gallery_data
from evaluation.report.plots import all_plots, save_plot
from evaluation.report.provenance import Difference, differing_settings, incomparable_metrics, notices
from evaluation.report.sections import added_sections
from evaluation.report.statistics import Comparison, compare, win_rates
from evaluation.report.styles import Style, method_styles
from evaluation.report.tables import (
    Table,
    comparison_table,
    group_tables,
    overall_tables,
    summarize,
    to_html,
    to_latex,
    to_markdown,
    win_rate_table,
)
from rotationbench.config import BenchmarkConfig, validated
from rotationbench.errors import ConfigError
from rotationbench.files import whole_file
from rotationbench.markdown import plain
from rotationbench.results.table import harmless

log = logging.getLogger(__name__)

SMALLEST_SIDE, LARGEST_SIDE = 32, 1024
PICTURE_SIDE, PICTURE_SIDE_OF_MANY, MANY_EDITS = 256, 192, 300
PICTURES_PER_BLOCK = 100
NEVER = "9999"
"""In the order of times as text, after all others: the start of an edit whose record cannot be read."""


@dataclass
class ReportSettings:
    """`report`: how the report is made.

    Args:
        title: the page's heading.
        picture_side: pixels of the long side of the pictures in the page, at most; None is 256, or 192 when there are
            more than 300 edits, so that the page stays quick to open.
        output: folder of the report; None is `report` in the first results folder.
        sections: what is added, by `_target_`; see `evaluation.report.sections`.
    """

    title: str = "RotationBench"
    picture_side: int | None = None
    output: str | None = None
    sections: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.picture_side is not None and not SMALLEST_SIDE <= self.picture_side <= LARGEST_SIDE:
            raise ConfigError(
                f"report.picture_side: expected {SMALLEST_SIDE} to {LARGEST_SIDE}, got {self.picture_side}."
            )


@dataclass
class ReportConfig(BenchmarkConfig):
    """Everything `task=report` is told; `results_dir` is a folder or a list of folders."""

    results_dir: Any = "results"
    report: ReportSettings = field(default_factory=ReportSettings)


def run(config: DictConfig) -> int:
    """Write the report of `results_dir`.

    Args:
        config: the composed configuration; see `ReportConfig`.

    Returns:
        The exit status, 0.

    Raises:
        RotationBenchError: when a setting or a results folder cannot be used, or when folders hold edits of different
            samples under the same name.
    """
    settings = validated(ReportConfig, config)
    roots = [settings.results_dir] if isinstance(settings.results_dir, str) else settings.results_dir
    if not isinstance(roots, list) or not roots or not all(isinstance(root, str) for root in roots):
        raise ConfigError(f"results_dir: expected a folder or a list of folders, got {settings.results_dir!r}.")
    path = write_report([Path(root) for root in roots], settings.report)
    log.info("Report: %s", path)
    return 0


def write_report(roots: Sequence[Path], settings: ReportSettings) -> Path:
    """Write tables, plots and `report.html`; returns the path of the page.

    Args:
        roots: results folders. With several, methods are told apart by folder, and no mean is over more than one.
        settings: how the report is made.

    Raises:
        ConfigError: when a folder does not exist or holds no edits.
        DatasetError: when folders hold edits of different samples under the same name.
    """
    folders = read_folders(roots)
    output = folders[0].root / "report" if settings.output is None else Path(settings.output).expanduser()
    table = combined_table(folders)
    styles = method_styles(variants_in_order(folders))
    variants, incomparable = list(styles), incomparable_metrics(folders)
    summary = summarize(table, variants)
    comparisons = compare_all(table, variants, incomparable)
    tables = [*overall_tables(summary, variants, incomparable), *group_tables(summary, variants, incomparable)]
    compared = _comparison_tables(comparisons, variants)
    warnings, differing = notices(folders, table), differing_settings(folders)
    sections = added_sections(settings.sections, folders)
    added = [each for section in sections for each in section.tables]
    _write_tables(output, summary, comparisons, [*tables, *compared, *added], warnings, differing)
    edits = [
        (variant, edit)
        for variant, edit in zip(table["variant"], [edit for folder in folders for edit in folder.edits], strict=True)
    ]
    plots = _saved_plots(all_plots(table, edits, styles), output)
    side = settings.picture_side or (PICTURE_SIDE_OF_MANY if len(table) > MANY_EDITS else PICTURE_SIDE)
    data, pictures = gallery_data(folders, table, styles, side)
    environment = Environment(
        loader=PackageLoader("evaluation.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        title=settings.title,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        folders=folders,
        counts=_counts(table, styles),
        notices=warnings,
        differences=differing,
        tables=[to_html(item) for item in tables],
        comparisons=[to_html(item) for item in compared],
        plots=plots,
        sections=[
            {
                "title": section.title,
                "tables": [to_html(item) for item in section.tables],
                "plots": _saved_plots(section.figures, output),
            }
            for section in sections
        ],
        side=side,
        data=_embedded_json(data),
        blocks=[
            _embedded_json(pictures[start : start + PICTURES_PER_BLOCK])
            for start in range(0, len(pictures), PICTURES_PER_BLOCK)
        ],
    )
    path = output / "report.html"
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def combined_table(folders: Sequence[ResultsFolder]) -> pd.DataFrame:
    """The rows of all folders, with `folder`; with several folders a method becomes `method @ folder`."""
    tables = []
    for folder in folders:
        table = folder.table.assign(folder=folder.name)
        if len(folders) > 1:
            table["variant"] = [ReportedVariant(variant, folder.name).name for variant in table["variant"]]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def variants_in_order(folders: Sequence[ResultsFolder]) -> list[ReportedVariant]:
    """The methods by the start of their first edits, folder by folder; a method added later comes behind the others."""
    found = []
    for folder in folders:
        started = pd.Series([edit.record.get("started", NEVER) for edit in folder.edits]).groupby(
            folder.table["variant"].to_numpy()
        )
        shown = folder.name if len(folders) > 1 else ""
        found += [ReportedVariant(name, shown) for name in started.min().sort_values(kind="stable").index]
    return found


def compare_all(table: pd.DataFrame, variants: Sequence[str], incomparable: Collection[str]) -> list[Comparison]:
    """All pairs of methods in all metrics and costs but those that were measured in different ways."""
    return [
        comparison
        for metric in COLUMNS
        if metric.name not in incomparable
        for comparison in compare(table, metric, variants)
    ]


def _comparison_tables(comparisons: Sequence[Comparison], variants: Sequence[str]) -> list[Table]:
    if not comparisons:
        return []
    shown = [item for item in comparisons if BY_NAME[item.metric].main]
    tables = [comparison_table(shown)] if shown else []
    for name in dict.fromkeys(item.metric for item in shown if BY_NAME[item.metric].table != "cost"):
        own = [item for item in comparisons if item.metric == name]
        tables.append(win_rate_table(BY_NAME[name], win_rates(own, variants)))
    return tables


def _write_tables(
    output: Path,
    summary: pd.DataFrame,
    comparisons: Sequence[Comparison],
    tables: Sequence[Table],
    warnings: Sequence[str],
    differing: Sequence[Difference],
) -> None:
    flat = [
        {key: value for key, value in asdict(item).items() if key != "difference"}
        | {f"difference_{key}": value for key, value in asdict(item.difference).items()}
        for item in comparisons
    ]
    for name, frame in (("summary", summary), ("comparisons", pd.DataFrame(flat))):
        with whole_file(output / f"{name}.csv") as temporary:
            harmless(frame).to_csv(temporary, index=False)
    parts = [*(f"> {plain(warning)}\n" for warning in warnings), *(to_markdown(table) for table in tables)]
    if differing:
        parts.append(
            "### Differences in settings, versions and weights\n\n"
            + "\n".join(
                plain(
                    f"- {item.method}, {item.key}: "
                    + "; ".join(f"{name}: {value}" for name, value in item.values.items())
                )
                for item in differing
            )
            + "\n"
        )
    for ending, text in (("md", "\n".join(parts)), ("tex", "\n".join(to_latex(table) for table in tables))):
        with whole_file(output / f"summary.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8")


def _counts(table: pd.DataFrame, styles: dict[str, Style]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "colour": style.colour,
            "edits": int((table["variant"] == name).sum()),
            "failed": int(((table["variant"] == name) & (table["status"] != "done")).sum()),
            "samples": table.loc[table["variant"] == name, "sample"].nunique(),
            "seeds": table.loc[table["variant"] == name, "seed"].nunique(),
        }
        for name, style in styles.items()
    ]


def _saved_plots(plots: Iterable[tuple[str, str, Figure]], output: Path) -> list[dict[str, str]]:
    """Write each plot; returns what the page shows of it."""
    found = []
    for name, caption, figure in plots:
        save_plot(figure, output / "plots", name)
        found.append({"name": name, "caption": caption, "uri": _svg_uri(output / "plots" / f"{name}.svg")})
    return found


def _svg_uri(path: Path) -> str:
    # As a picture and not inline: the ids of several figures would collide in one document.
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def _embedded_json(data: dict[str, Any] | list[str]) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

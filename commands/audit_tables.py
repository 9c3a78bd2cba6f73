"""The audit of a data set, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from analysis.markdown import machine_line, markdown_table

if TYPE_CHECKING:
    from contract.environment import Environment
    from train.audit.acquisition import AcquisitionGroup
    from train.audit.auditing import Audit
    from train.audit.duplicates import Pair

SHOWN_PAIRS = 20
PAIR_HEADINGS = ("splits", "positions", "classes", "turn", "correlation", "RMS of 255", "copy")
GROUP_HEADINGS = (
    "how taken",
    "images used",
    "left out",
    "classes",
    "on test",
    "seen by a linear probe (AUC)",
    "right",
    "rest, same classes",
)


def audit_tables(found: Audit) -> list[Table]:
    """What the terminal shows."""
    tables = [_table(_verdict(found), PAIR_HEADINGS, _pair_rows(found))]
    if found.groups is not None:
        tables.append(_table("How images were taken", GROUP_HEADINGS, [_group_row(group) for group in found.groups]))
    return tables


def audit_page(found: Audit, command: str, environment: Environment, created: str) -> str:
    """The same as Markdown, with where and when (ISO 8601) it was made."""
    lines = [
        "# Does the split leak?",
        "",
        f"Data: {found.data_description}, {found.images:,} images at {found.resolution_px} px.",
        "",
        f"    {command}",
        "",
        f"Made at {created}. Machine: {machine_line(environment)}",
        "",
        "## Copies across splits",
        "",
        f"{_verdict(found)}. Every pair of images of different splits was compared at 12x12 pixels, in the eight flips "
        "and quarter turns; pairs that correlate above 0.98 were compared again at full size, and the most alike are "
        "listed. A copy differs by at most 4 grey levels of 255 (root mean square).",
        "",
        *markdown_table(PAIR_HEADINGS, _pair_rows(found)),
    ]
    if found.groups is not None:
        lines += ["", "## How images were taken", "", _about_groups(found), ""]
        lines += markdown_table(GROUP_HEADINGS, [_group_row(group) for group in found.groups])
    return "\n".join(lines) + "\n"


def _verdict(found: Audit) -> str:
    copies, candidates = found.duplicates.copies, found.duplicates.candidates
    return (
        f"{found.duplicates.pairs_compared:,} pairs compared: {found.duplicates.exact} equal to the byte, "
        f"{len(copies)} near copies, {len(candidates)} alike at 12x12"
    )


def _about_groups(found: Audit) -> str:
    runs = f"{len(found.runs)} recorded runs ({', '.join(found.runs)}), an image right where most were" * bool(
        found.runs
    )
    return (
        f"{_counted(found)} A way of taking is two facts of the stored JPEG: whether its header says that colour was "
        "subsampled, and the size of its lossless crop, which follows from the original's size. Originals of 360x363 "
        "gave crops of 200x208, those of 366x369 gave 224x208, those of about 360x360 gave 224x224.\n\n"
        "All ways of taking but the commonest. The probe is a ridge regression that tells the group from the rest of "
        "the same class, on test images: 0.5 is guessing, with DeLong's 95 % interval over test images, or "
        "Wilson's of disjoint pairs where the probe made no mistake. "
        "Right answers: "
        f"{runs or 'no recorded run was named'}; Wilson's 95 % interval; the rest is weighted as the group's classes."
    )


def _counted(found: Audit) -> str:
    """Which images the counts are of, because counts of the published set differ."""
    from train.sources.pbc import PUBLISHED_IMAGES

    left_out = found.left_out or 0
    listed = found.images + left_out
    return (
        f"Counts are of index.csv: {listed:,} of the {PUBLISHED_IMAGES:,} images that were published, {found.images:,} "
        f"used and {left_out} left out because copies of them have another label. The data's README counts 250 of "
        "366x369 and 203 of about 360x360, which differs from index.csv itself. That they count the published set, of "
        f"which {PUBLISHED_IMAGES - listed} images are not listed here, would explain it, but cannot be checked from "
        "these files."
    )


def _pair_rows(found: Audit) -> list[tuple[str, ...]]:
    return [_pair_row(pair) for pair in found.duplicates.candidates[:SHOWN_PAIRS]]


def _pair_row(pair: Pair) -> tuple[str, ...]:
    return (
        " / ".join(pair.splits),
        " / ".join(map(str, pair.positions)),
        " / ".join(pair.labels),
        f"{90 * pair.quarter_turns}°{', flipped' if pair.flipped else ''}",
        f"{pair.correlation:.4f}",
        f"{pair.rms:.2f}",
        "yes" if pair.is_copy else "no",
    )


def _group_row(group: AcquisitionGroup) -> tuple[str, ...]:
    share, rest, probe = group.accuracy, group.accuracy_of_rest, group.seen_by_probe
    return (
        group.name,
        f"{group.images}",
        f"{group.left_out}",
        ", ".join(f"{label} {count}" for label, count in group.classes.items()),
        f"{group.test_images}",
        "–" if probe is None else f"{probe.value:.2f} [{probe.low:.2f}, {probe.high:.2f}]",
        "–" if share is None else f"{share.right} of {share.images} [{100 * share.low:.1f}, {100 * share.high:.1f}] %",
        "–" if rest is None else f"{100 * rest:.1f} %",
    )


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    return table

"""The page: what the template is given, and how figures are written."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from scripts.report.labels import NUMBERS, SEGMENT_NUMBER, Labels
from scripts.report.run import MOST_STAGES, Merged, Run
from scripts.report.status import LONGEST_TEXT, Child
from scripts.report.sums import Bin, Spread, Timeline
from supervisor import __version__

TEMPLATE = Path(__file__).with_suffix(".html")
STATES = ("FAILED", "INTERRUPTED", "PARTIAL", "RUNNING", "SUCCEEDED")  # the worst first
SHOWN_CHILDREN = 10_000  # the largest array that Batch runs
SHOWN_CAUSES = 30
SHOWN_LABELS = 30
_MOST_FACTS = 1_000
_SILENT_AFTER = 600  # seconds; a running child rewrites its document every few
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of the chart, done below and failed above, in the chart's units."""

    x: float
    width: float
    done: float
    failed: float
    told: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Items a minute over time, as the template draws it. Ticks: (place, text)."""

    bars: tuple[Bar, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    caption: str


CHART_WIDTH, CHART_HEIGHT, _CHART_BARS = 900, 180, 150
_STEPS = (1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, _DAY, 2 * _DAY, 7 * _DAY)


def chart(timeline: Timeline, started: float | None) -> Chart | None:
    """None where no item says when it ended."""
    bins = timeline.bins(_CHART_BARS)
    if not bins:
        return None
    width = timeline.width
    begin, end = bins[0][0], bins[-1][0] + width
    rate = 60 / width
    top = _round_up(max(found.done + found.failed for _, found in bins) * rate)
    wide = CHART_WIDTH / len(bins)
    bars = tuple(
        Bar(
            x=round(number * wide, 2),
            width=round(max(wide - 1, wide * 0.8), 2),
            done=round(found.done * rate / top * CHART_HEIGHT, 2),
            failed=round(found.failed * rate / top * CHART_HEIGHT, 2),
            told=_told(moment, width, found, rate),
        )
        for number, (moment, found) in enumerate(bins)
        if found.done or found.failed
    )
    step = next((s for s in _STEPS if (end - begin) / s <= 7), (end - begin) / 6)
    first = math.ceil(begin / step) * step
    across = tuple(
        (round((moment - begin) / (end - begin) * CHART_WIDTH, 2), _clock(moment, step))
        for moment in (first + n * step for n in range(8))
        if moment <= end
    )
    up = tuple((CHART_HEIGHT * (1 - part / 4), _plain_number(top * part / 4)) for part in range(5))
    return Chart(bars=bars, across=across, up=up, caption=_caption(timeline, started, bins))


def _told(moment: float, width: int, found: Bin, rate: float) -> str:
    failed = f", {found.failed:,} failed" if found.failed else ""
    per_minute = _plain_number((found.done + found.failed) * rate)
    return f"{moment_shown(moment)} + {_stretch(width)}: {found.done:,} done{failed} ({per_minute}/min)"


def _caption(timeline: Timeline, started: float | None, bins: Sequence[tuple[int, Bin]]) -> str:
    ended = timeline.done + timeline.failed
    begun = timeline.first if started is None else min(started, timeline.first)
    busiest, found = max(bins, key=lambda entry: entry[1].done + entry[1].failed)
    text = f"{ended:,} items ended between {moment_shown(timeline.first)} and {moment_shown(timeline.last)}."
    if timeline.last > begun:
        mean = _plain_number(ended * 60 / (timeline.last - begun))
        text += f" Mean since the first child began: {mean} a minute."
    most = _plain_number((found.done + found.failed) * 60 / timeline.width)
    return f"{text} Most: {most} a minute at {moment_shown(busiest)}. One bar is {_stretch(timeline.width)}."


def _stretch(width: int) -> str:
    return f"{width} s" if width < 60 else duration(width)


def _round_up(value: float) -> float:
    power = float(10 ** math.floor(math.log10(value)))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def _plain_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _clock(moment: float, step: float) -> str:
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < _DAY else "%d %b"
    return datetime.fromtimestamp(moment, UTC).strftime(form)


def duration(spent: float | None) -> str:
    """Seconds as people read them, to three figures."""
    if spent is None:
        return ""
    if spent == 0:
        return "0 s"
    if spent < 0.9995:
        return f"{spent * 1000:#.3g}".rstrip(".") + " ms"
    if spent < 99.95:
        return f"{spent:#.3g} s"
    minutes, seconds = divmod(round(spent), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {seconds} s" if seconds else "")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{hours // 24:,} d {hours % 24} h"


def size(octets: int | None) -> str:
    """Bytes as people read them."""
    if octets is None:
        return ""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if octets >= 1000**power:
            return f"{octets / 1000**power:.3g} {unit}"
    return f"{octets} B"


def moment_shown(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def visible(text: object) -> str:
    """Without what would act instead of being seen: control characters, changes of direction, half characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[:LONGEST_TEXT])


def short(text: object, longest: int = 96) -> str:
    """Long names without their middle: what tells them apart is at the ends. Digests as Docker shortens them."""
    shown = re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", visible(text))
    if len(shown) <= longest:
        return shown
    return f"{shown[: longest // 2 - 1]} … {shown[-longest // 2 + 2 :]}"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where seconds went. each: of one item, or of one child for the model's start; None where none is listed."""

    name: str
    unit: str
    total: float
    each: Spread | None


_STAGE_ORDER = ("model", "download", "predict", "upload")


def stages(run: Run) -> list[Stage]:
    """Totals as the documents tell them, which count every item; medians from the items that are listed."""
    totals: Counter[str] = Counter()
    starts = Spread()
    for each in run.children:
        for name, spent in each.seconds.items():
            if name != "total" and (name in totals or len(totals) < MOST_STAGES):
                totals[name] += spent  # type: ignore[assignment] # Counter says int; these are seconds
        if "model" in each.seconds:
            starts.add(each.seconds["model"])
    for name, spread in run.stages.items():
        totals.setdefault(name, spread.sum)  # type: ignore[arg-type]
    order = {name: place for place, name in enumerate(_STAGE_ORDER)}
    return [
        Stage(name="model start", unit="child", total=total, each=starts)
        if name == "model"
        else Stage(name=name, unit="item", total=total, each=run.stages.get(name))
        for name, total in sorted(totals.items(), key=lambda entry: order.get(entry[0], len(order)))
    ]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """The labels found by one rule, the most frequent first. others: occurrences of the rest."""

    rule: str
    rows: tuple[tuple[str, int], ...]
    others: int
    kinds: int
    most: int


def histograms(found: Labels) -> list[Histogram]:
    drawn = []
    for rule, counted in found.by_rule.items():
        rows_ = counted.most_common(SHOWN_LABELS)
        if rule == SEGMENT_NUMBER:
            rows_ = [(text, counted[text]) for text in (*(t for _, t in NUMBERS), "more than 50") if counted[text]]
        others = counted.total() - sum(number for _, number in rows_) + found.others[rule]
        most = max(number for _, number in rows_)
        drawn.append(Histogram(rule=rule, rows=tuple(rows_), others=others, kinds=len(counted), most=most))
    return drawn


def notes(merged: Merged, now: float) -> list[str]:
    """What the reader must know before trusting the figures."""
    run, faults = merged.run, merged.faults
    told = []
    if len(merged.jobs) > 1:
        told.append(f"{len(merged.jobs):,} jobs are added up here; --job ID reports on one alone.")
    if missing := _missing(run.children):
        told.append(f"No status from {missing}: not started, or killed before the first word.")
    if silent := sum(is_silent(each, now) for each in run.children):
        told.append(
            f"{many(silent, 'child says', 'children say')} RUNNING, yet nothing came for {_SILENT_AFTER // 60} "
            "minutes before this page was made."
        )
    if merged.older:
        told.append(f"{many(merged.older, 'older document')} of the same children left out: the newest counts.")
    if merged.without_items:
        told.append(
            f"{many(merged.without_items, 'child has', 'children have')} no list of items: of those, only the items "
            "in the status document are seen (at most 100 each)."
        )
    if merged.orphans:
        told.append(
            f"{many(len(merged.orphans), 'list')} of items without a status document left out: "
            f"{short(merged.orphans[0])}"
        )
    for kind, text in (
        ("document", "file that is no status document"),
        ("file", "file that could not be read to its end"),
        ("line", "line that could not be used"),
        ("cut", "last line that is cut off"),
    ):
        if faults.kinds[kind]:
            told.append(f"{many(faults.kinds[kind], text, _plural(text))} left out.")
    if run.listed != run.total("ended"):
        told.append(
            f"{run.listed:,} items are listed, while the children count {run.total('ended'):,}: throughput, medians, "
            "slowest items and causes know the listed ones alone."
        )
    if run.untimed and run.timeline.first < math.inf:
        told.append(f"{many(run.untimed, 'item')} without a time of ending: not in the chart.")
    if run.strays:
        told.append(
            f"{many(run.strays, 'item')} ended more than a day outside of the run, by its clock: not in the chart."
        )
    if run.total("placeholders"):
        told.append(f"{many(run.total('placeholders'), 'folder placeholder')} in the input left out by the job.")
    return told


def many(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def _plural(text: str) -> str:
    head, _, rest = text.partition(" that ")
    return f"{head}s that {rest.replace('is ', 'are ', 1)}"


def _missing(children: Sequence[Child]) -> str:
    """Which numbers an array lacks below its highest; above it nobody knows how many there should be."""
    gaps: list[str] = []
    lacking = 0
    by_job: defaultdict[str, list[int]] = defaultdict(list)
    for each in children:
        if each.index is not None:
            by_job[each.job].append(each.index)
    for indices in by_job.values():
        before = -1
        for index in sorted(indices):
            if index > before + 1:
                lacking += index - before - 1
                gaps.append(str(index - 1) if index == before + 2 else f"{before + 1}-{index - 1}")
            before = index
    if not gaps:
        return ""
    return f"{many(lacking, 'child', 'children')} ({', '.join(gaps[:10])}{', …' if len(gaps) > 10 else ''})"


def is_silent(each: Child, now: float) -> bool:
    return each.state == "RUNNING" and each.updated is not None and now - each.updated > _SILENT_AFTER


def facts(children: Sequence[Child]) -> list[tuple[str, list[tuple[str, int]], int]]:
    """(name, the commonest values with their children, how many more values) of what the children say they are."""
    seen: dict[str, Counter[str]] = {}
    for each in children:
        for name, value in each.facts.items():
            counted = seen.setdefault(name, Counter())
            if value in counted or len(counted) < _MOST_FACTS:
                counted[value] += 1
    return [(name, counted.most_common(3), max(0, len(counted) - 3)) for name, counted in seen.items()]


def render(merged: Merged, status: str, now: float) -> str:
    """The page, whole."""
    run = merged.run
    worst = {state: place for place, state in enumerate(STATES)}
    shown = sorted(run.children, key=lambda c: (worst.get(c.state, -1), c.order))[:SHOWN_CHILDREN]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        count=lambda number: f"{number:,}", duration=duration, size=size, moment=moment_shown, visible=visible,
        short=short, sha256=_sha256,
    )  # fmt: skip
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        status=status,
        now=now,
        version=__version__,
        run=run,
        jobs=merged.jobs.most_common(3),
        more_jobs=max(0, len(merged.jobs) - 3),
        facts=facts(run.children),
        states=Counter(each.state for each in run.children),
        notes=notes(merged, now),
        faults=merged.faults,
        children=shown,
        is_silent=lambda each: is_silent(each, now),
        chart=chart(run.timeline, run.started),
        stages=stages(run),
        slowest=run.slowest,
        causes=run.causes.worst(),
        shown_causes=SHOWN_CAUSES,
        histograms=histograms(run.labels),
    )
    return page.strip() + "\n"

"""The README's plot, drawn from the kept figures: items a second for each way of driving the same model."""

import math
from html import escape

from scripts.checkout import ROOT
from scripts.docs import figures

PLOT = ROOT / "docs" / "figures" / "throughput.svg"
_TITLE = "Items a second, one-second recordings, voice-activity on 2 shared cores (logarithmic)"
_LEFT, _WIDTH, _BAR, _PITCH, _TOP = 250, 430, 22, 36, 46
_STYLE = """
text { font: 13px sans-serif; fill: #24292f } .soft { fill: #57606a } line { stroke: #8c959f; stroke-opacity: .35 }
rect { fill: #8c959f } .ours { fill: #0969da }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .soft { fill: #9198a1 } .ours { fill: #4493f8 } }
"""


def svg() -> str:
    """A bar for each kept figure that has a name for one, the fastest first, on a logarithmic scale."""
    bars = sorted((each for each in figures.kept() if each.bar), key=lambda each: -each.value)
    low = math.floor(math.log10(min((each.value for each in bars), default=1)))
    high = math.ceil(math.log10(max((each.value for each in bars), default=10)))

    def across(value: float) -> float:
        return round(_WIDTH * (math.log10(value) - low) / max(1, high - low), 1)

    bottom = _TOP + _PITCH * len(bars)
    drawn = [f'<text x="0" y="16">{escape(_TITLE)}</text>']
    for decade in range(low, high + 1):
        x = _LEFT + across(10**decade)
        drawn.append(f'<line x1="{x}" x2="{x}" y1="{_TOP - 12}" y2="{bottom}"/>')
        drawn.append(f'<text class="soft" x="{x}" y="{bottom + 16}" text-anchor="middle">{10**decade:g}</text>')
    for row, each in enumerate(bars):
        y, width = _TOP + _PITCH * row, max(2, across(each.value))
        kind = ' class="ours"' if "one job" in each.bar else ""
        drawn.append(f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(each.bar)}</text>')
        drawn.append(f'<rect{kind} x="{_LEFT}" y="{y}" width="{width}" height="{_BAR}" rx="2"/>')
        drawn.append(f'<text x="{_LEFT + width + 6}" y="{y + 15}">{each.value:.3g}</text>')
    size = f'viewBox="0 0 {_LEFT + _WIDTH + 60} {bottom + 24}" width="{_LEFT + _WIDTH + 60}" height="{bottom + 24}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(_TITLE)}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *drawn, "</svg>", ""])

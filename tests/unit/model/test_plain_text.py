"""What a module says of its arguments, as a terminal shows it."""

import pytest

from supervisor.model.plain_text import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("A <b>bold</b> <i>word</i>", "A bold word"),
        ("First line<br>second<br/>third<BR />fourth", "First line second third fourth"),
        ("<p>One.</p>\n   <p class='x'>Two.</p>\t\r\n", "One. Two."),
        ("<ul><li>a</li><li>b</li></ul>", "a b"),
        ('See <a href="https://h/x?a=1&b=2" title="a > b">the docs</a>.', "See the docs."),
        ("H<sub>2</sub>O, <font color=red>red</font>", "H2O, red"),
        ("x &lt; 5 &amp; y&nbsp;&gt;\xa03 &quot;z&quot; &#8364;", 'x < 5 & y > 3 "z" €'),
        ("&lt;b&gt; is a tag", "<b> is a tag"),
        ("0 < x and x > 5; a<b and b>c; for i in <i and j>", "0 < x and x > 5; a<b and b>c; for i in <i and j>"),
        ("write <name> or <input-file>, List<int>", "write <name> or <input-file>, List<int>"),
        ("<!-- not\nseen -->seen<script>alert(1)</script><style>p {}</style>", "seen"),
        ("<input disabled>a<hr noshade/>b<a href='x' download>c</a><iframe src=y></iframe>", "a bc"),
        ("<details open><summary>More</summary>text</details>", "More text"),
        ("the <output> of a <video>, <open file>", "the <output> of a <video>, <open file>"),
        ("several\n        lines\n\n   of a docstring  ", "several lines of a docstring"),
        ("\x1b[31mred\x07", "[31mred"),
        ("ü 日本 🎙", "ü 日本 🎙"),
        ("", ""),
    ],
)
def test_a_description_is_one_line_of_text(html: str, text: str) -> None:
    assert plain_text(html, 500) == text


def test_a_long_one_is_cut_between_words() -> None:
    cut = plain_text("<b>word</b> " * 1000, 30)
    assert cut == "word word word word word word…"
    assert len(plain_text("x" * 1000, 30)) == 30

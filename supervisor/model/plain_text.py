"""Descriptions as modules write them for web pages, with HTML and line breaks, as one line of plain text."""

import html
import re

# No text that merely holds a < is a tag: one has a known name, and attributes, if any, with values or known names.
# Names in use for what is to be put in their place (<data>, <output>, <video>) are none here.
_SWITCHES = (
    "async|autoplay|checked|compact|controls|defer|disabled|download|hidden|ismap|loop|multiple|muted|nowrap|noshade|open"
    "|readonly|required|reversed|selected"
)
_VALUE = r"""[a-z][a-z0-9:-]*\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_ATTRIBUTES = rf"(?:\s+{_VALUE}|\s+(?:{_SWITCHES})(?=[\s/>]))*\s*/?"
_WITHIN_WORDS = (  # H<sub>2</sub>O
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|del|dfn|em|font|i|ins|kbd|mark|nobr|q|s|samp|small|span|strike|strong|sub|sup|tt"
    "|u|var"
)
_BETWEEN_WORDS = (
    "article|aside|blockquote|body|br|canvas|caption|center|col|colgroup|dd|details|div|dl|dt|embed|fieldset|figcaption"
    "|figure|footer|h[1-6]|head|header|hgroup|hr|html|iframe|img|input|label|legend|li|link|main|marquee|meta|nav|noscript|ol"
    "|p|picture|pre|section|summary|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|wbr"
)
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_INLINE = re.compile(rf"</?(?:{_WITHIN_WORDS}){_ATTRIBUTES}>", re.IGNORECASE)
_BLOCK = re.compile(rf"</?(?:{_BETWEEN_WORDS}){_ATTRIBUTES}>", re.IGNORECASE)


def plain_text(text: str, longest: int) -> str:
    """Without tags, entities as what they stand for, white space folded; at most so many characters."""
    text = _BLOCK.sub(" ", _INLINE.sub("", _HIDDEN.sub(" ", text)))
    line = "".join(c for c in folded(html.unescape(text)) if c.isprintable())
    if len(line) <= longest:
        return line
    return (line[:longest].rpartition(" ")[0] or line[: longest - 1]) + "…"


def folded(text: str) -> str:
    return " ".join(text.split())

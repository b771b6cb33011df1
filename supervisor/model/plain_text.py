"""Descriptions as modules write them for web pages, with HTML and line breaks, as one line of plain text."""

import html
import re

# No text that merely holds a < is a tag: one has a known name, and attributes with values if any.
_ATTRIBUTES = r"""(?:\s+[a-z][a-z:-]*\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?"""
_WITHIN_WORDS = (
    "a|abbr|b|big|code|del|em|font|i|ins|kbd|mark|q|s|samp|small|span|strike|strong|sub|sup|tt|u|var"  # H<sub>2</sub>O
)
_BETWEEN_WORDS = (
    "article|blockquote|body|br|center|dd|details|div|dl|dt|figure|footer|h[1-6]|head|header|hr|html|img|input|label|li|link"
    "|main|meta|nav|ol|p|pre|section|summary|table|tbody|td|tfoot|th|thead|title|tr|ul|wbr"
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

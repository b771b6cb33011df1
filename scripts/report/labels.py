"""Labels in the answers of modules, for the shapes that those of the catalogue answer with."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TOP = "an answer with labels and probabilities counts once, for its most probable label"
EACH = "every labelled element of an answer counts"
SEGMENT_LABELS = "every labelled segment counts"
SEGMENT_NUMBER = "segments have no labels: answers are counted by their number of segments"

_MOST_LABELS = 5_000
_LABEL_KEYS = ("label", "class_name", "class", "category", "name", "labels")
NUMBERS = ((0, "0"), (1, "1"), (2, "2"), (5, "3-5"), (10, "6-10"), (20, "11-20"), (50, "21-50"))


def labels(answer: Any) -> Iterator[tuple[str, str]]:
    """(rule, label) of each label in an answer, for the shapes that modules of the catalogue answer with."""
    match answer:
        case {"predictions": [*elements]} | [*elements]:
            for element in elements:
                yield from _of_element(element)
        case {"predictions": dict() | str() as element}:
            yield from _of_element(element)
        case {**members}:
            # A name at the top is the file's, as a rule; within a list it is what was seen.
            yield from _of_element({key: value for key, value in members.items() if key != "name"})


def _of_element(element: Any) -> Iterator[tuple[str, str]]:
    match element:
        case str():
            yield EACH, element
        case {"labels": [*names], "probabilities": [*chances]} if names and _comparable(names, chances):
            yield TOP, str(names[max(range(len(names)), key=chances.__getitem__)])
        case {"segments": [*segments]}:
            yield from _of_segments(segments)
        case dict():
            yield from ((EACH, name) for name in _named(element))


def _comparable(names: Sequence[Any], chances: Sequence[Any]) -> bool:
    return len(names) == len(chances) and all(type(chance) in (int, float) for chance in chances)


def _of_segments(segments: Sequence[Any]) -> Iterator[tuple[str, str]]:
    named = [name for segment in segments if isinstance(segment, dict) for name in _named(segment)]
    if named:
        yield from ((SEGMENT_LABELS, name) for name in named)
    else:
        yield SEGMENT_NUMBER, next((text for most, text in NUMBERS if len(segments) <= most), "more than 50")


def _named(element: Mapping[str, Any]) -> list[str]:
    """The element's labels: texts before the numbers of classes, which say less."""
    found = [
        value if isinstance(value, list) else [value] for key in _LABEL_KEYS if (value := element.get(key)) is not None
    ]
    texts = (names for names in found if names and all(isinstance(name, str) for name in names))
    numbers = (names for names in found if names and all(type(name) is int for name in names))
    return [str(name) for name in next(texts, None) or next(numbers, [])]


class Labels:
    """How often each label was answered, apart for each rule by which it was found."""

    def __init__(self) -> None:
        self.answers = 0
        self.without = 0
        self.by_rule: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.others: Counter[str] = Counter()  # occurrences beyond the bound, by rule

    def add(self, answer: Any) -> None:
        self.answers += 1
        found = False
        for rule, whole in labels(answer):
            found = True
            counted, label = self.by_rule[rule], whole[:200]
            if label in counted or len(counted) < _MOST_LABELS:
                counted[label] += 1
            else:
                self.others[rule] += 1
        self.without += not found

"""JOB_PREDICT_ARGS against the fields of a real module, by the marshmallow of every DEEPaaS release."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from supervisor import job
from supervisor.failures import BadUsage
from supervisor.machine.device import Device
from supervisor.model.runner import Model
from tests.conftest import image
from tests.integration.cases import COLUMNS, EVERY_TYPE, QUICK, Column


@pytest.fixture(
    scope="module",
    params=[pytest.param(each, marks=() if each in QUICK else pytest.mark.releases, id=str(each)) for each in COLUMNS],
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """The module every_type, imported by its guest."""
    column: Column = request.param
    folder = tmp_path_factory.mktemp("image")
    environment = image(folder, "every_type", column.release, column.python).environment
    model = Model(job.read(environment, {}), environment, Device(kind="cpu"), folder / "scratch", lambda line: None)
    model.start()
    model.prepare()
    yield model
    model.end()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("count", "many", "Not a valid integer"),
        ("count", 11, "less than or equal to 10"),
        ("count", None, "may not be null"),
        ("name", 7, "Not a valid string"),
        ("ratio", "half", "Not a valid number"),
        ("ratio", 1.5, "less than or equal to 1"),
        ("flag", "perhaps", "Not a valid boolean"),
        ("thresholds", 0.5, "Not a valid list"),
        ("thresholds", [0.5, "x"], "Not a valid number"),
        ("labels", [1], "Not a valid string"),
        ("options", [1], "Not a valid mapping type"),
        ("day", "29.2.2020", "Not a valid date"),
        ("moment", "yesterday", "Not a valid datetime"),
        ("at", "noon", "Not a valid time"),
        ("token", "1234", "Not a valid UUID"),
        ("link", "not a link", "Not a valid URL"),
        ("contact", "nobody", "Not a valid email address"),
        ("price", "dear", "Not a valid number"),
        ("box", {"y": 1}, "Missing data for required field"),
        ("choice", "best", "Must be one of: fast, good"),
        ("code", "abcde", "Length must be between 2 and 4"),
        ("number", [1], "Not a valid integer"),
    ],
)
def test_an_ill_typed_value_is_refused_in_one_line(model: Model, name: str, value: Any, says: str) -> None:
    with pytest.raises(BadUsage) as refused:
        model.fit({**EVERY_TYPE, name: value})
    assert refused.value.message.startswith(f"JOB_PREDICT_ARGS: {name} is {value!r}: ")
    assert says in refused.value.message
    assert re.match(rf"the argument is {name} \(\w+", refused.value.hint)


def test_values_that_fit_are_kept_as_they_are_given(model: Model) -> None:
    assert model.fit(EVERY_TYPE).arguments == EVERY_TYPE


def test_a_long_value_is_cut_in_the_message(model: Model) -> None:
    with pytest.raises(BadUsage) as refused:
        model.fit({**EVERY_TYPE, "code": "x" * 100_000})
    assert len(refused.value.message) < 400

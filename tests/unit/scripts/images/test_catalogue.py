"""The catalogue's files and the code that reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from scripts import cli
from scripts.images import catalogue
from scripts.images.catalogue import InvalidCatalogue, Module, UnknownModule, find, load

# Memory in GiB that Fargate offers for a number of vCPUs:
# https://docs.aws.amazon.com/batch/latest/userguide/fargate.html
FARGATE_GIB = {1: range(2, 9), 2: range(4, 17), 4: range(8, 31), 8: range(16, 61, 4), 16: range(32, 121, 8)}

# MODULES.yml of deephdc/deep-oc @6fd5b5c449, less those whose prediction takes no file: mods, generic-dev,
# benchmarks_cnn (its field is not implemented), marine_species_seg (no prediction),
# ai4eosc_thunder_nowcast_ml (its only file is a configuration).
DEEP = {
    "dogs_breed_det",
    "retinopathy_test",
    "image-classification-tf",
    "plants-classification-tf",
    "conus-classification-tf",
    "seeds-classification-tf",
    "satsr",
    "speech-to-text-tf",
    "posenet-tf",
    "audio-classification-tf",
    "semseg_vaihingen",
    "obj_detect_pytorch",
    "birds-audio-classification-tf",
    "neural_transfer",
    "image-classification-tf-dicom",
    "demo_app",
    "uc-adnaneds-deep-oc-unet",
    "uc-hereariim-deep-oc-blossom",
    "fasterrcnn_pytorch_api",
    "uc-emmaamblard-deep-oc-multi_plankton_separation",
    "uc-cleluschko-deep-oc-litter_assessment_service",
    "yolov8_api",
    "uc-lifewatch-deep-oc-phyto-plankton-classification",
    "underwater-noise-classification",
    "uc-enocmartinez-deep-oc-obsea-fish-detection",
    "uc-emvollmer-deep-oc-tbbrdet_api",
    "uc-ai4eosc-psnc-deep-oc-integrated_plant_protection",
}


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    return load()


@pytest.fixture
def sound() -> dict[str, Any]:
    """A document that the schema takes; a test spoils what it is about."""
    read = "owner/repository@0123456789:api.py"
    unread = {"python", "licence", "input.extensions"}
    facts = ["repository", "tags", "source", "base", "input.field", "input.media_types", "results", "arguments"]
    facts += ["copies", "network"]
    return {
        "name": "sound",
        "title": "Something in a picture",
        "repository": "deephdc/deep-oc-sound",
        "tags": {"cpu": "cpu", "gpu": None},
        "source": "https://github.com/deephdc/sound",
        "base": {"cpu": "tensorflow/tensorflow:2.9.1", "gpu": None},
        "python": None,
        "licence": None,
        "input": {"field": "files", "media_types": ["image/*"], "extensions": []},
        "results": ["application/json"],
        "arguments": {"threshold": 0.5},
        "copies": "many",
        "network": "none",
        "resources": {"vcpus": 2, "memory_mib": 4096, "gpus": 0},
        "timeout_seconds": 900,
        "sources": {
            **dict.fromkeys(facts, read),
            **dict.fromkeys(unread, "unknown"),
            "resources": "ours: default",
            "timeout_seconds": "ours: default",
        },
    }


def write(folder: Path, *documents: dict[str, Any]) -> None:
    for document in documents:
        (folder / f"{document['name']}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def quoted(text: str) -> str:
    """As write() writes it."""
    return f"'{text}'" if ": " in text else text


def faults(folder: Path) -> list[str]:
    with pytest.raises(InvalidCatalogue) as caught:
        load(folder)
    return [f"{fault.path.name}:{fault.line}: {fault.message}" for fault in caught.value.faults]


# The files


def test_schema_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(json.loads(catalogue.SCHEMA.read_text()))


def test_every_key_of_the_schema_is_described() -> None:
    properties = json.loads(catalogue.SCHEMA.read_text())["properties"]
    assert [key for key, schema in properties.items() if "description" not in schema] == []


def test_every_module_of_the_deep_catalogue_that_takes_a_file_is_there(modules: dict[str, Module]) -> None:
    listed = {module.repository for module in modules.values() if module.repository.startswith("deephdc/")}
    assert listed == {f"deephdc/{name if name.startswith('uc-') else f'deep-oc-{name}'}" for name in DEEP}


def test_a_successor_lies_in_ai4oshub(modules: dict[str, Module]) -> None:
    successors = [modules[module.successor] for module in modules.values() if module.successor]
    assert {successor.repository.partition("/")[0] for successor in successors} == {"ai4oshub"}


def test_only_what_lies_in_ai4oshub_is_called_ai4os(modules: dict[str, Module]) -> None:
    for module in modules.values():
        assert module.name.startswith("ai4os-") == module.repository.startswith("ai4oshub/"), module.name


def test_fargate_offers_what_a_module_asks_for(modules: dict[str, Module]) -> None:
    for module in modules.values():
        assert module.resources.memory_mib // 1024 in FARGATE_GIB[module.resources.vcpus], module.name


def test_a_module_that_can_answer_with_json_does_so_in_a_job(modules: dict[str, Module]) -> None:
    # What these three call JSON names a file inside the container, and holds nothing of it.
    pictures = {
        "ai4os-thermal-anomaly-segmenter",
        "ai4os-thermal-bridges-rooftops-detector",
        "ai4os-thermal-urban-feature-segmenter",
    }
    for module in modules.values():
        if "application/json" in module.results and module.name not in pictures:
            answer = (module.default_args or {}).get("accept", module.results[0])
            assert answer == "application/json", module.name


def test_our_own_module_is_built_here(modules: dict[str, Module]) -> None:
    assert modules["voice-activity"].build == "images/voice-activity"
    assert (catalogue.IMAGES.parent / "images/voice-activity").is_dir()


def test_the_arguments_of_our_own_module_are_those_in_its_code(modules: dict[str, Module]) -> None:
    code = (catalogue.IMAGES / "voice-activity/voice_activity/api.py").read_text()
    described = set(re.findall(r'^ {8}"(\w+)": _described\(', code, re.MULTILINE))
    assert described == {modules["voice-activity"].input.field, *modules["voice-activity"].arguments}


# Finding a module


@pytest.mark.parametrize(
    "name",
    [
        "audio-classification",
        "deep-oc-audio-classification-tf",
        "deephdc/deep-oc-audio-classification-tf",
        "registry.example.org/deephdc/deep-oc-audio-classification-tf",
        "audio-classification-tf",
        "DEEP-OC-Audio-Classification-TF",
    ],
)
def test_a_module_goes_by_its_own_and_its_upstream_names(name: str, modules: dict[str, Module]) -> None:
    assert find(name, modules).name == "audio-classification"


@pytest.mark.parametrize("name", ["deep-oc-dogs_breed_det", "dogs-breed-det", "dogs_breed_det"])
def test_an_underscore_is_as_good_as_a_hyphen(name: str, modules: dict[str, Module]) -> None:
    assert find(name, modules).name == "dogs-breed-detection"


def test_an_owner_in_the_repository_name_may_be_left_out(modules: dict[str, Module]) -> None:
    assert find("phyto-plankton-classification", modules).repository.startswith("deephdc/uc-lifewatch-")


def test_a_modules_own_name_wins_over_anothers_repository_name(modules: dict[str, Module]) -> None:
    assert find("plants-classification", modules).repository == "deephdc/deep-oc-plants-classification-tf"
    assert find("ai4oshub/plants-classification", modules).name == "ai4os-plants-classification"


def test_a_name_of_two_modules_is_not_guessed(modules: dict[str, Module]) -> None:
    with pytest.raises(UnknownModule, match=r"'posenet-tf' could be posenet or ai4os-posenet"):
        find("posenet-tf", modules)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("audio-clasification", "audio-classification"),
        ("deep-oc-posenet", "posenet"),
        ("plants", "plants-classification"),
    ],
)
def test_an_unknown_module_gets_a_did_you_mean(wrong: str, meant: str, modules: dict[str, Module]) -> None:
    with pytest.raises(UnknownModule, match=rf"no module called '{wrong}'.*: did you mean .*\b{meant}\b.*\?$"):
        find(wrong, modules)


def test_a_name_like_no_other_is_sent_to_the_list(modules: dict[str, Module]) -> None:
    with pytest.raises(UnknownModule, match="no module called 'xyzzy'") as unknown:
        find("xyzzy", modules)
    assert unknown.value.hint == "`deepaas-batch catalogue` lists them"


def test_a_variant_names_its_image(modules: dict[str, Module]) -> None:
    assert modules["audio-classification"].image("gpu") == "deephdc/deep-oc-audio-classification-tf:gpu"


def test_a_variant_without_a_tag_has_no_image(modules: dict[str, Module]) -> None:
    assert modules["satsr"].variants == ("cpu",)
    assert modules["satsr"].image("gpu") is None


# Facts that were wrong once


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("obj-detection", ("threshold", "box_thickness", "text_size", "text_thickness")),
        ("ai4os-obj-detection", ("threshold", "box_thickness", "text_size", "text_thickness")),
        ("semseg-vaihingen", ("model_retrieve",)),
        ("ai4os-semseg-vaihingen", ("model_retrieve",)),
    ],
)
def test_an_argument_that_the_module_takes_as_a_text_is_given_as_one(
    name: str, texts: tuple[str, ...], modules: dict[str, Module]
) -> None:
    module = modules[name]
    given = {**module.arguments, **(module.default_args or {})}
    assert {text: type(given[text]) for text in texts} == dict.fromkeys(texts, str)


# Several copies, and the network


@pytest.mark.parametrize(
    "name", ["ai4os-fast-neural-transfer", "multi-plankton-separation", "ai4os-obj-detection", "ai4os-semseg-vaihingen"]
)
def test_a_module_whose_copies_were_seen_to_mix_items_up_runs_one_copy(name: str, modules: dict[str, Module]) -> None:
    assert modules[name].copies == 1


def test_copies_are_safe_only_by_code_that_was_read(modules: dict[str, Module]) -> None:
    for module in modules.values():
        if module.copies == "many":
            read = re.split(r",\s+", module.sources["copies"])
            assert [place for place in read if not re.search(r"\.py(#L\d+)?$", place)] == [], module.name


def test_one_copy_says_what_two_would_share_and_where(modules: dict[str, Module]) -> None:
    for module in modules.values():
        if module.copies == 1:
            [reason] = [note for note in module.notes if note.startswith("One copy: ")]
            assert re.search(r"\w\.py, lines? \d+", reason), module.name


def test_what_is_fetched_at_every_prediction_or_at_start_is_told_by_the_code_that_fetches(
    modules: dict[str, Module],
) -> None:
    for module in modules.values():
        if module.network != "none":
            assert re.search(r"\.py(#L\d+)?\b", module.sources["network"]), module.name


def test_a_module_without_a_word_on_copies_or_network_is_a_fault(tmp_path: Path, sound: dict[str, Any]) -> None:
    for key in ("copies", "network"):
        del sound[key], sound["sources"][key]
    write(tmp_path, sound)
    assert [fault.partition(": ")[2] for fault in faults(tmp_path)] == [
        "'copies' is a required property",
        "'network' is a required property",
        "sources: 'copies' is a required property",
        "sources: 'network' is a required property",
    ]


@pytest.mark.parametrize(
    "source", ["unknown", "ours: it looked safe", "deduced: from another module", "everybody knows"]
)
def test_many_copies_without_code_that_was_read_are_a_fault(source: str, tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["sources"]["copies"] = source
    write(tmp_path, sound)
    [fault] = faults(tmp_path)
    line = (tmp_path / "sound.yaml").read_text().splitlines().index(f"  copies: {quoted(source)}") + 1
    assert fault.startswith(f"sound.yaml:{line}: sources.copies: {source!r} will not do; wanted: ")


@pytest.mark.parametrize("notes", [None, ["Removes its upload."], ["There is one copy: no more"]])
def test_one_copy_without_a_reason_is_a_fault(notes: list[str] | None, tmp_path: Path, sound: dict[str, Any]) -> None:
    sound |= {"copies": 1} | ({"notes": notes} if notes else {})
    write(tmp_path, sound)
    [fault] = faults(tmp_path)
    assert "notes" in fault
    assert fault.endswith("copies is 1." if notes else "is a required property")


def test_one_copy_needs_no_reason_where_nobody_could_read_the_code(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["copies"] = 1
    sound["sources"]["copies"] = "unknown"
    write(tmp_path, sound)
    assert load(tmp_path)["sound"].copies == 1


@pytest.mark.parametrize("copies", [2, 0, True, "1", "some", None])
def test_copies_are_many_or_one(copies: Any, tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["copies"] = copies
    write(tmp_path, sound)
    assert faults(tmp_path)[0].endswith(f"copies: {copies!r} is not one of ['many', 1]")


@pytest.mark.parametrize("network", ["yes", None, True, "at the start"])
def test_the_network_is_needed_at_start_at_prediction_or_not(
    network: Any, tmp_path: Path, sound: dict[str, Any]
) -> None:
    sound["network"] = network
    write(tmp_path, sound)
    assert faults(tmp_path)[0].endswith(f"{network!r} is not one of ['at start', 'at prediction', 'none']")


# Faults in the files


def test_a_sound_file_is_read(tmp_path: Path, sound: dict[str, Any]) -> None:
    write(tmp_path, sound)
    assert load(tmp_path)["sound"].input.media_types == ("image/*",)


def test_a_wrong_value_is_named_with_file_and_line(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["resources"]["memory_mib"] = "4 GiB"
    write(tmp_path, sound)
    line = (tmp_path / "sound.yaml").read_text().splitlines().index("  memory_mib: 4 GiB") + 1
    assert faults(tmp_path) == [f"sound.yaml:{line}: resources.memory_mib: '4 GiB' is not of type 'integer'"]


def test_a_misspelt_key_gets_a_did_you_mean(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["timeout_second"] = 5
    write(tmp_path, sound)
    line = len((tmp_path / "sound.yaml").read_text().splitlines())
    wanted = f"sound.yaml:{line}: no such key as timeout_second; did you mean timeout_seconds?"
    assert faults(tmp_path) == [wanted]


def test_a_missing_key_is_named(tmp_path: Path, sound: dict[str, Any]) -> None:
    del sound["sources"]["tags"]
    write(tmp_path, sound)
    assert [fault.partition(": ")[2] for fault in faults(tmp_path)] == ["sources: 'tags' is a required property"]


def test_a_fact_needs_the_place_where_it_was_read(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["sources"]["tags"] = "everybody knows"
    write(tmp_path, sound)
    assert "'everybody knows' will not do; wanted: owner/repository@commit:path" in faults(tmp_path)[0]


def test_a_value_nobody_knows_cannot_be_given(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["python"] = "3.11"
    write(tmp_path, sound)
    assert faults(tmp_path) == ["sound.yaml:11: python: '3.11' is not of type 'null'"]


def test_an_explained_default_argument_is_one_the_module_has(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound |= {"default_args": {"treshold": 1}}
    sound["sources"]["default_args"] = "ours: to see it fail"
    write(tmp_path, sound)
    assert "default_args.treshold: not among the arguments" in faults(tmp_path)[0]


def test_a_job_cannot_ask_for_a_result_that_the_module_never_gives(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound |= {"default_args": {"accept": "image/png"}}
    sound["sources"]["default_args"] = "ours: to see it fail"
    write(tmp_path, sound)
    assert "default_args.accept: not among the results: image/png" in faults(tmp_path)[0]


def test_a_file_is_called_after_its_module(tmp_path: Path, sound: dict[str, Any]) -> None:
    write(tmp_path, sound)
    (tmp_path / "sound.yaml").rename(tmp_path / "noise.yaml")
    assert faults(tmp_path) == ["noise.yaml:1: name: sound stands in noise.yaml; they must be the same"]


def test_two_files_for_one_image_are_a_fault(tmp_path: Path, sound: dict[str, Any]) -> None:
    write(tmp_path, sound, sound | {"name": "tone"})
    assert faults(tmp_path) == ["tone.yaml:3: repository: deephdc/deep-oc-sound is sound.yaml's too"]


def test_a_successor_must_exist(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["successor"] = "ai4os-sound"
    sound["sources"]["successor"] = "ours: to see it fail"
    write(tmp_path, sound)
    assert "successor: there is no ai4os-sound.yaml" in faults(tmp_path)[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: a\ntitle: [b\n", "broken.yaml:3: no valid YAML: expected ',' or ']'"),
        ("name: a\nname: b\n", "broken.yaml:2: no valid YAML: the key name is there twice"),
        ("- name\n", "broken.yaml:1: no valid YAML: wants `key: value` lines"),
        ("", "broken.yaml:1: no valid YAML: wants `key: value` lines"),
        ("name: \x07\n", "broken.yaml:1: no valid YAML: unacceptable character"),
        ("? [a, b]\n: c\n", "broken.yaml:1: no valid YAML: found unhashable key"),
    ],
)
def test_what_is_no_yaml_is_one_line_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    [only] = faults(tmp_path)
    assert only.startswith(fault)
    assert "\n" not in only


def test_one_broken_file_does_not_hide_the_next(tmp_path: Path, sound: dict[str, Any]) -> None:
    (tmp_path / "broken.yaml").write_text("[")
    sound["timeout_seconds"] = 1
    write(tmp_path, sound)
    assert [fault.partition(":")[0] for fault in faults(tmp_path)] == ["broken.yaml", "sound.yaml"]


# The command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["catalogue", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_table_has_a_line_for_each_module(capsys: pytest.CaptureFixture[str], modules: dict[str, Module]) -> None:
    _, out, _ = run(capsys)
    listed = [line.split()[0].rstrip("*") for line in out.partition("\n\n")[0].splitlines()[1:]]
    assert listed == list(modules)


def test_the_list_says_of_each_module_how_many_copies_are_safe_and_when_it_needs_a_network(
    capsys: pytest.CaptureFixture[str], modules: dict[str, Module]
) -> None:
    _, out, _ = run(capsys)
    rows = {line.split()[0].rstrip("*"): re.split(r"\s{2,}", line) for line in out.partition("\n\n")[0].splitlines()}
    assert rows["module"][2:4] == ["copies", "network"]
    assert {name: tuple(rows[name][2:4]) for name in modules} == {
        name: (str(module.copies), module.network) for name, module in modules.items()
    }


def test_a_module_that_is_named_comes_with_its_notes(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "multi-plankton-separation")
    assert "\n\nmulti-plankton-separation:\n- " in out
    assert "\n- One copy: the answer is temp/out_image.png in the module's folder" in out


def test_what_speaks_against_an_image_is_said_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "satsr")
    assert "\n* satsr: The Dockerfile pins DEEPaaS below 1.0" in out


def test_json_has_all_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--json", "posenet")
    assert json.loads(out)["posenet"]["input"]["field"] == "files"


def test_check_is_content_with_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--check")
    assert (code, re.fullmatch(r"\d+ modules, nothing wrong\n", out) is not None) == (0, True)


def test_check_says_every_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path, sound: dict[str, Any]) -> None:
    write(tmp_path, sound | {"title": 1, "timeout_seconds": 1})
    code, out, err = run(capsys, "--check", "--images", str(tmp_path))
    assert (code, out, len(err.splitlines())) == (65, "", 2)


def test_an_invalid_file_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, sound: dict[str, Any]) -> None:
    write(tmp_path, sound | {"title": 1, "timeout_seconds": 1})
    code, _, err = run(capsys, "--images", str(tmp_path))
    assert code == 65
    assert re.fullmatch(r".*sound\.yaml:2: title: .*\(and 1 more: deepaas-batch catalogue --check\).*\n", err)


def test_an_unknown_module_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "pozenet")
    assert (code, out, len(err.splitlines())) == (64, "", 1)
    assert "did you mean posenet or ai4os-posenet?" in err


def test_a_folder_without_modules_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "--images", str(tmp_path))
    assert (code, out, len(err.splitlines())) == (66, "", 1)
    assert f"{tmp_path}: no *.yaml files there" in err


def test_markdown_keeps_its_columns(modules: dict[str, Module]) -> None:
    rows = [line for line in catalogue.markdown(modules.values()).splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {len(catalogue.HEADINGS) + 1}


def test_a_link_to_nothing_is_left_out_which_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in catalogue.IMAGES.glob("voice-activity.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "broken.yaml").symlink_to("/nowhere/broken.yaml")

    assert list(load(tmp_path)) == ["voice-activity"]
    assert "broken.yaml is a link to /nowhere/broken.yaml, where nothing is" in capsys.readouterr().err

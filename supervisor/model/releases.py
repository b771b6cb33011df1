"""What the command line of each DEEPaaS release can carry, and how it has to be called.

Measured on every release from 1.2.1 to 2.6.0; docs/deepaas.md has the table.
"""

import mimetypes
from collections.abc import Mapping
from typing import Any

from supervisor.model.description import Field, Module
from supervisor.model.find import Installation

CLI = "deepaas-cli"
WORKER = "worker"
PREDICT = "deepaas-predict"

# deepaas-cli puts a module's arguments in one namespace with its own options and oslo.log's: these abort it, on 2.6.0
# with exit status 0 and no output.
_RESERVED = frozenset(
    [
        "config_dir",
        "config_file",
        "debug",
        "deepaas_method_output",
        "deepaas_with_multiprocessing",
        "default_log_levels",
        "doc_endpoint",
        "fatal_deprecations",
        "help",
        "instance_format",
        "instance_uuid_format",
        "listen_ip",
        "listen_port",
        "log_color",
        "log_config_append",
        "log_date_format",
        "log_dir",
        "log_file",
        "log_rotate_interval",
        "log_rotate_interval_type",
        "log_rotation_type",
        "logging_context_format_string",
        "logging_debug_format_suffix",
        "logging_default_format_string",
        "logging_exception_prefix",
        "logging_user_identity_format",
        "max_logfile_count",
        "max_logfile_size_mb",
        "methods",
        "model_name",
        "predict_endpoint",
        "publish_errors",
        "rate_limit_burst",
        "rate_limit_except_level",
        "rate_limit_interval",
        "syslog_log_facility",
        "train_endpoint",
        "use_eventlog",
        "use_journal",
        "use_json",
        "use_stderr",
        "use_syslog",
        "version",
        "warm",
        "watch_log_file",
        "workers",
        "client_max_size",
        "enable_doc",
        "enable_train",
        "enable_predict",
    ]
)
_NEVER_STARTS = {(2, 3, 0), (2, 3, 1)}  # `from deepass import config`
# Between these each release was tried. 3, in development, exits with the answer again, and may do anything else.
_FIRST_KNOWN, _FIRST_UNKNOWN = (1, 3), (2, 7)


def cli_limit(
    module: Module, installation: Installation, taken: Field, arguments: Mapping[str, Any], file_name: str
) -> str | None:
    """Why deepaas-cli cannot carry this item the way the REST API would; None where it can."""
    release = module.release
    if CLI not in installation.programs:
        return f"DEEPaaS {module.deepaas} has no deepaas-cli"
    if release in _NEVER_STARTS:
        return f"deepaas-cli {module.deepaas} cannot start"
    if module.in_development or not _FIRST_KNOWN <= release < _FIRST_UNKNOWN:
        return f"deepaas-cli of DEEPaaS {module.deepaas} is not known here"
    if module.train_described is None:
        return "deepaas-cli needs get_train_args(), which the module lacks or which fails"
    return (
        _limit_of_names(module)
        or _limit_of_file(module, taken, file_name)
        or _limit_of_defaults(module, taken, arguments)
        or _limit_of_arguments(module, arguments)
        or _limit_of_answer(module, arguments)
    )


def _limit_of_names(module: Module) -> str | None:
    for field in module.fields:
        if not field.name.isidentifier():
            return f"deepaas-cli loses the argument {field.name}: its name is no identifier"
        if field.name in _RESERVED:
            return f"the argument {field.name} clashes with deepaas-cli's own option"
    if module.release < (2, 5) and not (module.train_described and all(f.described for f in module.fields)):
        return f"deepaas-cli {module.deepaas} needs a description on every argument"
    return None


def _limit_of_file(module: Module, taken: Field, file_name: str) -> str | None:
    release = module.release
    if release < (2, 5) and taken.name != "files":
        return f"deepaas-cli {module.deepaas} takes a file only as `files`, not as {taken.name}"
    if release >= (2, 5) and not taken.exact_field:
        return f"deepaas-cli {module.deepaas} takes {taken.name} ({taken.type}) for text, not for a file"
    if release >= (2, 5, 2) and not taken.file:
        return f"{taken.name} is not declared as a file"
    if mimetypes.guess_type(file_name)[0] is None:
        return "deepaas-cli hands over no content type for this file's name"
    return None


def _limit_of_defaults(module: Module, taken: Field, arguments: Mapping[str, Any]) -> str | None:
    for field in module.fields:
        if field.name == taken.name or field.name in arguments:
            continue
        if not field.has_default:
            return f"deepaas-cli would give {field.name}, which has no default, as <marshmallow.missing>"
        if field.default_called:
            return f"deepaas-cli would give the default of {field.name} as a function"
        if (
            module.release < (2, 2)
            and field.default_type == "str"
            and field.type not in ("String", "Str", "Field", "Raw")
        ):
            return f"deepaas-cli {module.deepaas} does not convert the default of {field.name}"
    return None


def _limit_of_arguments(module: Module, arguments: Mapping[str, Any]) -> str | None:
    simple = {"String": str, "Integer": int, "Float": (int, float)}
    for name, value in arguments.items():
        if sum(own.startswith(name) for own in _RESERVED | {f"no{own}" for own in _RESERVED}) > 1:
            return f"deepaas-cli takes {name} for the beginning of several options of its own"
        field = module.field(name)
        kind = field.type if field else ""
        wanted = simple.get(kind)
        if wanted is None or isinstance(value, bool) or not isinstance(value, wanted):  # type: ignore[arg-type]
            return f"deepaas-cli does not carry {name} ({kind}) as given"
        if (
            module.release < (2, 2)
            and field
            and field.default_type != {"String": "str", "Integer": "int"}.get(kind, "float")
        ):
            return f"deepaas-cli {module.deepaas} types {name} by its default ({field.default_type})"
    return None


def _limit_of_answer(module: Module, arguments: Mapping[str, Any]) -> str | None:
    accept = module.accept_for(arguments)
    if accept != "application/json":
        return f"deepaas-cli writes {accept} in some releases only, and then not always"
    return None


def cli_arguments(taken: Field, path: str, arguments: Mapping[str, Any], output: str) -> list[str]:
    """deepaas-cli's command line. The options before `predict` are its own; a value rides with its name, since a
    value that begins with a dash would be read as an option."""
    return [
        f"--deepaas_method_output={output}",
        "predict",
        f"--{taken.name}={path}",
        *(f"--{name}={value}" for name, value in arguments.items()),
    ]


def predict_limit(module: Module, installation: Installation, taken: Field, arguments: Mapping[str, Any]) -> str | None:
    """Why deepaas-predict, the program of 1.2 to 2.6, cannot carry this item; None where it can."""
    if PREDICT not in installation.programs:
        return f"DEEPaaS {module.deepaas} has no deepaas-predict"
    if module.in_development or module.release >= _FIRST_UNKNOWN:
        return f"deepaas-predict of DEEPaaS {module.deepaas} is not known here"
    if not module.has_predict_data:
        return "deepaas-predict calls predict_data(), which the module lacks"
    if taken.name != "files":
        return f"deepaas-predict gives the file as `files`, not as {taken.name}"
    if set(arguments) - {"accept"}:
        return "deepaas-predict carries no further arguments"
    if module.accept_for(arguments) != "application/json":
        return "deepaas-predict copies files of other types under names of its own"
    return None


def predict_arguments(path: str, folder: str) -> list[str]:
    """deepaas-predict's command line; it writes <folder>/out_<stem>.json as a Python repr."""
    return ["-i", path, "-o", folder]

"""The limit that a job is measured against: a bare loop over local files in the image's own interpreter.

    python in_process.py RECORDINGS ANSWERS

Imports the one module that is installed, once, and calls it as the supervisor's worker does; nothing is fetched,
copied, checked or uploaded.
"""

import json
import mimetypes
import sys
from importlib.metadata import entry_points
from pathlib import Path

from deepaas.model.v2.wrapper import UploadedFile
from marshmallow import missing


def main(recordings: Path, answers: Path) -> None:
    (entry_point,) = entry_points(group="deepaas.v2.model")
    module = entry_point.load()
    if hasattr(module, "warm"):
        module.warm()
    defaults = {
        name: field.load_default
        for name, field in module.get_predict_args().items()
        if field.load_default is not missing
    }
    for path in sorted(recordings.iterdir()):
        content_type = mimetypes.guess_type(path.name)[0]
        upload = UploadedFile("files", str(path), content_type, path.name)
        (answers / f"{path.name}.json").write_text(json.dumps(module.predict(files=upload, **defaults)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

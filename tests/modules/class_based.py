"""Is an object with methods instead of a module, as DEEPaaS' own base class suggests."""

import os
from typing import Any

from marshmallow import fields


class Model:
    def __init__(self) -> None:
        self.warmed = False

    def get_metadata(self) -> Any:
        return {"name": "class_based"}

    def get_predict_args(self) -> Any:
        return {
            "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"})
        }

    def get_train_args(self) -> Any:
        return {}

    def warm(self) -> None:
        self.warmed = True

    def predict(self, **kwargs: Any) -> Any:
        return {"name": os.path.basename(kwargs["files"].original_filename)}


API = Model()

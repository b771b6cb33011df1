"""Needs a package that its image lacks."""

import no_such_package_for_tests  # type: ignore[import-not-found]

predict = no_such_package_for_tests.predict

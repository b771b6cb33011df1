"""The supervisor with real DEEPaaS releases and a real S3 server."""

import pytest

pytest.register_assert_rewrite("tests.integration.cases", "tests.integration.cell")

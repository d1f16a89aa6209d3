"""Lets the checks that the tests of the services share explain themselves when they fail."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.services.wire_examples")

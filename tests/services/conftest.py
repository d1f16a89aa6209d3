"""Lets the checks that stand beside the tests explain themselves when they fail."""

from __future__ import annotations

import pytest

_RULES = ("tasks_api_rules", "xhuoapi_rules", "kie_rules", "acedatacloud_mcp_rules", "gpt_image_mcp_rules")
pytest.register_assert_rewrite(*(f"tests.services.{name}" for name in _RULES))

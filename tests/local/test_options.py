from __future__ import annotations

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.local.options import ServiceOptions
from tests.local.clients import TasksApiClient


def test_rates_hit_their_share_and_the_same_prompts_every_time():
    def outcomes(seed):
        rates = {"fail_rate": 0.3, "refuse_rate": 0.3, "rate_limit_rate": 0.2}
        with LocalImageService(latency=0, seed=seed, **rates) as service:
            client = TasksApiClient(f"{service.url}/acedatacloud")
            codes = [client.submit(f"kite {number}").status_code for number in range(80)]
            return codes, [task.failed for task in service.tasks]

    codes, failed = outcomes(1)
    assert (codes, failed) == outcomes(1)
    assert codes != outcomes(2)[0]
    assert min(codes.count(code) for code in (200, 403, 429)) > 5
    assert 0.1 < sum(failed) / len(failed) < 0.5


def test_a_latency_can_be_a_range():
    options = ServiceOptions(latency="1-4")
    drawn = [options.latency_of(f"kite {number}", 0) for number in range(50)]
    assert all(1 <= latency < 4 for latency in drawn)
    assert max(drawn) - min(drawn) > 1
    assert options.latency_of("kite 0", 0) == drawn[0]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("latency", value) for value in ("", "-1", "4-1", "nan", "inf", "1-2-3", "soon")),
        *(("create_limit", value) for value in (" ", "20", "0/1s", "20/0s", "a/b", "-1/1s")),
        *(("query_limit", "20"), ("fail_rate", 2), ("refuse_rate", -0.1), ("rate_limit_rate", 1.1)),
        *(("max_active", 0), ("keep_tasks", 0), ("record_delay", -1), ("webhook_secret", "")),
    ],
)
def test_what_makes_no_sense_is_refused(option, value):
    with pytest.raises(ValueError, match="rate limit" if option.endswith("limit") else option):
        ServiceOptions(**{option: value})

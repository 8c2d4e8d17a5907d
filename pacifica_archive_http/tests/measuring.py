"""What a server tells at ``/metrics``, as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from asking import Ask
    from prometheus_client.samples import Sample


def read_samples(ask: Ask) -> list[Sample]:
    """Ask for the metrics; raises if they are not as Prometheus reads them."""
    answer = ask("GET", "/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return [sample for family in families for sample in family.samples]


def read_number(ask: Ask, name: str, **labels: str) -> float:
    """Return the sum of the samples of a name that have these labels."""
    return sum(
        sample.value
        for sample in read_samples(ask)
        if sample.name == f"pacifica_archive_{name}"
        and labels.items() <= sample.labels.items()
    )

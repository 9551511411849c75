"""Metrics for who collects them: in Prometheus' text format, for programs that bring the shop's token for it."""

import hmac
from typing import Annotated

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from souk.kit.config import Section

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Scraping(msgspec.Struct, frozen=True):
    """What a program has to bring; without it no program may read the metrics."""

    metrics_token: Annotated[str, msgspec.Meta(pattern=r"^([\x21-\x7e]{32,255})?(?!\n)$")] = ""


settings = Section(Scraping, "SOUK")


def may_scrape(authorization: str) -> bool:
    """Whether this is the header of a program that may read the metrics."""
    token = settings.now.metrics_token
    return bool(token) and hmac.compare_digest(authorization.encode(errors="replace"), f"Bearer {token}".encode())


def write_metrics() -> bytes:
    """Every metric of this process."""
    return generate_latest()

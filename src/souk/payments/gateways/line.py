"""HTTP to a provider, with the shop's patience; a failure tells whether money may have moved."""

from souk.kit import lines
from souk.kit.lines import NO_ANSWER, Answer, failed
from souk.payments.settings import Settings

__all__ = ["NO_ANSWER", "Answer", "Line", "failed"]


class Line(lines.Line):
    """Calls to one provider."""

    def __init__(self, base_url: str, settings: Settings) -> None:
        patience = lines.Patience(settings.gateway_connect_s, settings.gateway_timeout_s, settings.gateway_in_flight)
        super().__init__(base_url, patience)

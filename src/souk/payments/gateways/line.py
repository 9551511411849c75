"""HTTP to a provider, with the shop's patience; a failure tells whether money may have moved."""

from souk.kit import lines
from souk.kit.lines import NO_ANSWER, Answer, Silent, failed
from souk.payments.settings import Settings

__all__ = ["NO_ANSWER", "Answer", "Line", "failed", "if_they_know_us"]


class Line(lines.Line):
    """Calls to one provider."""

    def __init__(self, base_url: str, settings: Settings) -> None:
        patience = lines.Patience(settings.gateway_connect_s, settings.gateway_timeout_s, settings.gateway_in_flight)
        super().__init__(base_url, patience)


def if_they_know_us(answer: Answer) -> Answer:
    """Their answer; raises Silent if they do not let us in, so that they are asked again once the key is right."""
    if answer.status in (401, 403):
        raise Silent(f"they do not let us in: {answer.status}")
    return answer

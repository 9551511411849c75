"""localstripe on the loopback alone, and with the way back that its confirmation does not know.

    python -m tests.payments.localstripe_server PORT

Its own command listens on all interfaces, and a card that asks the buyer gets no address to go to.
"""

import sys
from typing import Any

from aiohttp import web
from localstripe import resources

AT = [api[1] for api in resources.extra_apis].index("/v1/payment_intents/{id}/confirm")


def confirm(id: str, return_url: str | None = None, **data: Any) -> Any:
    intent = resources.PaymentIntent._api_confirm(id, **data)
    if intent.next_action:
        page = f"http://stripe.test/{id}"
        intent.next_action = {"type": "redirect_to_url", "redirect_to_url": {"url": page, "return_url": return_url}}
    return intent


if __name__ == "__main__":
    resources.extra_apis[AT] = ("POST", "/v1/payment_intents/{id}/confirm", confirm)
    from localstripe.server import app  # it takes its routes when it is imported

    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)

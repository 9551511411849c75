"""What a buyer sees: the page on which a payment is approved or refused. It needs no JavaScript."""

from html import escape

from souk.sandbox.types import Charge, Checkout

# Minor units in which no currency of ours has two digits (ISO 4217).
NO_DIGITS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"}
)
THREE_DIGITS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})

FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 12vh auto; padding: 0 1rem; color: #1b1b1b; background: #fff }}
strong {{ font-size: 2rem; display: block }}
form {{ display: inline }}
button {{ font: inherit; padding: .6rem 1.4rem; margin: 1rem .5rem 0 0; border: 1px solid #1b1b1b; border-radius: .4rem; background: #fff }}
button.yes {{ background: #1b1b1b; color: #fff }}
small {{ color: #595959 }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
<p><small>A sandbox: no real money moves here.</small></p>
</main>
</body>
</html>
"""
QUESTION = """<p>Order {reference}<strong>{price}</strong></p>
<form method="post" action="/pay/{id}/approve"><button class="yes" type="submit">Approve</button></form>
<form method="post" action="/pay/{id}/refuse"><button type="submit">Refuse</button></form>"""
DECIDED = "<p>Order {reference}<strong>{price}</strong></p>\n<p>This payment is {status}.</p>{way_back}"
WAY_BACK = '\n<p><a href="{url}" rel="noreferrer">Back to the shop</a></p>'


def page_of(payment: Charge | Checkout) -> str:
    title = "Confirm your card payment" if isinstance(payment, Charge) else "Pay with the sandbox app"
    facts = {"reference": escape(payment.reference), "price": escape(price_of(payment.amount, payment.currency))}
    if payment.status in ("created", "requires_action"):
        return FRAME.format(title=title, content=QUESTION.format(id=escape(payment.id), **facts))
    way_back = WAY_BACK.format(url=escape(payment.return_url)) if payment.return_url else ""
    return FRAME.format(title=title, content=DECIDED.format(status=escape(payment.status), way_back=way_back, **facts))


def price_of(amount: int, currency: str) -> str:
    digits = 0 if currency in NO_DIGITS else 3 if currency in THREE_DIGITS else 2
    whole, rest = divmod(amount, 10**digits)
    return f"{whole:,}{f'.{rest:0{digits}d}' if digits else ''} {currency}"

"""PayPal as its documents describe it, as far as a shop sees it: tokens, orders, approval, captures, refunds, signed webhooks, reports."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

CLIENT_ID, SECRET, WEBHOOK_ID = "a-client", "a-secret", "WH-1"
GENUINE = "signed by paypal"
LONGEST = timedelta(days=31)
PAGE_SIZE = 2  # whatever is asked for, so that a test sees several pages


class FakePayPal:
    """One account: what was ordered, captured and refunded. Every call is answered once per PayPal-Request-Id."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self.transactions: list[dict[str, Any]] = []
        self.happens = timedelta(hours=-4)  # when, seen from now, what is done is said to have happened
        self.refreshed = timedelta(hours=-1)  # up to when reports tell of it
        self.largest_report = 10_000
        self.reports = 0
        self.lose_next = False  # do it and answer 500
        self.decline_next = False
        self.forbid_next = False  # as if our app had no right to give money back
        self.url = ""
        self.app = web.Application()
        self.app.add_routes(
            [
                web.post("/v1/oauth2/token", self.give_token),
                web.post("/v2/checkout/orders", self.create),
                web.get("/v2/checkout/orders/{id}", self.show),
                web.post("/v2/checkout/orders/{id}/capture", self.capture),
                web.get("/v2/payments/captures/{id}", self.show_capture),
                web.post("/v2/payments/captures/{id}/refund", self.refund),
                web.get("/v1/reporting/transactions", self.report),
                web.post("/v1/notifications/verify-webhook-signature", self.verify),
            ]
        )

    async def give_token(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "Basic " + b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode():
            return web.json_response({"error": "invalid_client"}, status=401)
        assert dict(await request.post()) == {"grant_type": "client_credentials"}
        return web.json_response({"access_token": "a-token", "token_type": "Bearer", "expires_in": 32400})

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["payment_source"]["paypal"]["experience_context"]["return_url"]

        def work() -> dict[str, Any]:
            order_id = f"ORDER{len(self.orders)}"
            links = [{"rel": "payer-action", "href": f"{self.url}/checkoutnow?token={order_id}"}]
            units = [{**unit, "payments": {"captures": []}} for unit in asked["purchase_units"]]
            self.orders[order_id] = {"id": order_id, "status": "PAYER_ACTION_REQUIRED", "purchase_units": units, "links": links}
            return self.orders[order_id]

        return self.answer(request, work)

    async def show(self, request: web.Request) -> web.Response:
        self.check(request)
        order = self.orders.get(request.match_info["id"])
        return web.json_response(order) if order else web.json_response({"name": "RESOURCE_NOT_FOUND"}, status=404)

    async def capture(self, request: web.Request) -> web.Response:
        order = self.orders[request.match_info["id"]]
        if order["status"] == "COMPLETED" and request.headers["PayPal-Request-Id"] not in self.answers:
            return self.refuse("ORDER_ALREADY_CAPTURED")
        if order["status"] == "PAYER_ACTION_REQUIRED":
            return self.refuse("ORDER_NOT_APPROVED")
        if self.decline_next:
            self.decline_next = False
            return self.refuse("INSTRUMENT_DECLINED")

        def work() -> dict[str, Any]:
            unit = order["purchase_units"][0]
            taken = {"id": f"CAPTURE-{order['id']}", "status": "COMPLETED", "amount": unit["amount"], "custom_id": unit["custom_id"]}
            unit["payments"]["captures"] = [taken]
            order["status"] = "COMPLETED"
            self.move(taken["id"], "T0006", unit["amount"]["value"], custom_field=unit["custom_id"])
            return order

        return self.answer(request, work)

    async def show_capture(self, request: web.Request) -> web.Response:
        self.check(request)
        units = [unit for order in self.orders.values() for unit in order["purchase_units"]]
        found = [one for unit in units for one in unit["payments"]["captures"] if one["id"] == request.match_info["id"]]
        return web.json_response(found[0]) if found else web.json_response({"name": "RESOURCE_NOT_FOUND"}, status=404)

    async def refund(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if self.forbid_next:
            self.forbid_next = False
            raise web.HTTPForbidden
        if self.decline_next:
            self.decline_next = False
            return self.refuse("REFUND_NOT_ALLOWED")

        def work() -> dict[str, Any]:
            self.refunds.append({"id": f"REFUND{len(self.refunds)}", "status": "COMPLETED", **asked})
            origin = {"paypal_reference_id": request.match_info["id"], "paypal_reference_id_type": "TXN"}
            self.move(self.refunds[-1]["id"], "T1107", "-" + asked["amount"]["value"], custom_field=asked["custom_id"], **origin)
            return self.refunds[-1]

        return self.answer(request, work)

    async def report(self, request: web.Request) -> web.Response:
        self.check(request)
        self.reports += 1
        start, end = (datetime.fromisoformat(request.query[name]) for name in ("start_date", "end_date"))
        page, refreshed = int(request.query["page"]), datetime.now(UTC) + self.refreshed
        if not start < end <= start + LONGEST or int(request.query["page_size"]) > 500:
            return web.json_response({"name": "INVALID_REQUEST"}, status=400)
        end = min(end, refreshed)
        found = [one for one in self.transactions if start <= datetime.fromisoformat(one["transaction_initiation_date"]) <= end]
        if len(found) > self.largest_report:
            return web.json_response({"name": "RESULTSET_TOO_LARGE"}, status=400)
        shown = found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        return web.json_response(
            {
                "transaction_details": [{"transaction_info": one} for one in shown],
                "account_number": "XZXSPECPDZHZU",
                "start_date": to_date(start),
                "end_date": to_date(end),
                "last_refreshed_datetime": to_date(refreshed),
                "page": page,
                "total_items": len(found),
                "total_pages": -(-len(found) // PAGE_SIZE),
            }
        )

    async def verify(self, request: web.Request) -> web.Response:
        self.check(request)
        asked = await request.json()
        genuine = asked["transmission_sig"] == GENUINE and asked["webhook_id"] == WEBHOOK_ID
        return web.json_response({"verification_status": "SUCCESS" if genuine else "FAILURE"})

    def answer(self, request: web.Request, work: Any) -> web.Response:
        self.check(request)
        key = request.headers["PayPal-Request-Id"]
        if key not in self.answers:
            self.answers[key] = json.loads(json.dumps(work()))
        if self.lose_next:
            self.lose_next = False
            return web.json_response({"name": "INTERNAL_SERVER_ERROR"}, status=500)
        return web.json_response(self.answers[key], status=201)

    def check(self, request: web.Request) -> None:
        if request.headers["Authorization"] != "Bearer a-token":
            raise web.HTTPUnauthorized

    def refuse(self, issue: str) -> web.Response:
        return web.json_response({"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": issue}]}, status=422)

    def move(self, transaction_id: str, code: str, value: str, status: str = "S", **more: str) -> None:
        """Money moved: a line of the report."""
        date = to_date(datetime.now(UTC) + self.happens)
        info = {"transaction_id": transaction_id, "transaction_event_code": code, "transaction_status": status, **more}
        info |= {"transaction_initiation_date": date, "transaction_updated_date": date}
        self.transactions.append({**info, "transaction_amount": {"currency_code": "EUR", "value": value}})

    def approve(self, order_id: str) -> dict[str, Any]:
        """The buyer says yes in their app; the webhook that tells of it."""
        self.orders[order_id]["status"] = "APPROVED"
        return {"id": f"WH-{order_id}-APPROVED", "event_type": "CHECKOUT.ORDER.APPROVED", "resource": self.orders[order_id]}

    def tell_capture(self, order_id: str) -> dict[str, Any]:
        capture = self.orders[order_id]["purchase_units"][0]["payments"]["captures"][0]
        return {"id": f"WH-{order_id}-COMPLETED", "event_type": "PAYMENT.CAPTURE.COMPLETED", "resource": capture}


def to_date(moment: datetime) -> str:
    """A moment as reports write it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}+0000"

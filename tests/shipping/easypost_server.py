"""EasyPost as its documents describe it, as far as a shop sees it: shipments with rates, purchase, refund, trackers, signed webhooks."""

import asyncio
import hashlib
import hmac
import json
from base64 import b64encode
from typing import Any

from aiohttp import web

API_KEY, SECRET = "EZTK-a-key", "a secret with an Å"
PAPER = b"%PDF-1.4 the carrier's own"


class FakeEasyPost:
    """One account: what was prepared, bought and refunded."""

    def __init__(self) -> None:
        self.shipments: dict[str, dict[str, Any]] = {}
        self.purchases: list[str] = []
        self.refunds: list[str] = []
        self.details: dict[str, list[dict[str, Any]]] = {}
        self.lose_next = ""  # the last part of a path: done, and answered with 500
        self.garble_next = False
        self.refuse_next: tuple[int, str] | None = None
        self.refund_status = "submitted"
        self.pause_s = 0.0  # so long it takes to sell a label or to take it back, and refuses to be asked meanwhile
        self.busy: set[str] = set()
        self.most_busy = 0
        self.url = ""
        self.app = web.Application()
        self.app.add_routes(
            [
                web.post("/v2/shipments", self.create),
                web.get("/v2/shipments/{id}", self.show),
                web.post("/v2/shipments/{id}/buy", self.buy),
                web.post("/v2/shipments/{id}/refund", self.refund),
                web.get("/v2/trackers", self.list_trackers),
                web.get("/paper/{id}", self.give_paper),
            ]
        )

    async def create(self, request: web.Request) -> web.Response:
        self.check(request)
        asked = (await request.json())["shipment"]
        assert set(asked["to_address"]) == {"name", "street1", "street2", "city", "state", "zip", "country", "phone"}
        if asked["to_address"]["zip"] == "00000":
            return self.refuse(422, "ADDRESS.VERIFY.FAILURE")
        number = f"shp_{len(self.shipments):032x}"
        rates = [
            {"id": f"rate_{name}", "object": "Rate", "carrier": "USPS", "service": service, "rate": rate, "currency": "USD"}
            for name, service, rate in (("a", "Express", "33.10"), ("b", "GroundAdvantage", "7.58"), ("c", "Priority", "9.02"))
        ]
        self.shipments[number] = {
            "id": number, "object": "Shipment", "reference": asked["reference"], "parcel": {"object": "Parcel", **asked["parcel"]},
            "rates": rates, "selected_rate": None, "postage_label": None, "tracking_code": None, "tracker": None, "refund_status": None,
            "messages": [], "options": asked["options"], "mode": "test",
        }  # fmt: skip
        return self.answer("shipments", self.shipments[number], 201)

    async def show(self, request: web.Request) -> web.Response:
        self.check(request)
        found = self.shipments.get(request.match_info["id"])
        return self.answer("show", found) if found else self.refuse(404, "NOT_FOUND")

    async def buy(self, request: web.Request) -> web.Response:
        self.check(request)
        shipment = self.shipments[request.match_info["id"]]
        wanted = (await request.json())["rate"]["id"]
        if self.refuse_next:
            (status, code), self.refuse_next = self.refuse_next, None
            return self.refuse(status, code)
        if shipment["postage_label"] or shipment["id"] in self.busy:
            return self.refuse(422, "SHIPMENT.POSTAGE.EXISTS")
        await self.pause(shipment["id"])
        shipment["selected_rate"] = next(rate for rate in shipment["rates"] if rate["id"] == wanted)
        shipment["tracking_code"] = f"94055{len(self.purchases):017d}"
        shipment["postage_label"] = {
            "id": "pl_1", "object": "PostageLabel", "label_file_type": "application/pdf", "label_url": f"{self.url}/paper/{shipment['id']}",
        }  # fmt: skip
        self.purchases.append(shipment["id"])
        return self.answer("buy", shipment)

    async def refund(self, request: web.Request) -> web.Response:
        self.check(request)
        shipment = self.shipments[request.match_info["id"]]
        if shipment["id"] in self.busy:
            return self.refuse(422, "SHIPMENT.REFUND.UNAVAILABLE")
        await self.pause(shipment["id"])
        shipment["refund_status"] = self.refund_status
        self.refunds.append(shipment["id"])
        return self.answer("refund", shipment)

    async def list_trackers(self, request: web.Request) -> web.Response:
        self.check(request)
        code = request.query["tracking_code"]
        await self.pause(code)
        found = [self.tracker(code)] if code in self.details else []
        return self.answer("trackers", {"trackers": found, "has_more": False})

    async def give_paper(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers, "our key is nobody's business there"
        return web.Response(body=PAPER, content_type="application/pdf")

    async def pause(self, number: str) -> None:
        self.busy.add(number)
        self.most_busy = max(self.most_busy, len(self.busy))
        await asyncio.sleep(self.pause_s)
        self.busy.discard(number)

    def tracker(self, code: str) -> dict[str, Any]:
        details = self.details.get(code, [])
        status = details[-1]["status"] if details else "unknown"
        return {"id": "trk_1", "object": "Tracker", "tracking_code": code, "status": status, "carrier": "USPS", "tracking_details": details}

    def happen(self, code: str, status: str, moment: str, city: str | None = "SAN FRANCISCO") -> None:
        """The parcel is scanned."""
        place = {"object": "TrackingLocation", "city": city, "state": "CA", "country": "US", "zip": "94105"}
        detail = {"object": "TrackingDetail", "message": f"It is {status}", "status": status, "status_detail": "status_update",
                  "datetime": moment, "source": "USPS", "tracking_location": place}  # fmt: skip
        self.details.setdefault(code, []).append(detail)

    def webhook(self, code: str, description: str = "tracker.updated") -> tuple[bytes, dict[str, str]]:
        """What EasyPost sends when a tracker has changed, and the headers."""
        event = {"id": "evt_1", "object": "Event", "mode": "test", "description": description, "previous_attributes": {},
                 "result": self.tracker(code), "status": "pending"}  # fmt: skip
        body = json.dumps(event).encode()
        # The ring above the A on its own, as the secret is normalised over there.
        mac = hmac.new("a secret with an A\u030a".encode(), body, hashlib.sha256).hexdigest()
        return body, {"x-hmac-signature": f"hmac-sha256-hex={mac}"}

    def check(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != "Basic " + b64encode(f"{API_KEY}:".encode()).decode():
            raise web.HTTPUnauthorized(text='{"error": {"code": "APIKEY.INACTIVE", "message": "", "errors": []}}')

    def answer(self, what: str, body: object, status: int = 200) -> web.Response:
        if self.garble_next:
            self.garble_next = False
            return web.json_response({"id": None})
        if self.lose_next == what:
            self.lose_next = ""
            return web.json_response({"error": {"code": "INTERNAL_SERVER_ERROR"}}, status=500)
        return web.json_response(body, status=status)

    def refuse(self, status: int, code: str) -> web.Response:
        return web.json_response({"error": {"code": code, "message": "No", "errors": []}}, status=status)

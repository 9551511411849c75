"""The API keeps to its own description, whoever asks and whatever is sent: no failure, no undocumented answer."""

import asyncio
import sys
from pathlib import Path

import pytest
from tests.journeys.client import Client
from tests.journeys.conftest import Shop
from tests.journeys.market import Market, fill_cart, open_market, order

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# What would end the session that asks, what is signed by somebody else, and what is no JSON.
LEFT_OUT = r"^/auth|^/payments/webhooks/|^/shippings/webhooks/|/import|/export|^/media|/redrive|/images|/sellers/[^/]+/|/roles|^/sellers$"


async def find_ids(shop: Shop, market: Market, buyer: Client) -> dict[str, str]:
    """Real ids for path parameters, so that what is asked for is there."""
    goods = await market.put_on_sale(100)
    product = (await buyer.get(f"/products/{goods['id']}")).ok
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok
    return {
        "product_id": goods["id"],
        "variant_id": product["variants"][0]["id"],
        "sku": goods["sku"],
        "store_id": market.store_id,
        "seller_id": market.seller_id,
        "order_id": placed["id"],
        "payment_id": placed["id"],
        "cart_id": await fill_cart(buyer, goods["sku"]),
        "user_id": str(buyer.id),
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["anonymous", "buyer", "seller", "admin"])
async def test_every_operation_keeps_to_its_description(shop: Shop, role: str, tmp_path: Path) -> None:
    if shop.wire:
        pytest.skip("the same routes with the same description; the journeys compare the two")
    market = await open_market(shop)
    buyer = await shop.buyer()
    ids = await find_ids(shop, market, buyer)
    who = {"anonymous": shop.visitor(), "buyer": buyer, "seller": market.seller, "admin": await shop.admin()}[role]
    parameters = "\n".join(f'"path.{name}" = "{value}"' for name, value in ids.items())
    config = tmp_path / "schemathesis.toml"
    config.write_text(f"[parameters]\n{parameters}\n")
    headers = [part for name, value in who.headers.items() for part in ("-H", f"{name}: {value}")]
    command = (
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{shop.url}/openapi.json", *headers,
        "--checks", CHECKS, "--phases", "coverage" if role == "admin" else "fuzzing", "--max-examples", "2",
        "--exclude-path-regex", LEFT_OUT, "--exclude-deprecated", "--no-color",
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path)
    output, _ = await process.communicate()
    failures = output.decode().partition("= FAILURES =")[2].partition("= WARNINGS =")[0]
    assert process.returncode == 0, failures[:12000] or output.decode()[-6000:]

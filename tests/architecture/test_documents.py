"""What is written about the shop is true: settings, and the paths that the customer's documents name."""

from pathlib import Path

import msgspec
import pytest

from souk import app
from souk.app import Settings, Shop
from souk.kit.auth import Verifier
from souk.kit.config import Section
from souk.operations.docs import write_openapi

GUIDE = Path(__file__).parents[2] / "docs/guides/settings.md"

# Method and path as the documents write them, for the contexts that are there.
PROMISED = (
    "POST /auth/signup", "POST /auth/register", "POST /user/register", "POST /auth/login", "POST /user/login",
    "GET /auth/me", "PATCH /auth/me", "DELETE /auth/me", "GET /users/{}", "PATCH /users/{}", "PUT /user/{}",
    "GET /products", "POST /products", "GET /products/{}", "PATCH /products/{}", "DELETE /products/{}",
    "GET /product/all", "GET /product/{}", "POST /product/create", "GET /products/search", "GET /categories",
    "POST /stores", "GET /stores", "GET /stores/{}", "PATCH /stores/{}", "DELETE /stores/{}",
    "POST /orders", "GET /orders", "GET /orders/{}", "PATCH /orders/{}", "DELETE /orders/{}",
    "POST /order/create", "GET /order/{}", "DELETE /order/{}", "POST /payments",
    "POST /carts", "GET /carts/{}", "PATCH /carts/{}", "DELETE /carts/{}", "POST /carts/{}/items",
    "POST /products/{}/reviews", "GET /products/{}/reviews", "GET /products/{}/reviews/{}", "PATCH /products/{}/reviews/{}",
    "DELETE /products/{}/reviews/{}", "POST /reviews/{}/votes", "POST /reviews/{}/reply", "POST /favorites", "GET /favorites",
    "DELETE /favorites/{}", "POST /products/{}/back-in-stock",
    "GET /notifications", "POST /notifications", "GET /notification/{}", "POST /notification/create", "GET /users/{}/notifications",
)  # fmt: skip


@pytest.fixture(scope="module")
def operations() -> dict[str, dict[str, object]]:
    """Every operation of the OpenAPI document, with its parameters' names left out."""
    app.import_contexts()
    front = app.make_public_app(Shop(Settings(), dict.fromkeys(app.CONTEXTS, "postgresql://nowhere"), {}), Verifier())
    document = msgspec.json.decode(write_openapi(front.app))
    found: dict[str, dict[str, object]] = {}
    for path, methods in document["paths"].items():
        parts = ["{}" if part.startswith("{") else part for part in path.split("/")]
        found |= {f"{method.upper()} {'/'.join(parts)}": operation for method, operation in methods.items()}
    return found


def find_unnamed(guide: str, names: set[str]) -> list[str]:
    """Settings that the guide does not know."""
    return sorted(name for name in names if f"`{name}`" not in guide)


def find_silent_operations(operations: dict[str, dict[str, object]]) -> list[str]:
    """Operations that do not say what they do, or how they refuse."""
    return [
        name
        for name, operation in operations.items()
        if not (operation.get("description") or operation.get("summary")) or "422" not in msgspec.to_builtins(operation["responses"])
    ]


def test_the_guide_names_every_setting() -> None:
    app.import_contexts()
    guide = GUIDE.read_text()
    declared = [(section.prefix, section.kind) for section in Section.declared] + [("SOUK", Settings)]
    names = {f"{prefix}_{field.name}".upper() for prefix, kind in declared for field in msgspec.structs.fields(kind)}
    assert len(names) > 40
    assert find_unnamed(guide, names) == []
    assert find_unnamed(guide, {"SOUK_PORT", "SOUK_PLANTED"}) == ["SOUK_PLANTED"]


def test_every_path_of_the_customers_documents_is_there(operations: dict[str, dict[str, object]]) -> None:
    assert [promised for promised in PROMISED if promised not in operations] == []


def test_other_names_are_marked_deprecated_and_ours_are_not(operations: dict[str, dict[str, object]]) -> None:
    deprecated = {name for name, operation in operations.items() if operation.get("deprecated")}
    assert {"POST /auth/signup", "POST /order/create", "GET /product/all"} <= deprecated
    assert not {"POST /auth/register", "POST /orders", "GET /products"} & deprecated


def test_every_operation_says_what_it_does_who_may_and_how_it_refuses(operations: dict[str, dict[str, object]]) -> None:
    assert len(operations) > 100
    assert find_silent_operations(operations) == []
    planted = {"GET /silent": {"responses": {"422": {}}}, "GET /unrefused": {"summary": "Orders", "responses": {"200": {}}}}
    assert find_silent_operations(planted) == ["GET /silent", "GET /unrefused"]

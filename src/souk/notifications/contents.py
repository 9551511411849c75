"""What a message says: what its fact carries, with the numbers of orders and the names of goods. Nothing of a person."""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

import msgspec

from souk import catalog, orders
from souk.notifications.campaign_types import choose_words
from souk.notifications.types import Content, Notice
from souk.users import Contact

# As many as catalog answers for at once.
AT_ONCE = 500


class Gone(msgspec.Struct, frozen=True):
    """What the notice is about is not there any more: why nobody is told."""

    reason: str


class Goods(msgspec.Struct, frozen=True):
    """What products and SKUs are called."""

    products: Mapping[UUID, str]
    skus: Mapping[str, str]


def order_of(notice: Notice) -> UUID | None:
    """The order that a notice is about."""
    order_id = notice.content.get("order_id")
    return UUID(str(order_id)) if order_id is not None else None


def products_of(notice: Notice) -> Iterator[UUID]:
    if (product_id := notice.content.get("product_id")) is not None:
        yield UUID(str(product_id))


def skus_of(notice: Notice) -> Iterator[str]:
    """The SKUs that a notice names without their products."""
    yield from (str(line["sku"]) for line in lines_of(notice.content, "lines"))


def needs_goods(notice: Notice) -> bool:
    """Whether a notice cannot be told without what its goods are called."""
    return any(products_of(notice)) or any(skus_of(notice))


def lines_of(content: Content, name: str) -> Sequence[Mapping[str, object]]:
    """A list of a content, none if there is no such list."""
    found = content.get(name)
    return found if isinstance(found, list | tuple) else ()


async def find_orders(notices: Sequence[Notice]) -> dict[UUID, orders.Order]:
    """The orders that these notices are about."""
    wanted = sorted({order_id for notice in notices if (order_id := order_of(notice)) is not None})
    return {order.id: order for order in await orders.get_orders(tuple(wanted))} if wanted else {}


async def find_goods(notices: Sequence[Notice]) -> Goods:
    """What the goods that these notices are about are called."""
    products = sorted({product_id for notice in notices for product_id in products_of(notice)})
    skus = sorted({sku for notice in notices for sku in skus_of(notice)})
    named: dict[UUID, str] = {}
    for start in range(0, len(products), AT_ONCE):
        named |= {one.id: one.name for one in await catalog.get_products(tuple(products[start : start + AT_ONCE]))}
    called: dict[str, str] = {}
    for start in range(0, len(skus), AT_ONCE):
        called |= {one.sku: name_of(one) for one in await catalog.get_variants(tuple(skus[start : start + AT_ONCE]))}
    return Goods(named, called)


def name_of(variant: catalog.Variant) -> str:
    return f"{variant.product_name}, {variant.name}" if variant.name else variant.product_name


def complete(notice: Notice, known_orders: Mapping[UUID, orders.Order], goods: Goods) -> Content | Gone:
    """What the messages of a notice say."""
    content = dict(notice.content)
    if (order_id := order_of(notice)) is not None:
        order = known_orders.get(order_id)
        if order is None:
            return Gone("order_gone")
        return content | describe_order(order, content)
    if lines := lines_of(content, "lines"):
        items = [{"name": goods.skus[sku], "quantity": line["quantity"]} for line in lines if (sku := str(line["sku"])) in goods.skus]
        return {**content, "items": items} if items else Gone("goods_gone")
    for product_id in products_of(notice):
        name = goods.products.get(product_id)
        return {**content, "product_name": name} if name is not None else Gone("goods_gone")
    return content


def describe_order(order: orders.Order, content: Content) -> Content:
    """An order for its buyer, or for the seller whom the content names: the whole of it, or the pieces that it is about."""
    seller_id = content.get("seller_id")
    items = [item for item in order.items if seller_id in (None, str(item.seller_id))]
    totals = [part.total for part in order.parts if str(part.seller_id) == seller_id]
    pieces = {str(piece["line_id"]): piece["quantity"] for piece in lines_of(content, "pieces")}
    meant = [item for item in items if not pieces or str(item.id) in pieces]
    return {
        "number": str(order.number),
        "total": totals[0] if totals else order.total,
        "items": [{"name": item.name, "quantity": pieces.get(str(item.id), item.quantity)} for item in meant],
    }


def narrow(content: Content, contact: Contact | None) -> Content | None:
    """What the message to one person says: the words in their language, the price in their currency; None if nothing is left to say.

    A guest's language is not known.
    """
    if isinstance(words := content.get("words"), dict):
        said = choose_words(words, contact.language if contact else "en")
        content = {**{name: value for name, value in content.items() if name != "words"}, **said}
    prices = lines_of(content, "prices")
    if not prices:
        return content
    currency = contact.currency if contact else None
    chosen = next((price for price in prices if currency in (None, _currency_of(price))), None)
    return None if chosen is None else {**{name: value for name, value in content.items() if name != "prices"}, **chosen}


def _currency_of(price: Mapping[str, object]) -> object:
    money = price["price"]
    return money["currency"] if isinstance(money, dict) else None

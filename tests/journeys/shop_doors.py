"""The front doors of a real shop, by the words of its model: whoever asks there for something asks here for the same."""

from typing import Any
from uuid import UUID, uuid5

from tests.journeys.shop_model import BUYERS, Shop
from tests.journeys.shop_worths import DIGITAL, OFFERS
from tests.orders.market import as_guest, as_system, make_seller

from souk import carts, catalog, inventory, orders, payments, pricing, shipping
from souk.catalog.types import VariantChange
from souk.catalog.variants import change_variant
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import DomainError
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders.database import db
from souk.payments import ledger

EXPIRE_ORDER = "UPDATE orders.orders SET expires_at = now() - interval '1 second' WHERE id = $1 AND expires_at IS NOT NULL"
EXPIRE_PLACEMENT = "UPDATE orders.placement SET expires_at = now() - interval '1 second' WHERE order_id = $1"
SEE_STOCK = "SELECT sku, on_hand, reserved FROM inventory.stock WHERE sku = ANY($1)"
SEE_CARTS = "SELECT cart_id, sku, quantity FROM carts.cart_item WHERE cart_id = ANY($1)"
SEE_COUPONS = "SELECT code, uses FROM pricing.promotion WHERE code = ANY($1)"
SEE_ORDERS = """
    SELECT o.id, o.status, o.payment_status, o.fulfillment_status, o.total, o.refunded, coalesce(p.earned, 0) AS earned,
           coalesce(p.refunded, 0) AS given_back
    FROM orders.orders AS o LEFT JOIN payments.payment AS p ON p.id = o.id WHERE o.id = ANY($1)
"""
SEE_LINES = """
    SELECT order_id, sku, quantity, packed, shipped, delivered, canceled, return_open, returned FROM orders.order_line
    WHERE order_id = ANY($1)
"""
SEE_PARCELS = """
    SELECT s.id, s.status, p.status FROM shipping.shipment AS s JOIN orders.parcel AS p USING (order_id, id) WHERE s.id = ANY($1)
"""
SEE_RETURNS = "SELECT id, status FROM orders.returns WHERE id = ANY($1)"
SEE_ACCOUNTS = "SELECT id, balance FROM payments.account WHERE id = ANY($1)"


ADMIN = new_id()


def usd(cents: int) -> Money:
    return Money(cents, "USD")


class Doors:
    """A market of its own in the shop: sellers, goods, buyers and coupons that nobody else has, and the ids behind the model's words."""

    def __init__(self) -> None:
        self.mark = new_id().hex[-8:]
        self.users = {buyer: new_id() for buyer in BUYERS}
        self.sellers: dict[str, UUID] = {}
        self.stores: dict[str, UUID] = {}
        self.variants: dict[str, tuple[UUID, UUID]] = {}
        self.carts: dict[str, UUID] = {}
        self.orders: dict[int, UUID] = {}
        self.lines: dict[tuple[int, str], UUID] = {}
        self.parcels: dict[int, UUID] = {}
        self.returns: dict[int, UUID] = {}
        self.kept: dict[str, Any] = {}
        self.before: dict[str, int] = {}

    async def open(self, model: Shop) -> None:
        """The market as the model begins it."""
        for seller in sorted({seller for seller, _ in OFFERS.values()}):
            self.sellers[seller] = await make_seller(seller)
        with as_system():
            for seller, seller_id in self.sellers.items():
                self.stores[seller] = (await inventory.create_store(inventory.NewStore("A store", "DE", seller_id=seller_id))).id
            for sku, (seller, price) in OFFERS.items():
                variant = catalog.NewVariant(self.sku(sku), (catalog.Price(price, "USD"),), weight_g=300)
                new = catalog.NewProduct(
                    name=sku,
                    seller_id=self.sellers[seller],
                    status="published",
                    variants=(variant,),
                    requires_shipping=seller != DIGITAL,
                )
                (product,) = await catalog.create_products((new,))
                self.variants[sku] = (product.id, product.variants[0].id)
                count = inventory.StockCount(self.stores[seller], self.sku(sku), model.goods[sku].on_hand)
                await inventory.set_stock_levels((count,))
            for code, its in model.coupons.items():
                percentage = int(its.rate * 1_000_000)
                await pricing.create_coupon(
                    pricing.NewCoupon(
                        code=self.code(code),
                        name=code,
                        kind="percentage" if its.rate else "fixed",
                        rate_ppm=percentage or None,
                        amount=usd(its.amount) if its.amount else None,
                        seller_id=self.sellers.get(its.seller or ""),
                        usage_limit=its.limit,
                        usage_limit_per_buyer=its.limit_per_buyer,
                    )
                )
        for buyer in BUYERS:
            await self.take_cart(buyer)
        self.before = await self.balances()

    def sku(self, sku: str) -> str:
        return f"{sku}-{self.mark}"

    def code(self, code: str) -> str:
        return f"{code}-{self.mark}".upper()

    def buyer(self, buyer: str, key: str | None = None) -> Any:
        return asking(Caller(Principal("user", self.users[buyer], ("buyer",)), request_id="test", idempotency_key=key))

    def seller(self, seller: str, key: str | None = None) -> Any:
        who = Principal("user", uuid5(self.sellers[seller], "owner"), ("buyer",), (self.sellers[seller],))
        return asking(Caller(who, request_id="test", idempotency_key=key))

    async def take_cart(self, buyer: str) -> None:
        with self.buyer(buyer):
            self.carts[buyer] = (await carts.create_cart(carts.NewCart())).id

    async def ask(self, what: str, key: str, **how: Any) -> str | None:
        """Ask for something with this Idempotency-Key; the name of the refusal, or None."""
        try:
            await getattr(self, what)(key, **how)
        except DomainError as refusal:
            return type(refusal).__name__
        return None

    async def add_item(self, key: str, buyer: str, sku: str, quantity: int) -> None:
        with self.buyer(buyer, key):
            cart_id = self.kept.setdefault(key, self.carts[buyer])
            await carts.add_cart_item(cart_id, carts.NewItem(self.sku(sku), quantity))

    async def item(self, buyer: str, sku: str) -> UUID:
        cart = await carts.get_cart(self.carts[buyer])
        return next(item.id for item in cart.items if item.sku == self.sku(sku))

    async def set_quantity(self, key: str, buyer: str, sku: str, quantity: int) -> None:
        with self.buyer(buyer, key):
            await carts.set_item_quantity(self.carts[buyer], await self.item(buyer, sku), quantity)

    async def remove_item(self, key: str, buyer: str, sku: str) -> None:
        with self.buyer(buyer, key):
            await carts.remove_cart_item(self.carts[buyer], await self.item(buyer, sku))

    async def merge_cart(self, key: str, buyer: str, lines: dict[str, int]) -> None:
        with as_guest():
            cart = await carts.create_cart(carts.NewCart(tuple(carts.NewItem(self.sku(sku), n) for sku, n in lines.items())))
        who = Principal("user", self.users[buyer], ("buyer",))
        with asking(Caller(who, request_id="test", guest_token=str(cart.token))):
            merged = await carts.claim_cart(cart.id)
            assert (await carts.claim_cart(cart.id)).items == merged.items
        assert merged.id == self.carts[buyer]

    async def put_coupon(self, key: str, buyer: str, code: str) -> None:
        with self.buyer(buyer, key):
            await carts.set_cart_coupon(self.carts[buyer], self.code(code))

    async def clear_coupon(self, key: str, buyer: str) -> None:
        with self.buyer(buyer, key):
            await carts.clear_cart_coupon(self.carts[buyer])

    async def order(self, key: str, order: int, buyer: str, country: str, pay: str | None, expected: int | None = None) -> None:
        choice = orders.PaymentChoice("card", pay) if pay else None
        if pay == "wallet":
            choice = orders.PaymentChoice("wallet")
        order_id = self.orders.setdefault(order, new_id())
        new = orders.PlaceOrder(
            cart_id=self.carts[buyer],
            shipping_address=orders.Address(name="Ada", line1="1 Main St", city="A city", postal_code="10115", country=country),
            payment=choice,
            id=order_id,
            expected_total=None if expected is None else usd(expected),
        )
        again = key in self.kept
        try:
            with self.buyer(buyer, key):
                placed = await orders.place_order(self.kept.setdefault(key, new))
        except DomainError:
            if not again:
                del self.orders[order]
            raise
        self.lines |= {(order, plain(item.sku)): item.id for item in placed.items}
        if not again:
            await self.take_cart(buyer)

    async def pay(self, key: str, order: int, how: str) -> None:
        method, token = ("wallet", None) if how == "wallet" else ("card", how)
        order_id = self.orders[order]
        with asking(Caller(Principal("user", await self.buyer_of(order), ("buyer",)), request_id="test")):
            await payments.charge(payments.ChargeRequest(order_id, method, token, None, uuid5(order_id, key)))

    async def buyer_of(self, order: int) -> UUID | None:
        with as_system():
            return (await orders.get_order(self.orders[order])).user_id

    async def expire(self, key: str, order: int) -> None:
        async with db.transaction() as tx:
            await tx.run(EXPIRE_ORDER, self.orders[order])
            await tx.run(EXPIRE_PLACEMENT, self.orders[order])
        with as_system():
            await orders.resume_order(self.orders[order])

    async def cancel_whole(self, key: str, order: int) -> None:
        with as_admin(key):
            await orders.cancel_order(self.orders[order], orders.CancelOrder("not needed"))

    async def cancel_pieces(self, key: str, order: int, pieces: dict[str, int], seller: str | None) -> None:
        request = orders.CancelOrder("not needed", self.pieces(order, pieces))
        with self.seller(seller, key) if seller else as_admin(key):
            await orders.cancel_order(self.orders[order], request)

    async def cancel_part(self, key: str, order: int, seller: str) -> None:
        with self.seller(seller, key):
            await orders.cancel_order(self.orders[order], orders.CancelOrder("broken in the kiln"))

    def pieces(self, order: int, pieces: dict[str, int]) -> tuple[orders.LinePieces, ...]:
        return tuple(orders.LinePieces(self.lines[order, sku], n) for sku, n in pieces.items())

    async def pack(self, key: str, parcel: int, order: int, seller: str, pieces: dict[str, int] | None) -> None:
        items = None if pieces is None else self.pieces(order, pieces)
        with self.seller(seller, key):
            made = await orders.pack_parcel(orders.NewParcel(self.orders[order], items=items))
        assert self.parcels.setdefault(parcel, made.id) == made.id

    async def unpack(self, key: str, parcel: int) -> None:
        with as_admin(key):
            await shipping.cancel_shipment(self.parcels[parcel])

    async def dispatch(self, key: str, parcel: int) -> None:
        with as_admin(key):
            await shipping.dispatch_shipment(self.parcels[parcel], shipping.Consignment())

    async def deliver(self, key: str, parcel: int) -> None:
        with as_admin(key):
            await shipping.deliver_shipment(self.parcels[parcel])

    async def ask_return(self, key: str, back: int, order: int, sku: str, quantity: int, how: tuple[str, str]) -> None:
        reason, to = how
        new = orders.NewReturn((orders.ReturnedLine(self.lines[order, sku], quantity, reason),), refund_to=to)  # type: ignore[arg-type]
        with asking(Caller(Principal("user", await self.buyer_of(order), ("buyer",)), request_id="test", idempotency_key=key)):
            (made,) = await orders.request_return(self.orders[order], new)
        assert self.returns.setdefault(back, made.id) == made.id

    async def rule_on(self, key: str, back: int, status: str) -> None:
        with as_admin(key):
            await orders.change_return(self.returns[back], orders.ChangeReturn(status))  # type: ignore[arg-type]

    async def receive(self, key: str, back: int, arrived: tuple[int, int], deduction: int) -> None:
        with as_admin(key):
            (item,) = (await orders.get_return(self.returns[back])).items
            line = orders.ReceivedLine(item.line_id, *arrived)
            change = orders.ChangeReturn("received", "a crack" if deduction else None, (line,), usd(deduction))
            await orders.change_return(self.returns[back], change)

    async def goodwill(self, key: str, order: int, amount: int | None) -> None:
        order_id = self.orders[order]
        with as_system():
            await payments.refund(
                payments.RefundPayment(uuid5(order_id, key), order_id, None if amount is None else usd(amount), "a scratch")
            )

    async def count_stock(self, key: str, sku: str, on_hand: int) -> None:
        seller = OFFERS[sku][0]
        with self.seller(seller, key):
            await inventory.set_stock(inventory.StockCount(self.stores[seller], self.sku(sku), on_hand))

    async def restock(self, key: str, sku: str, pieces: int) -> None:
        seller = OFFERS[sku][0]
        with self.seller(seller, key):
            await inventory.record_movement(self.stores[seller], inventory.NewMovement("receive", self.sku(sku), pieces, "new ones"))

    async def set_price(self, key: str, sku: str, price: int) -> None:
        product_id, variant_id = self.variants[sku]
        with as_admin(key):
            await change_variant(product_id, variant_id, VariantChange(prices=(catalog.Price(price, "USD"),)))

    async def set_commission(self, key: str, seller: str, percent: int) -> None:
        with as_admin(key):
            await pricing.set_commission(pricing.NewCommissionRule(seller_id=self.sellers[seller], rate_ppm=percent * 10_000))

    async def set_terms(self, key: str, seller: str, fee_percent: int, final_sale: bool) -> None:
        with self.seller(seller, key):
            await orders.set_return_policy(
                orders.PolicyTerms(self.sellers[seller], restocking_fee_ppm=fee_percent * 10_000, final_sale=final_sale)
            )

    async def deposit(self, key: str, buyer: str, amount: int, token: str) -> None:
        with self.buyer(buyer, key):
            await payments.deposit_money(payments.DepositMoney(usd(amount), "card", token))

    async def send(self, key: str, buyer: str, amount: int) -> None:
        other = next(one for one in BUYERS if one != buyer)
        with self.buyer(buyer, key):
            await payments.send_money(payments.SendMoney(self.users[other], usd(amount)))

    async def quote(self, buyer: str, country: str) -> int:
        """What the buyer is shown before they order."""
        address = orders.Address(name="Ada", line1="1 Main St", city="A city", postal_code="10115", country=country)
        with self.buyer(buyer):
            return (await orders.quote_cart(orders.QuoteCart(cart_id=self.carts[buyer], shipping_address=address))).total.amount

    async def see(self) -> dict[str, dict[Any, Any]]:
        """How everything stands that the model knows."""
        orders_by, order_ids = {order_id: order for order, order_id in self.orders.items()}, list(self.orders.values())
        carts_by = {cart_id: buyer for buyer, cart_id in self.carts.items()}
        parcels_by = {parcel_id: parcel for parcel, parcel_id in self.parcels.items()}
        returns_by = {return_id: back for back, return_id in self.returns.items()}
        fetch = db.pool.fetch
        return {
            "stock": {plain(sku): tuple(rest) for sku, *rest in await fetch(SEE_STOCK, [self.sku(sku) for sku in OFFERS])},
            "carts": {(carts_by[cart_id], plain(sku)): n for cart_id, sku, n in await fetch(SEE_CARTS, list(carts_by))},
            "coupons": {plain(code): uses for code, uses in await fetch(SEE_COUPONS, [self.code(code) for code in ("TENTH", "POTTERY")])},
            "orders": {orders_by[order_id]: tuple(rest) for order_id, *rest in await fetch(SEE_ORDERS, order_ids)},
            "lines": {(orders_by[order_id], plain(sku)): tuple(rest) for order_id, sku, *rest in await fetch(SEE_LINES, order_ids)},
            "parcels": {parcels_by[parcel_id]: tuple(rest) for parcel_id, *rest in await fetch(SEE_PARCELS, list(parcels_by))},
            "returns": {returns_by[return_id]: status for return_id, status in await fetch(SEE_RETURNS, list(returns_by))},
            "accounts": {name: balance for name, balance in (await self.balances()).items() if balance},
        }

    async def balances(self) -> dict[str, int]:
        """What lies in each account that the model knows."""
        accounts = {
            "clearing": ledger.clearing("test", "USD"),
            "funds": ledger.order_funds("USD"),
            "due": ledger.refunds_due("USD"),
            "tax": ledger.tax_payable("USD"),
            "revenue": ledger.platform_revenue("USD"),
            "promotion": ledger.promotion_expense("USD"),
            **{f"wallet:{buyer}": ledger.wallet(user_id, "USD") for buyer, user_id in self.users.items()},
            **{f"seller:{seller}": ledger.seller_balance(seller_id, "USD") for seller, seller_id in self.sellers.items()},
        }
        rows = {row["id"]: row["balance"] for row in await db.pool.fetch(SEE_ACCOUNTS, [one.id for one in accounts.values()])}
        return {name: rows.get(account.id, 0) - self.before.get(name, 0) for name, account in accounts.items()}


def as_admin(key: str) -> Any:
    return asking(Caller(Principal("user", ADMIN, ("admin",)), request_id="test", idempotency_key=key))


def plain(sku: str) -> str:
    return sku.partition("-")[0]


def expect(model: Shop) -> dict[str, dict[Any, Any]]:
    """How everything stands in the model, as Doors.see says it."""
    counted = ("quantity", "packed", "shipped", "delivered", "canceled", "return_open", "returned")
    return {
        "stock": {sku: (its.on_hand, its.reserved) for sku, its in model.goods.items()},
        "carts": {(buyer, sku): n for buyer, its in model.carts.items() for sku, n in its.lines.items()},
        "coupons": {code: len(its.uses) for code, its in model.coupons.items()},
        "orders": {
            order: (its.status, its.payment_status, its.fulfillment_status, its.total, its.refunded, its.earned, its.refunded)
            for order, its in model.orders.items()
        },
        "lines": {(o, sku): tuple(getattr(line, n) for n in counted) for o, its in model.orders.items() for sku, line in its.lines.items()},
        "parcels": {parcel: (its.status, its.status) for parcel, its in model.parcels.items()},
        "returns": {back: its.status for back, its in model.returns.items()},
        "accounts": {name: balance for name, balance in model.accounts.items() if balance},
    }

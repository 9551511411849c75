"""Which parts a split shop consists of: what each of them hosts, on which port it listens, and how it is started."""

from collections.abc import Mapping
from dataclasses import dataclass

CONTEXTS = (
    "users", "catalog", "inventory", "pricing", "carts", "shipping", "payments", "orders", "invoices", "reviews", "notifications",
    "webhooks",
)  # fmt: skip

# Without one of these nobody can buy; the front door opens when they are there, and does not wait for the others.
NEEDED_TO_BUY = ("users", "catalog", "inventory", "pricing", "carts", "shipping", "payments", "orders")

PUBLIC_PORT = 8000
FIRST_INTERNAL_PORT = 9001
# Only the part that owns a secret of the shop is told it; one that made its own would know another after each start without a folder.
OWNED_SECRETS = {
    "SOUK_SECRET_USERS_SIGNING_KEY": "users",
    "SOUK_SECRET_NOTIFICATIONS_KEY": "notifications",
    "SOUK_SECRET_WEBHOOKS": "webhooks",
}


@dataclass(frozen=True)
class Part:
    """A context as a service of its own, called by the others at `port`; or the edge, which hosts none and is what the public reaches."""

    name: str
    port: int
    is_edge: bool = False

    @property
    def setting(self) -> str:
        """The variable by which this part's database is known to it."""
        return f"SOUK_DATABASE_{self.name.upper()}"

    def arguments(self, port: int, *, shared: bool = False) -> tuple[str, ...]:
        """What `souk` is started with. With `shared` several processes listen on the port."""
        listeners = ("--port", str(port)) if self.is_edge else ("--port", "0", "--internal-port", str(port))
        return ("serve", self.name, *listeners, *(("--share-port",) if shared else ()))

    def health_url(self, port: int, host: str = "127.0.0.1") -> str:
        """Where it is asked whether it can do its work."""
        return f"http://{host}:{port}/health/ready" if self.is_edge else f"http://{host}:{port}/health"


PARTS = (
    *(Part(context, port) for port, context in enumerate(CONTEXTS, FIRST_INTERNAL_PORT)),
    Part("edge", PUBLIC_PORT, is_edge=True),
)


def peers_of(part: Part, urls: Mapping[str, str]) -> dict[str, str]:
    """The settings that tell a part where each context is that it does not host."""
    return {f"SOUK_PEER_{context.upper()}": urls[context] for context in CONTEXTS if context != part.name}


def without_places(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what says where databases and parts are, and without secrets that have one owner."""
    places = {"DATABASE_URL", "SOUK_INTERNAL_PORT", *OWNED_SECRETS, *(part.setting for part in PARTS)}
    places |= {f"SOUK_PEER_{context.upper()}" for context in CONTEXTS}
    return {name: value for name, value in environment.items() if name not in places}

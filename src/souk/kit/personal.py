"""Personal data: each context that keeps some gives out what it has of a user, and the shop gathers it wherever it lies."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import EXPOSED, ExposedFunction, topology
from souk.kit.errors import NotFound

Export = Callable[[UUID], Awaitable[Mapping[str, object]]]

NAME = "export_user_data"


def exports_user_data(function: Export) -> Export:
    """Make a context's export callable by every process of the shop: given a user's id, all that it keeps of them, by name.

    Whatever is given out is to be dropped when the context hears users.UserErased; what the books need stays under the id.
    """

    async def export_user_data(user_id: UUID) -> bytes:
        """What this context keeps of a user, as JSON. Raises NotFound for anybody but the user and admins."""
        who = caller().principal
        if not (who.owns(user_id) or who.is_admin):
            raise NotFound
        return msgspec.json.encode(await function(user_id))

    ExposedFunction(export_user_data, timeout_s=30.0, context=function.__module__.split(".")[1])
    return function


async def export_user_data(user_id: UUID) -> dict[str, dict[str, object]]:
    """What the shop keeps of a user, by context: all of it, or Unavailable if a context cannot be asked."""
    contexts = sorted(context for context in topology.hosted | topology.peers.keys() if f"{context}/{NAME}" in EXPOSED)
    functions = [EXPOSED[f"{context}/{NAME}"] for context in contexts]
    parts = await asyncio.gather(*(function.ask(function.argument_type(user_id)) for function in functions))
    return {context: msgspec.json.decode(part, type=dict[str, object]) for context, part in zip(contexts, parts, strict=True)}

"""Two listeners in one event loop: the public one, and the internal one that other processes of the shop call."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from souk.kit.front import App

log = logging.getLogger(__name__)

# How long a stop waits for the requests in flight; with what comes after it a stop takes less than five seconds.
FINISH_WITHIN_S = 4.0


class PortTaken(Exception):
    """Another program listens there; in one sentence."""


def check_port(host: str, port: int, option: str = "--port") -> None:
    """Raise PortTaken if nobody can listen on this port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as taken:
            raise PortTaken(f"Port {port} on {host} cannot be used ({taken.strerror}); choose another with {option}") from taken


def make_listener(app: App, host: str, port: int) -> Server:
    """A server that is not started yet."""
    return Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
        websockets=False,
        backlog=2048,
        backpressure=2048,
    )


async def serve_until_stopped(listeners: list[Server], on_ready: Callable[[], None], stopping: asyncio.Event) -> None:
    """Serve until SIGINT, SIGTERM or `stopping`; requests in flight are finished first, if that takes no longer than FINISH_WITHIN_S."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    running = [asyncio.create_task(listener.serve()) for listener in listeners]
    answering = asyncio.gather(*(_wait_until_it_answers(listener) for listener in listeners))
    await asyncio.wait([answering, *running], return_when=asyncio.FIRST_COMPLETED)
    if answering.done():
        on_ready()
    answering.cancel()
    gc.freeze()
    gc.set_threshold(50_000, 25, 100)
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiting, *running], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for listener in listeners:
        listener.stop()  # type: ignore[no-untyped-call]
    done, unfinished = await asyncio.wait(running, timeout=FINISH_WITHIN_S)
    for task in done:
        task.result()
    if unfinished:
        log.warning("requests_cut_off", extra={"after_s": FINISH_WITHIN_S})


async def _wait_until_it_answers(listener: Server) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(listener.bind_addr, listener.bind_port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function on uvloop until it is done. SIGTERM cancels it, as SIGINT does, until it listens for signals itself."""

    async def run_main() -> None:
        if (task := asyncio.current_task()) is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await main()

    try:
        uvloop.run(run_main())
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None

"""A relay that stops answering at a word, and says no more: neither yes nor no, and it does not hang up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

# What it answers to; to the rest of a letter with 250.
ANSWERS = {"EHLO": "250 here", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", "RSET": "250 ok", "QUIT": "221 bye"}


class StallingRelay:
    """It takes connections, and whatever comes at and after the word at which it stalls is lost. "." is the end of a letter."""

    def __init__(self, stalls_at: str) -> None:
        self.stalls_at = stalls_at
        self.port = 0
        # Conversations in which nothing is said any more.
        self.stalled = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        in_letter = False
        if self.stalls_at != "greeting":
            writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = "." if in_letter and line == b".\r\n" else "" if in_letter else line[:4].decode().strip().upper()
            if self.stalls_at in (word, "greeting"):
                self.stalled += 1
                await reader.read()
                break
            if word == ".":
                in_letter = False
                writer.write(b"250 taken\r\n")
            elif word:
                in_letter = word == "DATA"
                writer.write(f"{ANSWERS.get(word, '500 what?')}\r\n".encode())
        writer.close()


@asynccontextmanager
async def open_relay(stalls_at: str) -> AsyncIterator[StallingRelay]:
    """A relay that stalls at this word."""
    relay = StallingRelay(stalls_at)
    server = await asyncio.start_server(relay.talk, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    yield relay
    server.close()
    for writer in relay.writers:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

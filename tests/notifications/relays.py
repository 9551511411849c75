"""Relays with a fault: one stops answering at a word, says neither yes nor no, and does not hang up; one wants few connections at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

# What it answers to; to the rest of a letter with 250.
ANSWERS = {"EHLO": "250 here", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", "RSET": "250 ok", "QUIT": "221 bye"}


class FaultyRelay:
    """It takes connections, and whatever comes at and after the word at which it stalls is lost. "." is the end of a letter.

    Whoever is one more than `most` is told so, and hung up on.
    """

    def __init__(self, stalls_at: str = "nothing", most: int = 100) -> None:
        self.stalls_at = stalls_at
        self.most = most
        self.refused = 0
        self.taken = 0
        self.talking = 0
        self.port = 0
        # Conversations in which nothing is said any more.
        self.stalled = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        if self.talking == self.most:
            self.refused += 1
            writer.write(b"421 4.7.0 too many connections from you\r\n")
            writer.close()
            return
        self.talking += 1
        try:
            await self.listen(reader, writer)
        finally:
            self.talking -= 1
            writer.close()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
                self.taken += 1
                writer.write(b"250 taken\r\n")
            elif word:
                in_letter = word == "DATA"
                writer.write(f"{ANSWERS.get(word, '500 what?')}\r\n".encode())


@asynccontextmanager
async def open_relay(stalls_at: str = "nothing", most: int = 100) -> AsyncIterator[FaultyRelay]:
    """A relay that stalls at this word, and talks to so many at once."""
    relay = FaultyRelay(stalls_at, most)
    server = await asyncio.start_server(relay.talk, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    yield relay
    server.close()
    for writer in relay.writers:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

"""SMTP: conversations with a relay that go on from letter to letter, and what its answers mean."""

import asyncio
import re
from collections.abc import Callable
from typing import Literal, cast

import msgspec
from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from souk.notifications.channels.channel import Accepted, Later, Outcome, Refused, Unknown
from souk.notifications.settings import Security

ENHANCED = re.compile(r"^[245]\.\d{1,3}\.\d{1,3}")
LARGEST_REPLY_BYTES = 64 * 1024
# RFC 3463: there is no such mailbox or domain, it has moved, takes no mail, or is closed. Not that they dislike us or our words.
GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
# Of servers that give no such code, and say it in words.
NO_SUCH_MAILBOX = (550, 551, 553)
UNKNOWN_MAILBOX = re.compile(
    r"(no such|unknown|invalid|non-?existent) (user|recipient|mailbox|address|account)"
    r"|(user|recipient|mailbox|address|account)( address)?( is)? (unknown|not found|does not exist|doesn't exist|unavailable|disabled)",
    re.IGNORECASE,
)

Phase = Literal["sender", "recipient", "content", "letter"]


class Closed(Exception):
    """The conversation is over: they hung up or no longer answer; or they said that they will hang up, or that they are too busy."""

    def __init__(self, why: str, *, said: bool = False) -> None:
        super().__init__(why)
        self.said = said


class Reply(msgspec.Struct, frozen=True):
    """What they said: the code, and the enhanced one (RFC 3463) if they gave one. Their words may name a person and are not kept."""

    code: int
    enhanced: str = ""
    unknown_mailbox: bool = False  # as far as the code and their words say so

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced}".strip()


class Place(msgspec.Struct, frozen=True):
    """Where a relay is and how it is spoken to."""

    host: str
    port: int
    security: Security
    username: str
    password: str
    verify: bool
    timeout_s: float
    answer_timeout_s: float
    hello: str = "localhost"


class Conversation(asyncio.Protocol):
    """A connection to a relay that has greeted us. aiosmtplib opens it; it waits for each answer, and we need not (RFC 2920)."""

    def __init__(self, client: SMTP, transport: asyncio.Transport, place: Place) -> None:
        self._client = client  # closes the connection when it is forgotten
        self._transport = transport
        self._timeout_s = place.timeout_s
        self._answer_timeout_s = place.answer_timeout_s
        self._pipelining = client.supports_extension("pipelining")
        self._buffer = b""
        # Of what was asked last: what they have answered, and how many answers are missing.
        self._replies: list[Reply] = []
        self._missing = 0
        self._answered: asyncio.Future[None] | None = None
        self.letters = 0
        self.open = not transport.is_closing()
        transport.set_protocol(self)

    async def carry(self, sender: str, recipient: str, raw: bytes, offer: Callable[[], None]) -> Outcome:
        """Hand a letter over, and `offer` it before they can have it. When it is closed afterwards, `open` says so."""
        self.letters += 1
        commands = (f"MAIL FROM:<{sender}>\r\n".encode(), f"RCPT TO:<{recipient}>\r\n".encode(), b"DATA\r\n")
        phases: tuple[Phase, ...] = ("sender", "recipient", "content")
        refused: Outcome | None = None
        try:
            if self._pipelining:
                for phase, reply in zip(phases, await self._ask(b"".join(commands), 3), strict=True):
                    refused = refused or judge(phase, reply)
                began = reply.code == 354
            else:
                began = False
                for phase, command in zip(phases, commands, strict=True):
                    (reply,) = await self._ask(command, 1)
                    began = reply.code == 354
                    if (refused := judge(phase, reply)) is not None:
                        break
            if refused is not None:
                # Who let us begin although they wanted nobody gets an empty letter, which is brought to nobody.
                await self._ask(b".\r\n" if began else b"RSET\r\n", 1)
                return refused
        except Closed as closed:
            return refused or Later(str(closed))
        offer()
        try:
            # The relay may look at it for long: who does not wait for it sends it twice.
            (reply,) = await self._ask(stuff(raw), 1, self._answer_timeout_s)
        except Closed as closed:
            return Later(str(closed)) if closed.said else Unknown(f"no answer to the letter: {closed}")
        return judge("letter", reply) or Accepted()

    async def _ask(self, said: bytes, answers: int, timeout_s: float | None = None) -> list[Reply]:
        """Say something and hear so many answers; raises Closed."""
        if not self.open:
            raise Closed("they have hung up")
        self._replies, self._missing = [], answers
        # One for all of them: to be woken for each costs more than to read them.
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(said)
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                await self._answered
            if self._replies[-1].code == 421:
                raise Closed(str(self._replies[-1]), said=True)
        except TimeoutError as silence:
            self.close()
            raise Closed("they do not answer") from silence
        except Closed:
            self.close()
            raise
        except asyncio.CancelledError:
            # What they answer now is for nobody.
            self.close()
            raise
        return self._replies

    def close(self) -> None:
        self.open = False
        self._transport.close()

    async def quit(self) -> None:
        """Say goodbye, if they still listen."""
        if self.open:
            self._transport.write(b"QUIT\r\n")
        self.close()

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        if len(self._buffer) > LARGEST_REPLY_BYTES:
            self._lose("they talk nonsense")
        for line in lines:
            if line[3:4] == b"-" or not self.open:
                continue
            if not line[:3].isdigit():
                self._lose("they talk nonsense")
            elif self._missing:
                self._hear(read_reply(line))
            else:
                # Nobody has asked: most often 421, before they hang up.
                self.open = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("the connection was lost")

    def _hear(self, reply: Reply) -> None:
        self._replies.append(reply)
        # After this one there are no others.
        self._missing = 0 if reply.code == 421 else self._missing - 1
        if not self._missing and self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def _lose(self, why: str) -> None:
        self.close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(Closed(why))
            self._answered.exception()


async def open_conversation(place: Place) -> Conversation:
    """Connect, encrypt, sign in. Raises Closed with what went wrong; they may have said that it will not do for now."""
    client = SMTP(
        hostname=place.host,
        port=place.port,
        use_tls=place.security == "tls",
        start_tls=place.security == "starttls",
        username=place.username or None,
        password=place.password if place.username else None,
        validate_certs=place.verify,
        timeout=place.timeout_s,
        local_hostname=place.hello,
    )
    try:
        async with asyncio.timeout(place.timeout_s):
            await client.connect()
            await client.ehlo()
    except (SMTPException, OSError, ValueError) as failure:
        client.close()
        if isinstance(failure, SMTPResponseException) and 400 <= failure.code < 500:
            raise Closed(f"cannot be reached: {failure.code}", said=True) from failure
        raise Closed(f"cannot be reached: {type(failure).__name__}") from failure
    if client.transport is None:
        raise Closed("cannot be reached: they hung up")
    # The loop's transports are written in C and are no subclasses.
    return Conversation(client, cast(asyncio.Transport, client.transport), place)


def read_reply(line: bytes) -> Reply:
    code, words = int(line[:3]), line[4:].decode(errors="replace")
    found = ENHANCED.match(words)
    return Reply(code, found[0] if found else "", code in NO_SUCH_MAILBOX and UNKNOWN_MAILBOX.search(words) is not None)


def judge(phase: Phase, reply: Reply) -> Outcome | None:
    """What a reply means for the letter; None if it goes on."""
    if reply.code == (354 if phase == "content" else 250) or (phase == "recipient" and reply.code == 251):
        return None
    # What they have against the sender, or against carrying for us, they have against the shop, whose owner can do something about it.
    policy = phase == "recipient" and reply.enhanced.startswith("5.7.")
    if reply.code < 500 or phase == "sender" or policy:
        return Later(str(reply))
    said = phase == "recipient" and reply.unknown_mailbox and not reply.enhanced
    return Refused(str(reply), bad_address=reply.enhanced in GONE or said)


def stuff(raw: bytes) -> bytes:
    """A letter as DATA wants it: dots at the beginning of lines doubled, and the one that ends it."""
    return raw.replace(b"\r\n.", b"\r\n..") + (b".\r\n" if raw.endswith(b"\r\n") else b"\r\n.\r\n")

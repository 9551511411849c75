"""The mail server: takes letters over SMTP, answers when they are in the book, and has all the bad habits of real ones."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session, syntax

from souk.sandbox.post_book import Taken, append_letter, letter_id_in
from souk.sandbox.post_habits import Habit, PostMoods
from souk.sandbox.writer import Writer

log = logging.getLogger("souk.sandbox")

LARGEST_LETTER_BYTES = 4_000_000
SLOW_S = 1.0
END = b"\r\n.\r\n"
ANSWERS = {
    Habit.BUSY: "421 4.3.2 Too much to do; come back",
    Habit.LATER: "451 4.7.1 Not now; try again later",
    Habit.UNKNOWN_ADDRESS: "550 5.1.1 No such mailbox",
    Habit.TOO_LARGE: "552 5.3.4 Too large for us",
    Habit.REFUSED: "554 5.7.1 We do not like it",
}
AT_RECIPIENT = (Habit.BUSY, Habit.LATER, Habit.UNKNOWN_ADDRESS)


class Conversation(SMTP):
    """One client's. A letter is read in one piece, not line by line: that took most of the server's time."""

    line_length_limit = LARGEST_LETTER_BYTES

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:
        if self.envelope is None or not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Nobody to bring it to")
            return
        await self.push("354 Go on")
        raw = await self._reader.readuntil(END)
        self.envelope.original_content = raw[: -len(END) + 2].replace(b"\r\n..", b"\r\n.")
        answer = await self._call_handler_hook("DATA")
        self._set_post_data_state()  # type: ignore[no-untyped-call]
        if answer is not MISSING and self.transport is not None:
            await self.push(answer)

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:
        if not self.event_handler.moods.take_connection():
            await self.push("454 4.7.0 TLS is not available now")
            return
        await super().smtp_STARTTLS(arg)


class PostOffice:
    """What the server does with what it is told."""

    def __init__(self, writer: Writer, moods: PostMoods, wait: Callable[[float], Awaitable[None]], told: Callable[[Habit, str], None]):
        self.moods = moods
        self._writer = writer
        self._wait = wait
        self._told = told

    async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", responses[-1]]

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        habit = self.moods.take(address)
        if habit in AT_RECIPIENT:
            if habit is Habit.BUSY and server.transport is not None:
                asyncio.get_running_loop().call_later(0.01, server.transport.close)
            return ANSWERS[habit]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.append(habit)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        habit = Habit(envelope.rcpt_options[0])
        if habit in ANSWERS:
            return ANSWERS[habit]
        raw = envelope.original_content or b""
        letter_id = letter_id_in(raw)
        if habit not in (Habit.TIMEOUT_LOST, Habit.DROP_LOST):
            if habit is Habit.SLOW:
                await self._wait(SLOW_S)
            for recipient in envelope.rcpt_tos:
                taken = Taken(letter_id, "email", envelope.mail_from or "", recipient, raw)
                await self._writer.write(partial(append_letter, taken=taken))
        if habit in (Habit.DROP_ACCEPTED, Habit.DROP_LOST):
            cut(server)
            return MISSING
        if habit in (Habit.TIMEOUT_ACCEPTED, Habit.TIMEOUT_LOST):
            await self._wait(86_400)
        if habit in (Habit.BOUNCES, Habit.COMPLAINS):
            self._told(habit, letter_id)
        return f"250 2.0.0 {letter_id or 'taken'}"


class MailServer:
    """Listens until it is closed."""

    def __init__(self, office: PostOffice, api_key: str, context: ssl.SSLContext | None, *, implicit: bool) -> None:
        self._office = office
        self._api_key = api_key
        self._context = context
        self._implicit = implicit
        self._server: asyncio.Server | None = None
        self._conversations: set[Conversation] = set()

    async def open(self, host: str, port: int) -> None:
        # It writes down every line that is said, which costs more than to hear it.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._answer, host, port, ssl=self._context if self._implicit else None, backlog=200)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for conversation in list(self._conversations):
            cut(conversation)

    def _answer(self) -> Any:
        if self._office.moods.down:
            return Closed()
        conversation = Conversation(
            self._office,
            data_size_limit=LARGEST_LETTER_BYTES,
            hostname="mail.sandbox",
            tls_context=None if self._implicit else self._context,
            require_starttls=self._context is not None and not self._implicit,
            auth_require_tls=False,
            authenticator=self._check,
            loop=asyncio.get_running_loop(),
        )
        self._conversations = {one for one in self._conversations if one.transport is not None} | {conversation}
        return conversation

    def _check(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        good = isinstance(given, LoginPassword) and given.password == self._api_key.encode()
        return AuthResult(success=good, handled=True)


def cut(conversation: SMTP) -> None:
    """End it without a word."""
    if conversation.transport is not None:
        cast(asyncio.Transport, conversation.transport).abort()


class Closed(asyncio.Protocol):
    """A server that is down, behind a port that is not."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"421 4.3.2 We are down\r\n")  # type: ignore[attr-defined]
        transport.close()

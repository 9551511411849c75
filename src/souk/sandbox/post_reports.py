"""What a mail server tells the sender of a letter later: that it could not be brought (RFC 3464), or was called spam (RFC 5965)."""

import asyncio
import time
from functools import partial

import aiohttp
import msgspec

from souk.sandbox.post_book import Letter, find_letter, read_raw
from souk.sandbox.post_habits import Habit
from souk.sandbox.settings import SandboxSettings
from souk.sandbox.webhooks import FORGERS_KEY, read_secret, sign
from souk.sandbox.writer import Writer

A_MOMENT_S = 0.1
FORGED_SENDER = "bounce+0000000000000000000000000000000000000000@elsewhere.example"

REPORT = """From: mailer-daemon@mail.sandbox
To: {to}
Subject: A letter of yours
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type={kind}; boundary="=_report"

--=_report
Content-Type: text/plain

It could not be brought, or nobody wanted it.

--=_report
Content-Type: message/{kind}

{report}

--=_report
Content-Type: text/rfc822-headers

"""


class Reporter:
    """Tells the shop; whoever does not answer is not told again."""

    def __init__(self, settings: SandboxSettings, writer: Writer) -> None:
        self._settings = settings
        self._writer = writer
        self._tasks: set[asyncio.Task[None]] = set()

    def tell_later(self, habit: Habit, letter_id: str) -> None:
        """Tell of a letter in a moment."""
        task = asyncio.create_task(self._tell_of(habit, letter_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell_of(self, habit: Habit, letter_id: str) -> None:
        await asyncio.sleep(A_MOMENT_S)
        letter = await self._writer.write(partial(find_letter, letter_id=letter_id))
        await self.tell(habit, letter, await self._writer.write(partial(read_raw, seq=letter.seq)))

    async def tell(self, habit: Habit, letter: Letter, raw: bytes, *, form: str = "mail", forged: bool = False) -> int:
        """Send it to the shop's door; the status that it answered, 0 for none."""
        if not self._settings.mail_webhook_url:
            return 0
        if form == "webhook":
            kind = "mail.complained" if habit is Habit.COMPLAINS else "mail.bounced"
            data = {"message_id": letter.letter_id, "recipient": letter.recipient, "code": "550", "permanent": True}
            body = msgspec.json.encode({"type": kind, "data": data})
            headers = sign_headers(self._settings.webhook_secret, letter.letter_id, body, forged=forged)
        else:
            make = make_complaint if habit is Habit.COMPLAINS else make_bounce
            body, headers = make(letter, raw, forged=forged), {"content-type": "message/rfc822"}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._settings.webhook_timeout_s)) as session,
                session.post(self._settings.mail_webhook_url, data=body, headers=headers) as answer,
            ):
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0


def sign_headers(secret: str, event_id: str, body: bytes, *, forged: bool) -> dict[str, str]:
    now = int(time.time())
    key = FORGERS_KEY if forged else read_secret(secret)
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(key, event_id, now, body),
    }


def make_bounce(letter: Letter, raw: bytes, *, forged: bool = False) -> bytes:
    """A delivery status notification, addressed to the envelope's sender. A stranger knows the letter's id, and not that address."""
    lines = (
        "Reporting-MTA: dns; mail.sandbox", "",
        f"Final-Recipient: rfc822; {letter.recipient}", "Action: failed", "Status: 5.1.1",
        "Diagnostic-Code: smtp; 550 5.1.1 No such mailbox",
    )  # fmt: skip
    return _report(letter, raw, "delivery-status", lines, forged=forged)


def make_complaint(letter: Letter, raw: bytes, *, forged: bool = False) -> bytes:
    """An abuse report."""
    sender = FORGED_SENDER if forged else letter.sender
    lines = (
        "Feedback-Type: abuse", "User-Agent: sandbox/1", "Version: 1",
        f"Original-Mail-From: <{sender}>", f"Original-Rcpt-To: <{letter.recipient}>",
    )  # fmt: skip
    return _report(letter, raw, "feedback-report", lines, forged=forged)


def _report(letter: Letter, raw: bytes, kind: str, lines: tuple[str, ...], *, forged: bool) -> bytes:
    head = REPORT.format(to=FORGED_SENDER if forged else letter.sender, kind=kind, report="\n".join(lines)).replace("\n", "\r\n")
    return head.encode() + raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n--=_report--\r\n"

"""How the outside world says no, in the shape that processors use."""

import msgspec


class Detail(msgspec.Struct, frozen=True):
    type: str
    code: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    error: Detail


class Refused(Exception):
    """A call that gets an error for an answer. Its effects are undone before the error is told."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> bytes:
        return msgspec.json.encode(Problem(Detail(kind_of(self.status, self.code), self.code, self.message)))


def not_found(payment_id: str) -> Refused:
    return Refused(404, "not_found", f"No such thing: {payment_id}")


def kind_of(status: int, code: str) -> str:
    if code.startswith("idempotency"):
        return "idempotency_error"
    if status >= 500:
        return "api_error"
    return {401: "authentication_error", 402: "card_error"}.get(status, "invalid_request_error")

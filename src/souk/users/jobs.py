"""What users does by the clock."""

from souk.kit.jobs import every
from souk.kit.queue import job
from souk.kit.schedules import scheduled
from souk.users import activity, credentials, keys, sessions, throttling


@scheduled("7 * * * *")
@job(at_once=1)
async def rotate_signing_keys() -> int:
    """Replace the key that signs access tokens before it is old."""
    return await keys.rotate_old_key()


@every(60.0)
async def forget_attempts() -> int:
    """Drop what lies too far back to count."""
    return await throttling.forget_attempts()


@every(60.0)
async def forget_revocations() -> int:
    """Drop revocations of tokens that have all expired."""
    return await keys.forget_revocations()


@scheduled("40 * * * *")
@job(timeout_s=900.0, at_once=1)
async def forget_sessions() -> int:
    """Drop sessions that are long over, and tokens that are too old."""
    return await sessions.forget_sessions() + await credentials.forget_tokens()


@scheduled("50 3 * * *")
@job(timeout_s=900.0, at_once=1)
async def forget_old_activity() -> int:
    """Forget what somebody looked at and bought long ago; orders are kept elsewhere."""
    return await activity.forget_old_activity()

"""What users does by the clock."""

from souk.kit.jobs import every
from souk.users import activity, credentials, keys, sessions, throttling


@every(600.0)
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


@every(3600.0)
async def forget_sessions() -> int:
    """Drop sessions that are long over, and tokens that are too old."""
    return await sessions.forget_sessions() + await credentials.forget_tokens()


@every(3600.0)
async def forget_old_activity() -> int:
    """Forget what somebody looked at and bought long ago; orders are kept elsewhere."""
    return await activity.forget_old_activity()

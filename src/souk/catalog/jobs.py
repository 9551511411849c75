"""What catalog does by the clock."""

from souk.catalog import images, views
from souk.kit.jobs import every
from souk.kit.queue import job
from souk.kit.schedules import scheduled


@every(60.0)
async def remove_loose_files() -> int:
    """Remove the files of pictures that were removed, and of uploads that were not finished."""
    return await images.remove_loose_files()


@scheduled("20 * * * *")
@job(timeout_s=900.0, at_once=1)
async def forget_old_views() -> int:
    """Forget who looked at what long ago."""
    return await views.forget_old_views()

"""What catalog does by the clock."""

from souk.catalog import images, views
from souk.kit.jobs import every


@every(60.0)
async def remove_loose_files() -> int:
    """Remove the files of pictures that were removed, and of uploads that were not finished."""
    return await images.remove_loose_files()


@every(3600.0)
async def forget_old_views() -> int:
    """Forget who looked at what long ago."""
    return await views.forget_old_views()

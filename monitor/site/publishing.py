"""Writes the site where the configuration says, and pushes it where that is wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.config.settings import Config
    from monitor.progress import Progress
    from monitor.store import Reader


def publish_pages(
    config: Config, store: Reader, progress: Progress, *, folder: Path | None = None, push: bool = True
) -> None:
    """Write every page, at once for whoever reads them. Raises SettleError where a folder or a remote refuses."""
    # the estimates multiply many small matrices: threads that wait for one another took half of all the time
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from monitor.site import push as remote
    from monitor.site.pages import make_site
    from monitor.site.publish import publish

    own = config.site
    folder = folder or own.folder or config.home / "site"
    done = publish(make_site(store, url=config.alerts.link_base), folder)
    changed = f"{done.files} files, {done.changed} changed, {done.removed} removed"
    progress.message(f"{folder / 'index.html'}: {changed}")
    if own.remote and push:
        pushed = remote.push(folder, own.remote, own.branch, workshop=config.home / "site.git", message=changed)
        progress.message(f"{'pushed to' if pushed else 'nothing new for'} {remote.redacted(own.remote)}, {own.branch}")

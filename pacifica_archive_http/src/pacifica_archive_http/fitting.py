"""Whether an archive and the options of the server go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacifica_archive_core import ConfigError
from pacifica_archive_http.options import Deletion
from pacifica_archive_http.trash import check_deletion

if TYPE_CHECKING:
    from pacifica_archive_core import Archive
    from pacifica_archive_http.options import ServerOptions

__all__ = ["check_archive"]


def check_archive(archive: Archive, options: ServerOptions) -> None:
    """
    Refuse an archive that cannot do what the server promises.

    Raises:
        ConfigError: as said.
    """
    check_deletion(archive, options)
    if not getattr(archive.options, "adopt_ids", False):
        return
    # PATCH would take the file of an id that the request does not name.
    promises = {
        "delete": options.delete is not Deletion.ALLOW,
        "write_once": options.write_once,
        "tokens": options.tokens is not None,
        "jwt": options.jwt is not None,
    }
    if broken := [name for name, is_made in promises.items() if is_made]:
        raise ConfigError(
            "option 'adopt_ids': a PATCH would take away the file of any other id,"
            f" whatever the server's {' and '.join(broken)} may say"
        )

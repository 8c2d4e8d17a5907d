"""The whole contract, of its themes."""

from __future__ import annotations

from pacifica_archive_core.testing.adoption import AdoptionContract
from pacifica_archive_core.testing.base import SourceKind
from pacifica_archive_core.testing.closing import ClosingContract
from pacifica_archive_core.testing.digests import DigestsContract
from pacifica_archive_core.testing.identity import IdentityContract
from pacifica_archive_core.testing.model import ModelContract
from pacifica_archive_core.testing.processes import ProcessesContract
from pacifica_archive_core.testing.reading import ReadingContract
from pacifica_archive_core.testing.status import StatusContract
from pacifica_archive_core.testing.storing import StoringContract
from pacifica_archive_core.testing.tape import TapeContract
from pacifica_archive_core.testing.threads import ThreadsContract
from pacifica_archive_core.testing.trash import TrashContract
from pacifica_archive_core.testing.versions import VersionsContract

__all__ = ["ArchiveContract", "SourceKind"]


class ArchiveContract(
    StoringContract,
    ReadingContract,
    VersionsContract,
    DigestsContract,
    IdentityContract,
    StatusContract,
    TapeContract,
    AdoptionContract,
    TrashContract,
    ThreadsContract,
    ProcessesContract,
    ClosingContract,
    ModelContract,
):
    """
    Every test of the contract; subclass it in a test module of a backend.

    ::

        class TestMyArchive(ArchiveContract):
            persistent = True

            @pytest.fixture
            def opener(self, tmp_path):
                return partial(MyArchive, MyOptions(prefix=tmp_path))

            def read_raw(self, archive, file_id):
                return my_path(archive, file_id).read_bytes()

            def write_raw(self, archive, file_id, data):
                my_path(archive, file_id).write_bytes(data)

            def list_raw(self, archive):
                return {str(path) for path in archive.options.prefix.rglob("*")}

    What may be declared and given stands in ``Declarations``, its base.
    """

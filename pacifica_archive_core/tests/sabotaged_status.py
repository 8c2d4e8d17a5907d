"""Archives that are broken in what they say of files; see saboteurs.py."""
# mypy: allow-untyped-defs, allow-subclassing-any
# mypy: disable-error-code="has-type,misc,no-untyped-call"
# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204, ANN401 (see saboteurs.py)

from __future__ import annotations

import contextlib
from typing import Any

import attrs
from kits import CONTRACTS
from saboteurs import Memory, Tiny, with_status

from pacifica_archive_core import (
    ArchiveUnavailable,
    FileError,
    FileOffline,
    InvalidFileId,
    NoSuchFile,
    Residency,
)
from pacifica_archive_core.testing.sabotage import caught_by, contracts

# --- ids and errors


def lenient(base: Any, guess: Any) -> Any:
    """Return a base that takes what it can guess for an id."""

    class Lenient(base):
        def _ready(self, file_id):
            self.ensure_open()
            try:
                return super()._ready(file_id)
            except InvalidFileId:
                return guess(file_id)

    return Lenient


def boolean_or_refuse(no_id):
    if isinstance(no_id, bool):
        return int(no_id)
    raise InvalidFileId(no_id)


def number_or_refuse(no_id):
    try:
        return int(no_id)
    except (TypeError, ValueError) as exc:
        raise InvalidFileId(no_id) from exc


def size_or_refuse(no_id):
    if type(no_id) is int:
        return abs(no_id)
    raise InvalidFileId(no_id)


def refuse_another(no_id):
    raise InvalidFileId(repr(no_id))


@caught_by(
    "test_what_is_no_id_is_refused_by_every_method",
    "test_what_is_no_id_is_said_with_the_error",
)
class TakesBooleans(lenient(Memory, boolean_or_refuse)):
    pass


@caught_by(
    "test_what_is_no_id_is_not_adopted",
    "test_what_is_no_id_is_said_with_the_error",
)
class TakesBooleansOnDisk(lenient(Tiny, boolean_or_refuse)):
    pass


@caught_by(
    "test_what_is_no_id_is_refused_by_every_method",
    "test_what_is_no_id_is_said_with_the_error",
)
class TakesWhatLooksLikeANumber(lenient(Memory, number_or_refuse)):
    pass


@caught_by(
    "test_what_is_no_id_is_refused_by_every_method",
    "test_what_is_no_id_is_said_with_the_error",
)
class TakesLargeIds(lenient(Memory, size_or_refuse)):
    pass


@caught_by(
    "test_many_answers_carry_their_errors",
    "test_what_is_no_id_is_said_with_the_error",
)
class SaysAnotherId(lenient(Memory, refuse_another)):
    pass


@caught_by(
    "test_an_int_of_any_kind_is_adopted_as_its_number",
    "test_an_int_of_any_kind_is_its_number",
)
class TakesIntsAtTheirWord(Tiny):
    def _ready(self, file_id):
        super()._ready(file_id)
        return file_id


@caught_by(
    "test_questions_about_a_missing_file_leave_no_trace",
    "test_what_is_no_id_leaves_no_trace",
)
class MakesDirectoriesForAll(Tiny):
    """As release 0.4.2, for HEAD and GET."""

    def _ready(self, file_id):
        with contextlib.suppress(OSError):
            (self.options.prefix / f"{file_id!r:.20}".replace("/", "_")).mkdir()
        return super()._ready(file_id)


@caught_by(
    "test_a_missing_file_is_no_such_file",
    "test_a_missing_file_is_not_recalled",
)
class RaisesWhateverComes(Memory):
    def _get(self, file_id):
        return self._files[file_id]


@caught_by(
    "test_a_missing_file_is_not_recalled",
)
class RecallsWhatIsNotThere(Memory):
    def _open(self, file_id, *, recall):
        if recall and file_id not in self._files:
            raise FileOffline(file_id)
        return super()._open(file_id, recall=recall)


@caught_by(
    "test_a_neighbour_does_not_stand_in_for_a_missing_file",
    "test_ids_that_look_alike_are_different_files",
)
class FindsANeighbour(Memory):
    def _get(self, file_id):
        for key, file in self._files.items():
            if key % 256 == file_id % 256:
                return file
        return super()._get(file_id)


@caught_by(
    "test_a_delete_leaves_other_files",
    "test_a_deleted_file_is_missing",
)
class OnlyHidesWhatIsDeleted(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.deleted = {}

    def _delete(self, file_id):
        self.deleted[file_id] = self._files.get(file_id)
        super()._delete(file_id)

    def _open(self, file_id, *, recall):
        if file_id in self.deleted and file_id not in self._files:
            self._files[file_id] = self.deleted[file_id]
        return super()._open(file_id, recall=recall)


@caught_by(
    "test_a_delete_leaves_other_files",
    "test_an_archive_behaves_as_a_dictionary",
)
class DeletesNeighboursToo(Memory):
    def _delete(self, file_id):
        super()._delete(file_id)
        for key in [key for key in self._files if key % 256 == file_id % 256]:
            del self._files[key]


@caught_by(
    "test_a_missing_file_is_no_such_file",
    "test_a_missing_file_is_not_recalled",
)
class HasOneError(Memory):
    """As release 0.4.2."""

    def _get(self, file_id):
        try:
            return super()._get(file_id)
        except NoSuchFile as exc:
            raise FileError(file_id) from exc


@caught_by(
    "test_an_error_carries_its_id",
    "test_an_error_says_its_id",
)
class ForgetsTheIdInErrors(Memory):
    def _get(self, file_id):
        try:
            return super()._get(file_id)
        except NoSuchFile as exc:
            raise NoSuchFile(None) from exc


@caught_by(
    "test_an_error_says_no_path_and_no_secret",
)
class SaysThePathInErrors(Tiny):
    def current(self, file_id):
        try:
            return super().current(file_id)
        except NoSuchFile as exc:
            raise NoSuchFile(file_id, f"not at {self.names / str(file_id)}") from exc


@caught_by(
    "test_an_error_names_its_cause",
)
class HidesTheCause(Memory):
    def _get(self, file_id):
        try:
            return self._files[file_id]
        except KeyError:
            raise NoSuchFile(file_id)  # noqa: B904 (the fault)


class _Unpicklable(NoSuchFile):
    def __init__(self, file_id, *, host):
        super().__init__(file_id)
        self.host = host


@caught_by(
    "test_a_missing_file_is_no_such_file",
    "test_an_error_can_cross_processes",
)
class HasErrorsThatStayAtHome(Memory):
    def _get(self, file_id):
        try:
            return self._files[file_id]
        except KeyError as exc:
            raise _Unpicklable(file_id, host="here") from exc


# --- status


@caught_by(
    "test_a_status_names_its_file",
    "test_sixteen_threads_find_every_byte_right",
)
class NamesAnotherFile(with_status(Memory, lambda _, s: attrs.evolve(s, file_id=1))):
    pass


@caught_by(
    "test_a_status_has_the_size_of_what_lies_on_the_medium",
    "test_an_offline_file_keeps_its_size",
)
class HasSizesInBlocks(
    with_status(Memory, lambda _, s: attrs.evolve(s, size=-(-s.size // 512) * 512))
):
    pass


@caught_by(
    "test_a_new_file_is_online",
    "test_a_reader_with_recall_has_the_status_of_what_it_reads",
)
class KnowsNotWhereFilesAre(
    with_status(Memory, lambda _, s: attrs.evolve(s, residency=Residency.UNKNOWN))
):
    pass


def empty_is_lost(_, status):
    residency = status.residency if status.size else Residency.LOST
    return attrs.evolve(status, residency=residency)


@caught_by(
    "test_an_empty_file_is_on_disk",
)
class TakesEmptyForLost(with_status(Memory, empty_is_lost)):
    pass


@caught_by(
    "test_a_level_has_the_whole_file",
    "test_the_levels_of_an_offline_file_have_it_on_tape",
)
class HasNoLevels(with_status(Memory, lambda _, s: attrs.evolve(s, levels=()))):
    pass


@caught_by(
    "test_a_status_says_where_the_file_is",
)
class SaysNotWhere(with_status(Memory, lambda _, s: attrs.evolve(s, path=""))):
    pass


@caught_by(
    "test_two_files_have_two_paths",
)
class HasOnePath(with_status(Memory, lambda _, s: attrs.evolve(s, path="memory"))):
    pass


@caught_by(
    "test_the_ctime_is_the_stores_and_not_the_senders",
)
class TakesMtimeForCtime(
    with_status(Memory, lambda _, s: attrs.evolve(s, ctime_ns=s.mtime_ns))
):
    pass


@caught_by(
    "test_a_file_on_disk_is_staged",
    "test_a_staged_file_comes_back",
)
class CannotStageWhatIsThere(Memory):
    def _stage(self, file_id):
        self._get(file_id)
        return False


@caught_by(
    "test_stage_leaves_the_file_as_it_is",
)
class ChangesWhatItStages(Memory):
    def _stage(self, file_id):
        file = self._get(file_id)
        self._files[file_id] = attrs.evolve(file, ctime_ns=file.ctime_ns + 1)
        return super()._stage(file_id)


@caught_by(
    "test_an_offline_file_is_said_to_be_on_tape",
    "test_questions_make_no_reader",
)
class OpensForItsStatus(Memory):
    def _status(self, file_id):
        with self._open(file_id, recall=True) as reader:
            return reader.status


@caught_by(
    "test_questions_do_not_open_the_local_file",
)
class ReadsForItsStatus(Tiny):
    def status_of(self, file_id, path):
        path.read_bytes()
        return super().status_of(file_id, path)


class _Many(Memory):
    """Bulk questions of which the input or the answers are changed."""

    def status_many(self, file_ids):
        return self.change(super().status_many, file_ids)

    def stage_many(self, file_ids):
        return self.change(super().stage_many, file_ids)


@caught_by(
    "test_many_answer_as_one_by_one",
    "test_many_answer_in_the_order_asked",
)
class SortsMany(_Many):
    def change(self, ask, file_ids):
        return ask(sorted(file_ids, key=repr))


@caught_by(
    "test_many_answer_as_one_by_one",
    "test_many_answer_in_the_order_asked",
)
class AsksManyOnce(_Many):
    def change(self, ask, file_ids):
        return ask(dict.fromkeys(file_ids))


@caught_by(
    "test_many_answer_as_one_by_one",
    "test_many_answer_in_the_order_asked",
)
class PassesOverErrorsOfMany(_Many):
    def change(self, ask, file_ids):
        return (pair for pair in ask(file_ids) if not isinstance(pair[1], FileError))


@caught_by(
    "test_many_answer_in_the_order_asked",
    "test_questions_about_a_missing_file_leave_no_trace",
)
class EndsManyAtTheFirstError(_Many):
    def change(self, ask, file_ids):
        for file_id, answer in ask(file_ids):
            if isinstance(answer, FileError):
                raise answer
            yield file_id, answer


@caught_by(
    "test_many_answers_carry_their_errors",
    "test_sixteen_threads_find_every_byte_right",
)
class ForgetsTheIdsOfMany(_Many):
    def change(self, ask, file_ids):
        for file_id, answer in ask(file_ids):
            error = isinstance(answer, FileError)
            yield file_id, type(answer)(None) if error else answer


@caught_by(
    "test_many_answer_before_the_last_is_asked",
    "test_many_of_nothing_is_nothing",
)
class NeedsOneOfMany(_Many):
    def change(self, ask, file_ids):
        first, *rest = file_ids
        return ask([first, *rest])


@caught_by(
    "test_many_answer_as_one_by_one",
    "test_many_answer_before_the_last_is_asked",
)
class MixesUpMany(_Many):
    def change(self, ask, file_ids):
        ids = list(file_ids)
        answers = [answer for _, answer in ask(ids)]
        return zip(ids, answers[1:] + answers[:1], strict=True)


@caught_by(
    "test_who_stops_asking_leaves_the_archive_usable",
)
class LocksWhileItAnswersMany(_Many):
    held = False

    def change(self, ask, file_ids):
        self.held = True
        yield from ask(file_ids)
        self.held = False

    def _create(self, file_id, **promises):
        if self.held:
            raise ArchiveUnavailable("the store is locked")
        return super()._create(file_id, **promises)


globals().update(contracts(globals(), CONTRACTS))

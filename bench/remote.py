"""Files through the remote backend, beside the same files by curl."""

from __future__ import annotations

import contextlib
import hashlib
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs
from loads import GIB, MB, WrongAnswer, compare, get, look, put
from places import SMALL_IDS
from servers import HOST, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from places import Load, Place
    from servers import Running

__all__ = ["Client", "Remote", "measure_remote", "start"]

_CLIENT = Path(__file__).with_name("client.py")
#: The id of the big file.
_BIG_ID = 7_000_000
#: Reads of small files at once.
_THREADS = 16
_STOP_S = 30.0


@attrs.frozen(kw_only=True)
class Remote:
    """What was measured of the remote backend in one round."""

    #: Millions of bytes a second, of the one big file.
    curl_get: float
    get: float
    #: The same with SHA-256 of what came.
    digest: float
    curl_put: float
    put: float
    #: Small files a second.
    reads: float
    #: Seconds of CPU of the client for a GiB.
    get_cpu: float
    put_cpu: float

    @property
    def read_ratio(self) -> float:
        """Reading, as a part of what curl does."""
        return self.get / self.curl_get

    @property
    def write_ratio(self) -> float:
        """Writing, as a part of what curl does."""
        return self.put / self.curl_put


@attrs.frozen(kw_only=True)
class _Answer:
    """What the client said of something that it did rightly."""

    seconds: float
    cpu_s: float
    size: int = 0
    digest: str | None = None
    digests: list[tuple[int, str]] = attrs.field(factory=list)


@attrs.frozen
class Client:
    """A process that has the remote backend of one server."""

    server: str
    questions: IO[str]
    answers: IO[str]

    def ask(self, act: str, *, size: int = 0, **question: Any) -> _Answer:  # noqa: ANN401 (what JSON holds)
        """
        Have it do something.

        Raises:
            WrongAnswer: other than ``size`` bytes were moved, or it broke down.
        """
        self.questions.write(json.dumps({"act": act, **question}) + "\n")
        self.questions.flush()
        line = self.answers.readline()
        if not line:
            raise WrongAnswer(f"{self.server}: {act} through the backend failed")
        answer = _Answer(**json.loads(line))
        if answer.size != size:
            raise WrongAnswer(f"{self.server}: {act}: {answer.size} of {size} bytes")
        return answer


@contextlib.contextmanager
def start(running: Running) -> Iterator[Client]:
    """Run a client of a server until the end of the block."""
    process = subprocess.Popen(
        (sys.executable, str(_CLIENT), f"http://{HOST}:{running.port}"),
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both were asked for")
    try:
        yield Client(running.contender.name, process.stdin, process.stdout)
    finally:
        # The end of its input is its end; what it is in the midst of is not waited for.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()


def measure_remote(running: Running, place: Place, load: Load) -> Remote:
    """
    Put one round of everything through the remote backend, and by curl.

    Raises:
        WrongAnswer: something arrived other than it was sent.
    """
    size = place.big.stat().st_size
    stored = place.store / str(_BIG_ID)
    with start(running) as client:

        def curl_put() -> float:
            stored.unlink(missing_ok=True)
            return put(running, place.big, [_BIG_ID], place).bytes_per_s

        def backend_put() -> _Answer:
            stored.unlink(missing_ok=True)
            answer = client.ask(
                "put", file_id=_BIG_ID, source=str(place.big), size=size
            )
            compare(place.big, stored, running)
            return answer

        def curl_get() -> float:
            return get(running, place.big, [_BIG_ID]).bytes_per_s

        def backend_get() -> _Answer:
            return client.ask("get", file_id=_BIG_ID, size=size)

        reads = _small_reads(client, place, load)
        sent = _in_turn(curl_put, backend_put, load.remote_puts)
        fetched = _in_turn(curl_get, backend_get, load.remote_gets)
        looked = client.ask("digest", file_id=_BIG_ID, size=size)
        if looked.digest != place.big_digest.hex():
            raise WrongAnswer(f"{client.server}: wrong bytes through the backend")
        look(running, place.big, [_BIG_ID])
        stored.unlink()
    return Remote(
        curl_get=fetched.curl / MB,
        get=fetched.backend / MB,
        digest=size / looked.seconds / MB,
        curl_put=sent.curl / MB,
        put=sent.backend / MB,
        reads=reads,
        get_cpu=fetched.cpu_s / size * GIB,
        put_cpu=sent.cpu_s / size * GIB,
    )


@attrs.frozen(kw_only=True)
class _Both:
    """What transfers by both came to: bytes a second, and CPU of the backend's."""

    curl: float
    backend: float
    cpu_s: float


def _in_turn(
    curl: Callable[[], float], backend: Callable[[], _Answer], times: int
) -> _Both:
    """Have both move a file, the one first and then the other."""
    rates, answers = [], []
    for number in range(times):
        if number % 2:
            answers.append(backend())
            rates.append(curl())
        else:
            rates.append(curl())
            answers.append(backend())
    # All bytes by all seconds, as the file is the same.
    return _Both(
        curl=statistics.harmonic_mean(rates),
        backend=statistics.harmonic_mean(a.size / a.seconds for a in answers),
        cpu_s=statistics.mean(a.cpu_s for a in answers),
    )


def _small_reads(client: Client, place: Place, load: Load) -> float:
    """Read small files at once; how many a second."""
    ids = [1 + number % SMALL_IDS for number in range(load.remote_reads)]
    answer = client.ask("reads", ids=ids, threads=_THREADS)
    wanted = {
        file_id: hashlib.sha256(place.small_content(file_id)).hexdigest()
        for file_id in ids
    }
    wrong = [i for i, digest in answer.digests if wanted[i] != digest]
    if wrong or len(answer.digests) != len(ids):
        raise WrongAnswer(
            f"{client.server}: {len(answer.digests)} of {len(ids)} small files through"
            f" the backend, wrong ones: {wrong}"
        )
    return len(ids) / answer.seconds

from __future__ import annotations

import pacifica_archive_http


def test_the_api_is_what_all_says() -> None:
    assert ["PROBLEMS", "Problem", "find_problem", "make_app"] == sorted(
        pacifica_archive_http.__all__
    )


def test_all_that_all_says_is_there() -> None:
    assert all(
        hasattr(pacifica_archive_http, name) for name in pacifica_archive_http.__all__
    )

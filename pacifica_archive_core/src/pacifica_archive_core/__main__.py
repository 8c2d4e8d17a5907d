"""``python -m pacifica_archive_core``, for where no scripts are installed."""

from __future__ import annotations

from pacifica_archive_core.cli import main

if __name__ == "__main__":
    main(prog_name="pacifica-archive")

# SPDX-License-Identifier: Apache-2.0
"""The journal survives a kill at any byte, and refuses what it does not belong to."""

import math

import pytest

from octavo.analysis.trials_journal import Journal
from octavo.errors import FormatError, InvalidArgumentError

RESULTS = {"a": 1.25, "b": {"x": [1, 2.5], "y": None}, "ä": math.inf}


@pytest.fixture
def written(tmp_path):
    with Journal(tmp_path / "j.jsonl", "digest") as journal:
        for key, value in RESULTS.items():
            assert journal.record(key, value) == value
    return (tmp_path / "j.jsonl").read_bytes()


def test_results_are_there_again(written, tmp_path):
    with Journal(tmp_path / "j.jsonl", "digest") as journal:
        assert journal.results == RESULTS
        assert journal.resumed == 3
        assert ("a" in journal, "c" in journal) == (True, False)


def test_a_journal_cut_at_any_byte_goes_on(written, tmp_path):
    path = tmp_path / "cut.jsonl"
    for length in range(len(written) + 1):
        path.write_bytes(written[:length])
        with Journal(path, "digest") as journal:
            assert journal.resumed == max(0, written[:length].count(b"\n") - 1)
            for key, value in RESULTS.items():
                if key not in journal:
                    journal.record(key, value)
        assert path.read_bytes() == written, length


def test_other_work_is_refused(written, tmp_path):
    path = tmp_path / "j.jsonl"
    with pytest.raises(InvalidArgumentError, match="other settings"):
        Journal(path, "another")
    assert path.read_bytes() == written
    for content in (b"# notes\n", b"# notes", b'{"format": "x"}\n', b'{"format": 3}\n[]\n'):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="journal"):
            Journal(path, "digest")
        assert path.read_bytes() == content
    with pytest.raises(InvalidArgumentError, match="journal"):
        Journal(tmp_path / "no" / "folder", "digest")


def test_without_a_path_it_only_remembers():
    journal = Journal(None, "digest")
    assert journal.record("a", (1, 2)) == [1, 2]
    assert journal["a"] == [1, 2]

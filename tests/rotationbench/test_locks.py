from __future__ import annotations

import errno
import multiprocessing
import os
import signal

import pytest
from filelock import FileLock, SoftFileLease, Timeout

from rotationbench import files, locks
from rotationbench.files import abandoned, folder_aside, whole_file
from rotationbench.locks import LEASES, shared_lock, use_leases, uses_leases


@pytest.fixture
def no_flock(monkeypatch):
    """A file system that answers as one without `flock`."""

    def missing(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(files.fcntl, "flock", missing)
    locks._has_flock.cache_clear()
    yield
    locks._has_flock.cache_clear()


def test_locks_are_flocks_where_there_are_such_and_leases_where_not(tmp_path, no_flock):
    lock = shared_lock(tmp_path / "a" / "x.lock")
    assert isinstance(lock, SoftFileLease)
    assert (tmp_path / "a" / LEASES).exists()
    with lock, lock, pytest.raises(Timeout):
        SoftFileLease(lock.lock_file, lease_duration=lock.lease_duration).acquire(blocking=False)
    with SoftFileLease(lock.lock_file, lease_duration=lock.lease_duration):
        pass


def test_the_mark_of_leases_counts_for_everybody(tmp_path):
    assert isinstance(shared_lock(tmp_path / "x.lock"), FileLock)
    assert not uses_leases(tmp_path)
    use_leases(tmp_path)
    assert isinstance(shared_lock(tmp_path / "y.lock"), SoftFileLease)


def test_files_are_written_whole_without_flock_and_leftovers_are_kept_for_an_hour(tmp_path, no_flock):
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    with folder_aside(tmp_path) as folder:
        assert list(abandoned(tmp_path)) == []
        os.utime(folder, (0, 0))
        assert list(abandoned(tmp_path)) == [folder]


def _hold(path, held):
    lock = shared_lock(path)
    lock.acquire()
    held.send(True)
    signal.pause()


@pytest.mark.parametrize("leases", [False, True])
def test_a_lock_does_not_outlive_a_holder_that_was_killed(tmp_path, leases):
    if leases:
        use_leases(tmp_path)
    path = tmp_path / "x.lock"
    reader, writer = multiprocessing.Pipe(duplex=False)
    # What forks need not import anything again.
    holder = multiprocessing.get_context("fork").Process(target=_hold, args=(path, writer))
    holder.start()
    assert reader.recv()
    with pytest.raises(Timeout):
        shared_lock(path).acquire(blocking=False)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with shared_lock(path).acquire(timeout=5):
        pass


def test_a_lease_of_another_machine_is_taken_over_when_it_gives_no_sign_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.4)
    use_leases(tmp_path)
    path = tmp_path / "x.lock"
    lock = shared_lock(path)
    with lock:
        marker = path.read_text()
    elsewhere = marker.replace(os.uname().nodename, "elsewhere")
    assert elsewhere != marker
    path.write_text(elsewhere)
    with pytest.raises(Timeout):
        lock.acquire(blocking=False)
    with lock.acquire(timeout=10):
        pass

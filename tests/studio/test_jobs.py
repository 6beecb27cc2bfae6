"""The queue of edits: order, progress, cancelling, many clients; and what it leaves on disk."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from served_pages import served
from studio_helpers import make_app, make_studio, picture

from evaluation.report.collect import read_folders
from methods.nothing import Nothing
from rotationbench.datasets import open_dataset
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints
from rotationbench.results import ResultStore
from rotationbench.sample import DragSample
from studio.jobs import Board, Job, JobObserver, QueueFullError

FEW_STEPS = {"max_steps": 2, "lora": None}
ENDLESS = {"max_steps": 5000, "lora": None, "stop_distance": 0.01}
PATIENCE = 120


def ended(client: Any, number: int) -> dict[str, Any]:
    """A job once it is over."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        job = next(job for job in client.get("/api/jobs").json()["jobs"] if job["number"] == number)
        if job["state"] in ("done", "failed", "cancelled"):
            return job
        time.sleep(0.02)
    raise AssertionError(f"edit {number} did not end")


def submitted(client: Any, annotation: dict[str, Any], method: str, settings: Any = None, seed: int = 0) -> int:
    request = {"annotation": annotation, "method": method, "settings": settings or {}, "seed": seed}
    answer = client.post("/api/jobs", json=request)
    assert answer.status_code == 202, answer.text
    return answer.json()["number"]


def test_an_edit_is_made_measured_and_kept_as_a_results_folder(tmp_path, drag_of):
    with make_studio(tmp_path) as client:
        annotation = drag_of(client)
        job = ended(client, submitted(client, annotation, "dragdiffusion", FEW_STEPS))
        assert job["state"] == "done", job["message"]
        assert list(job["evaluations"])[:2] == ["loading the model", "other"]
        phases = [phase for phase in job["evaluations"] if phase in ("inversion", "drag", "sampling")]
        assert phases == ["inversion", "drag", "sampling"]
        assert job["evaluations"]["inversion"] == job["expected"]["inversion"] == 3
        assert job["limit"] == 2 and len(job["path"]) == len(job["distances"]) == 2
        assert np.abs(np.array(job["path"][0]) - [[30, 30]]).max() <= 2
        result = job["result"]
        assert result["label"] == "dragdiffusion-max_steps=2-lora=None"
        assert {metric["name"] for metric in result["metrics"]} == {"background_psnr"}
        assert result["phases"]["drag"] > 0

        address = f"/api/results/{result['label']}/{result['sample']}"
        with Image.open(io.BytesIO(client.get(f"{address}/edited").content)) as edited:
            assert edited.size == (96, 64)
        with Image.open(io.BytesIO(client.get(f"{address}/source").content)) as source:
            np.testing.assert_array_equal(np.array(source), picture())
        assert [edit["label"] for edit in client.get("/api/results").json()["edits"]] == [result["label"]]
        archive = client.get("/api/results.zip", params={"sample": result["sample"]}).content

    for root in (tmp_path / "results", tmp_path / "unpacked" / "results"):
        if not root.exists():
            zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path / "unpacked")
        (folder,) = read_folders([root])
        assert list(folder.table["label"]) == [result["label"]]
        assert folder.table["background_psnr"].notna().all()
        store = ResultStore(root)
        record = store.read(result["label"], "square").record
        assert record["config"]["method"]["max_steps"] == 2 and "studio" not in record["config"]
        assert store.sample("square").digest == record["sample"]["digest"]


def test_the_same_edit_is_not_made_twice_and_others_stand_beside_it(tmp_path, drag_of):
    with make_studio(tmp_path) as client:
        annotation = drag_of(client)
        first = ended(client, submitted(client, annotation, "turn"))["result"]
        again = ended(client, submitted(client, annotation, "turn"))["result"]
        assert again["finished"] == first["finished"]
        softer = ended(client, submitted(client, annotation, "turn", {"feather": 2.0}))["result"]
        assert softer["label"] == "turn-feather=2.0" and softer["changed"] == ["feather = 2.0"]
        seeded = ended(client, submitted(client, annotation, "turn", seed=3))["result"]
        assert seeded["label"] == "turn-seed3"
        # Another drag of the same name is another sample of the results folder.
        other = ended(client, submitted(client, annotation | {"pairs": [[[30, 30], [40, 50]]]}, "turn"))["result"]
        assert (other["sample"], other["label"]) == ("square-2", "turn")
    assert set(open_dataset(tmp_path / "results" / "samples", split="any").names) == {"square", "square-2"}


def test_settings_of_the_command_line_are_what_the_form_begins_with(tmp_path, drag_of):
    given = ("method=dragdiffusion", "method.max_steps=2", "method.lora=null")
    with make_studio(tmp_path, *given) as client:
        about = client.get("/api/about").json()
        assert about["method"] == "dragdiffusion"
        forms = {
            form["name"]: {field["key"]: field["default"] for field in form["fields"]} for form in about["methods"]
        }
        assert (forms["dragdiffusion"]["max_steps"], forms["dragdiffusion"]["lora"]) == (2, False)
        assert (forms["rotationdrag"]["max_steps"], forms["rotationdrag"]["lora"]) != (2, False)
        annotation = drag_of(client)
        result = ended(client, submitted(client, annotation, "dragdiffusion"))["result"]
        # A label says how settings differ from the method's own, as the label of a run with these overrides does.
        assert result["label"] == "dragdiffusion-max_steps=2-lora=None"
        assert result["changed"] == ["max_steps = 2", "lora = None"]
        assert result["steps"] <= 2
    with pytest.raises(ConfigError, match=r"^method\.max_steps: "):
        make_studio(tmp_path, "method=dragdiffusion", "method.max_steps=0")


def test_a_job_that_waits_is_cancelled_at_once_and_one_that_runs_before_its_next_evaluation(tmp_path, drag_of):
    with make_studio(tmp_path) as client:
        annotation = drag_of(client)
        running = submitted(
            client, annotation, "dragdiffusion", {"max_steps": 5000, "lora": None, "stop_distance": 0.01}
        )
        waiting = submitted(client, annotation, "dragdiffusion", {"max_steps": 5000, "lora": None})
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            job = next(job for job in client.get("/api/jobs").json()["jobs"] if job["number"] == running)
            if job["phase"] == "drag" and job["step"] > 1:
                break
            time.sleep(0.02)
        assert client.post(f"/api/jobs/{waiting}/cancel").json()["state"] == "cancelled"
        started = time.monotonic()
        assert client.post(f"/api/jobs/{running}/cancel").json()["cancelling"]
        assert ended(client, running)["state"] == "cancelled"
        assert time.monotonic() - started < 30
        assert not list((tmp_path / "results").glob("samples/*"))
        # The model is as it was: the next edit is that of a fresh studio.
        after = ended(client, submitted(client, annotation, "dragdiffusion", FEW_STEPS))["result"]
    assert [path.name for path in (tmp_path / "results").glob("dragdiffusion*")] == [after["label"]]
    with make_studio(tmp_path / "fresh") as client:
        fresh = ended(client, submitted(client, drag_of(client), "dragdiffusion", FEW_STEPS))["result"]
    files = [
        root / "results" / result["label"] / "square" / "edited.png"
        for root, result in ((tmp_path, after), (tmp_path / "fresh", fresh))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_edit_that_fails_says_why_and_the_next_one_is_made(tmp_path, drag_of):
    with make_studio(tmp_path, "model.num_inference_steps=4") as client:
        annotation = drag_of(client)
        settings = {"replaced_below_index": 0, "lora": None}
        failed = ended(client, submitted(client, annotation, "dragnoise", settings))
        assert failed["state"] == "failed" and "replaced_below_index" in failed["message"]
        assert failed["result"] is None and not list((tmp_path / "results").glob("samples/*"))
        assert ended(client, submitted(client, annotation, "nothing"))["state"] == "done"


def test_a_full_queue_takes_no_more(tmp_path, drag_of):
    with make_studio(tmp_path, "studio.most_waiting=2") as client:
        annotation = drag_of(client)
        request = {"annotation": annotation, "method": "dragdiffusion", "settings": ENDLESS}
        answers = [client.post("/api/jobs", json=request) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {202, 429}
        assert "at most 2" in next(answer for answer in answers if answer.status_code == 429).json()["detail"]
        for job in client.get("/api/jobs").json()["jobs"]:
            client.post(f"/api/jobs/{job['number']}/cancel")


def events(lines: Iterator[str]) -> Iterator[list[dict[str, Any]]]:
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_fifty_clients_poll_while_four_edit_and_nothing_is_lost(tmp_path, drag_of):
    each = 5
    with served(make_app(tmp_path, "studio.most_waiting=200", "metrics=none")) as address:
        done: set[int] = set()
        listened = threading.Event()

        def listen() -> None:
            with (
                httpx.Client(base_url=address, timeout=PATIENCE, verify=False) as client,
                client.stream("GET", "/api/events") as stream,
            ):
                for told in events(stream.iter_lines()):
                    listened.set()
                    done.update(job["number"] for job in told if job["state"] == "done")
                    if len(done) == 4 * each:
                        return

        def poll(number: int) -> int:
            asked = 0
            with httpx.Client(base_url=address, timeout=PATIENCE, verify=False) as client:
                while not stop.is_set():
                    answer = client.get("/api/jobs" if number % 2 else "/api/results")
                    assert answer.status_code == 200
                    asked += 1
                    time.sleep(0.5)
            return asked

        def edit(number: int) -> list[dict[str, Any]]:
            with httpx.Client(base_url=address, timeout=PATIENCE, verify=False) as client:
                annotation = drag_of(client, name=f"editor{number}")
                numbers = [submitted(client, annotation, "turn", seed=seed) for seed in range(each)]
                return [ended(client, one) for one in numbers]

        stop = threading.Event()
        with ThreadPoolExecutor(60) as pool:
            listener = pool.submit(listen)
            pollers = [pool.submit(poll, number) for number in range(50)]
            edits = [job for future in [pool.submit(edit, number) for number in range(4)] for job in future.result()]
            listener.result(PATIENCE)
            stop.set()
            assert all(poller.result() > 0 for poller in pollers)
    assert listened.is_set()
    assert len(done) == 4 * each
    assert {job["state"] for job in edits} == {"done"}
    kept = ResultStore(tmp_path / "results")
    assert len({(edit.label, edit.sample_name) for edit in kept.edits() if edit.done}) == 4 * each


# --- the board alone -------------------------------------------------------------------------------------------------


def a_sample() -> DragSample:
    points = ImagePoints(np.array([[40.0, 40.0]])), ImagePoints(np.array([[50.0, 40.0]]))
    return DragSample("board", picture(), "", *points)


def submit(board: Board) -> int:
    return board.submit(a_sample(), "nothing", Nothing(), {}, 0, {})["number"]


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_changes_are_told_once_and_paths_continue_where_they_were_known():
    go_on = threading.Semaphore(0)

    def make(job: Job, observer: JobObserver) -> dict[str, Any]:
        for step in range(3):
            go_on.acquire()
            observer.computing("drag", step + 1)
            observer.stepped(step, 3, 10.0 - step, np.array([[step, 2.0 * step]]))
        return {"label": "made"}

    board = Board(make, most_waiting=4)
    board.start()
    number = submit(board)
    seen: dict[int, int] = {}
    version, told = board.changes(0, seen)
    assert [job["number"] for job in told] == [number]
    go_on.release(2)
    wait_for(lambda: len(board.changes()[1][0]["path"]) == 2)
    version, told = board.changes(version, seen)
    assert told[0]["path"] == [[[0.0, 0.0]], [[1.0, 2.0]]] and told[0]["from_step"] == 0
    assert board.changes(version, seen) == (version, [])
    go_on.release()
    wait_for(lambda: board.changes()[1][0]["state"] == "done")
    _, told = board.changes(version, seen)
    assert told[0]["path"] == [[[2.0, 4.0]]] and told[0]["from_step"] == 2
    assert told[0]["result"] == {"label": "made"} and told[0]["seconds"].keys() <= {"drag"}
    board.close()


def test_positions_move_up_when_somebody_leaves_the_queue():
    finish = threading.Event()

    def make(job: Job, observer: JobObserver) -> dict[str, Any]:
        finish.wait(20)
        return {}

    board = Board(make, most_waiting=3)
    board.start()
    first = submit(board)
    wait_for(lambda: board.changes()[1][0]["state"] == "running")
    others = [submit(board) for _ in range(3)]
    with pytest.raises(QueueFullError):
        submit(board)

    def positions() -> dict[int, int]:
        return {job["number"]: job["position"] for job in board.changes()[1]}

    assert positions() == {first: 0, others[0]: 1, others[1]: 2, others[2]: 3}
    version, _ = board.changes()
    board.cancel(others[0])
    changed = {job["number"]: job["position"] for job in board.changes(version)[1]}
    assert changed == {others[0]: 0, others[1]: 1, others[2]: 2}
    assert board.cancel(999) is None
    finish.set()
    board.close()
    board.cancel(others[2])
    with pytest.raises(QueueFullError):
        submit(board)


def test_whatever_goes_wrong_in_an_edit_the_next_one_is_made():
    def make(job: Job, observer: JobObserver) -> dict[str, Any]:
        if job.number == 1:
            raise MemoryError("no more")
        return {}

    board = Board(make, most_waiting=4)
    first, second = submit(board), submit(board)
    board.start()
    wait_for(lambda: all(job["state"] in ("done", "failed") for job in board.changes()[1]))
    states = {job["number"]: (job["state"], job["message"]) for job in board.changes()[1]}
    assert states == {first: ("failed", "MemoryError: no more"), second: ("done", None)}
    board.close()

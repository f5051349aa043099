"""Events into progress: done, rates, time left, loss; and the ends of logs."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from lpd_core import logs
from lpd_core.events import (
    Measured,
    Progress,
    ReplicaSeen,
    StageFinished,
    StageStarted,
    StatusChanged,
    Warned,
    from_line,
    to_line,
)
from lpd_core.progress import POINTS, RunProgress
from lpd_core.store import RunFolder


def taken(*events) -> RunProgress:
    """The progress after (at, event) pairs."""
    return RunProgress().take_all(events)


def mined(done: int, work: float, tokens: int = 0, shard: int = 0, total: int = 100) -> Progress:
    return Progress(1, "e_step", done, total, {"work": work, "tokens": tokens}, shard)


def test_a_stage_of_two_processes_adds_up_and_the_slower_one_decides_the_time_left():
    progress = taken(
        (0.0, StageStarted(1, "e_step", 100, "prompts", shard=0)),
        (0.0, StageStarted(1, "e_step", 100, "prompts", shard=1)),
        (10.0, mined(40, 10.0, 400, shard=0)),
        (10.0, mined(20, 10.0, 300, shard=1)),
    )
    stage = progress.latest
    assert (stage.done, stage.total, stage.share, stage.unit) == (60, 200, 0.3, "prompts")
    assert stage.rate == pytest.approx(6.0) and stage.tokens_rate == pytest.approx(70.0)
    assert stage.eta(10.0) == pytest.approx(40.0)  # 80 prompts at 2 a second
    assert stage.eta(15.0) == pytest.approx(35.0)  # time passes between two chunks too


def test_no_rate_and_no_time_left_before_the_first_chunk():
    stage = taken((0.0, StageStarted(1, "e_step", 100, "prompts"))).latest
    assert stage.rate is None and stage.tokens_rate is None and stage.eta(5.0) is None and stage.share == 0.0


def test_chunks_found_committed_after_a_resume_do_not_count_as_speed():
    progress = taken(
        (0.0, StageStarted(1, "e_step", 100, "prompts")),
        (9.0, mined(80, 9.0)),
        (50.0, StatusChanged("stopped")),
        (100.0, StageStarted(1, "e_step", 100, "prompts")),
        (100.1, Progress(1, "e_step", 40, 100, {})),
        (100.2, Progress(1, "e_step", 80, 100, {"work": 0.0})),
        (110.2, mined(90, 10.0)),
    )
    stage = progress.latest
    assert stage.done == 90 and stage.rate == pytest.approx(1.0) and stage.eta(110.2) == pytest.approx(10.0)


def test_a_training_that_goes_on_counts_its_own_steps_only():
    progress = taken(
        (0.0, StageStarted(1, "m_step", 100, "steps", done=50)),
        (10.0, Progress(1, "m_step", 60, 100, {"loss": 1.0, "tokens_per_second": 123.0})),
    )
    stage = progress.latest
    assert stage.rate == pytest.approx(1.0) and stage.tokens_rate == 123.0
    assert stage.eta(10.0) == pytest.approx(40.0)


def test_a_finished_stage_is_whole_with_its_seconds_even_without_a_word_before():
    stage = taken((5.0, StageFinished(1, "cluster", 3.5, {"constitution_size": 7}))).latest
    assert stage.share == 1.0 and stage.seconds == 3.5 and stage.eta(9.0) == 0.0
    assert stage.summary == {"constitution_size": 7}


def test_steps_redone_after_a_resume_replace_those_of_the_loss_curve():
    steps = [(float(n), Measured(1, "m_step", n, "loss", 3.0)) for n in range(1, 11)]
    again = [(20.0 + n, Measured(1, "m_step", n, "loss", 2.0)) for n in range(6, 9)]
    other = (30.0, Measured(1, "m_step", 8, "grad_norm", 9.0))
    curve = taken(*steps, *again, other).losses[1]
    assert curve.points == [(n, 3.0) for n in range(1, 6)] + [(n, 2.0) for n in range(6, 9)]


def test_a_long_loss_curve_is_thinned_evenly():
    count = 10 * POINTS
    points = (
        taken(*((0.0, Measured(1, "m_step", n, "loss", float(n))) for n in range(1, count + 1)))
        .losses[1]
        .points
    )
    gaps = {after[0] - before[0] for before, after in pairwise(points)}
    assert POINTS / 2 <= len(points) <= POINTS and len(gaps) == 1 and points[0] == (1, 1.0)


def test_silence_is_told_after_five_minutes_but_not_of_a_stage_that_is_slow_by_nature():
    began = (0.0, StageStarted(1, "e_step", 100, "prompts"))
    quick = taken(began, (10.0, mined(10, 10.0)))
    assert quick.silent_for(200.0) is None and quick.silent_for(400.0) == 390.0
    slow = taken(began, (600.0, mined(10, 600.0)))
    assert slow.silent_for(1800.0) is None and slow.silent_for(4000.0) == 3400.0
    assert RunProgress().silent_for(1e9) is None


def test_warnings_and_changes_of_state_are_kept_the_newest():
    progress = taken(
        *((float(n), Warned(1, "m_step", f"row {n}")) for n in range(500)), (501.0, StatusChanged("failed"))
    )
    assert len(progress.warnings) == 100 and progress.warnings[-1][1].message == "row 499"
    assert progress.changes[-1][1].status == "failed"


def test_events_are_read_in_pieces_and_end_where_reading_at_once_ends(tmp_path):
    folder = RunFolder(tmp_path)
    for n in range(1, 200):
        folder.emit(Measured(1, "m_step", n, "loss", 1.0 / n))
    with open(tmp_path / "events.jsonl", "ab") as file:
        file.write(b"x" * 5000 + b"\n")  # a damaged line longer than a piece
    folder.emit(Warned(1, "m_step", "after the damage"))
    progress, since = RunProgress(), 0
    while since < folder.events_size():
        events, since = folder.events(since, most=1000)
        progress.take_all(events)
    assert progress == RunProgress().take_all(folder.events()[0])
    assert progress.losses[1].points[-1][0] == 199 and progress.warnings[0][1].message == "after the damage"


def test_a_hundred_megabytes_of_log_cost_what_a_small_one_costs(tmp_path):
    path = tmp_path / "a.log"
    with open(path, "wb") as file:
        file.truncate(200_000_000)
        file.seek(0, 2)
        file.write(b"\n" + b"".join(b"line %d\n" % n for n in range(1000)))
    started = time.process_time()
    found = logs.tail(path, 30)
    assert time.process_time() - started < 0.2
    assert found.lines[-1] == "line 999" and len(found.lines) == 30 and not found.whole
    assert logs.search(path, "LINE 99", 5).matches == 11


def test_a_log_is_readable_text(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"\x1b[31mred\x1b[0m\n 10%\r 50%\r100%\r\nnul\x00l \xff end\n")
    assert logs.tail(path).lines == ("red", "100%", "null � end")
    assert logs.tail(tmp_path / "absent.log") == logs.Tail((), 0, True)


@pytest.mark.parametrize(
    ("error", "lines", "told"),
    [
        ("cannot write x: No space left on device; the disk is full: free some space", (), "Free some space"),
        (
            "stage e_step of iteration 1 was ended by SIGKILL; the machine may have run out of memory",
            (),
            "workers",
        ),
        ("stage e_step failed", ("ImportError: x.so: failed to map segment from shared object",), "workers"),
        ("stage m_step failed", ("torch.OutOfMemoryError: CUDA out of memory.",), "micro_batch"),
        ("iteration 1 has no training rows: no candidate gained", (), "e_step.margin"),
        ("the driver died without a word", (), "killed from outside"),
        ("something nobody foresaw", ("what?",), "last lines of the log"),
    ],
)
def test_a_failure_comes_with_what_to_do(error, lines, told):
    assert told in logs.remedy(error, lines)


def seen(replica: str, tokens: int, seconds: float = 10.0, **more) -> ReplicaSeen:
    return ReplicaSeen(
        1, "e_step", replica, node="n", role="refine", pieces=2, tokens=tokens, seconds=seconds, **more
    )


def test_a_replica_is_told_by_its_last_word_and_a_resume_begins_with_none():
    told = [seen("a", 100), seen("b", 90), seen("a", 200, state="lost", lost=2), seen("b", 150, redone=2)]
    lines = [from_line(to_line(event, 1.0)) for event in told]
    progress = taken((0.0, StageStarted(1, "e_step", 100, "prompts")), *lines)
    replicas = progress.latest.replicas
    assert {name: (r.tokens, r.state, r.lost, r.redone) for name, r in replicas.items()} == {
        "a": (200, "lost", 2, 0),
        "b": (150, "working", 0, 2),
    }
    progress.take(2.0, StageStarted(1, "e_step", 100, "prompts"))
    assert not progress.latest.replicas


def test_a_straggler_is_slower_than_half_the_median_of_the_others_of_its_role():
    quick = [seen(f"r{n}", 1000 + n) for n in range(3)]
    other_role = ReplicaSeen(1, "e_step", "d", role="draft", pieces=1, tokens=5, seconds=10.0)
    dead = seen("gone", 1, state="lost")
    progress = taken(*((1.0, e) for e in [*quick, seen("slow", 400), other_role, dead]))
    assert progress.latest.stragglers() == {"slow"}

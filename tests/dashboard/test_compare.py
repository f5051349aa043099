"""The page that puts runs and iterations side by side."""

from __future__ import annotations

import pytest

from dashboard.conftest import open_page, words
from dashboard.hostile import dangers, hostile  # noqa: F401
from dashboard.test_trajectories import address, frame, run_of
from lpd_core import jobs
from lpd_core.config import load_config
from lpd_core.metrics import best_iteration, interval
from lpd_core.store import Store, comparing
from lpd_core.store.comparing import System


def table(app, column: str):
    """The table with that column."""
    return next(each for each in app.dataframe if column in each.value.columns).value


@pytest.fixture
def finished(looking):
    home = looking("finished")
    return Store(home), run_of(home)


def test_the_table_has_every_measured_iteration_with_n_and_interval(finished):
    store, run = finished
    app = open_page("compare", run=run)
    assert not app.exception
    numbers = table(app, "y2 - base y1")
    assert list(numbers["Iteration"]) == [0, 1, 2]
    summary = comparing.summaries(store, [run])[run][2]["evaluate"]["dev"]["over_base"]
    assert f"{summary['mean']:+.3f}".replace("-", "−") in numbers["y2 - base y1"].iloc[2]
    best = best_iteration({t: s["evaluate"] for t, s in comparing.summaries(store, [run])[run].items()})
    assert f"iteration {best}: f(y2) - the base" in words(app)
    assert all("n = 24" in text and "[" in text for text in numbers["f(y2)"])


def test_every_view_has_an_address_that_reopens_it(finished):
    _, run = finished
    app = open_page("compare", run=run)
    app.segmented_control(key="compare.view").set_value("samples").run()
    assert address(app)["view"] == "samples" and address(app)["runs"] == run
    again = open_page("compare", **address(app))
    assert table(again, "System").equals(table(app, "System"))


def test_the_paired_difference_is_over_the_prompts_that_both_answered(finished):
    store, run = finished
    app = open_page("compare", run=run, view="samples", set="dev", at=f"{run}.0,{run}.2")
    pairs = comparing.paired_scores(store, (System(run, 0), System(run, 2)), "dev")
    expected = interval([after - before for _, (before, after) in pairs])
    told = table(app, "System")["Difference to the first, paired"].iloc[1]
    assert f"n = {len(pairs)}" in told and f"{expected.mean:+.3f}".replace("-", "−") in told


def test_the_prompts_come_by_largest_difference_and_one_is_read_side_by_side(finished):
    store, run = finished
    app = open_page("compare", run=run, view="samples", at=f"{run}.0,{run}.1,{run}.2")
    differences = list(frame(app, "compare.prompts")["Largest difference"])
    assert differences == sorted(differences, reverse=True) and differences[0] > 0
    boxes = [each.proto.body for each in app.main if each.type == "html"]
    assert sum("y2, f =" in box for box in boxes) == 3
    third = comparing.paired_scores(store, tuple(System(run, t) for t in (0, 1, 2)), "dev")[2][0]
    other = open_page("compare", run=run, view="samples", at=f"{run}.0,{run}.1,{run}.2", prompt=third)
    assert [each.proto.body for each in other.main if each.type == "html"] != boxes


def test_one_system_alone_asks_for_a_second(finished):
    _, run = finished
    app = open_page("compare", run=run, view="samples", at=f"{run}.1")
    assert "at least two systems" in words(app)


def test_only_the_settings_that_differ_are_listed(copied):
    home = copied("finished")
    store, run = Store(home), run_of(home)
    config = load_config(None, store.run(run).root / "config.toml", ["e_step.n=2", "seed=9"])
    other = jobs.create_run(store, config).run_id
    # a run from before a setting existed had what is the default now
    store.database.execute(
        'update runs set config = json_merge_patch(config, \'{"m_step": {"packing": null}}\')'
    )
    app = open_page("compare", run=run, runs=f"{run},{other}", view="settings")
    listed = table(app, "Setting")
    assert sorted(listed["Setting"]) == ["e_step.n", "seed"]
    assert list(listed[listed["Setting"] == "e_step.n"].iloc[0])[1:] == ["4", "2"]
    app.toggle(key="compare.same").set_value(True).run()
    assert len(table(app, "Setting")) > 40


def test_what_was_discovered_is_drawn(finished):
    _, run = finished
    app = open_page("compare", run=run, view="discovery")
    assert not app.exception
    assert len(app.get("plotly_chart")) == 4


def test_hostile_texts_are_shown_as_text(hostile):  # noqa: F811
    run = run_of(hostile)
    for view in ("curves", "discovery", "settings", "samples"):
        app = open_page("compare", run=run, view=view)
        assert not app.exception and dangers(app) == [], view

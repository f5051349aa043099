"""The Principles page: what it says in each state, and one selection that every part of it follows."""

from __future__ import annotations

import os
import signal

import pytest
from principle_homes import RUN, TEXTS, clustered_home

from dashboard.conftest import open_page, words
from lpd_core.resident.place import Place
from lpd_core.store import Store, principles

SELECTED = "principles.selection"


@pytest.fixture
def small(store):
    """A store whose only run has fifteen principles in clusters and waits for its review."""
    clustered_home(store, TEXTS)
    return store


def select(app, key: str, **selection):
    """The page after a person selected points or rows in one of its widgets."""
    app.session_state[key] = {"selection": selection}
    return app.run()


def chosen(app):
    """The selection that the page keeps."""
    return app.session_state[SELECTED][1]


def frames(app) -> list:
    """The tables on the page."""
    return [each.value for each in app.dataframe]


def test_each_state_says_what_there_is_to_see(any_home):
    app = open_page("principles")
    assert not app.exception
    said = words(app)
    expected = {
        "empty": "There are no runs yet",
        "finished": "Nothing selected",
        "waiting": "Nothing selected",
        "failed": "no candidate gained",
    }
    assert expected[any_home] in said


@pytest.mark.parametrize("view", ["Clusters", "Dendrogram", "Keywords", "Lineage"])
def test_every_view_opens_by_its_address_on_real_runs(view, looking):
    looking("finished")
    app = open_page("principles", view=view)
    assert not app.exception
    assert not app.error
    assert app.segmented_control(key="principles.view").value == view


@pytest.mark.parametrize("count", [0, 1, 2, 5, 15])
def test_few_principles_break_no_view(count, store):
    clustered_home(store, TEXTS[:count])
    app = open_page("principles", run=RUN, iteration="1")
    assert ("no candidate gained" if not count else f"All {count:,} principle") in words(app)
    for view in ("Dendrogram", "Keywords", "Lineage") if count else ():
        app.segmented_control(key="principles.view").set_value(view).run()
        assert not app.exception
        assert not app.error


def test_an_iteration_that_is_not_clustered_yet_says_so(store):
    clustered_home(store, TEXTS[:5], done=False)
    said = words(open_page("principles", run=RUN, iteration="1"))
    assert "Iteration 1 has not been clustered yet" in said


def test_a_lasso_on_the_map_narrows_members_clusters_and_examples(small):
    app = open_page("principles")
    app = select(app, "principles.map", points=[{"customdata": {"0": n}} for n in (0, 4)])
    assert not app.exception
    assert chosen(app).positions == (0, 4)
    texts = next(list(frame["Principle"]) for frame in frames(app) if "Principle" in frame)
    assert sorted(texts) == sorted([TEXTS[0], TEXTS[4]])
    table = next(frame for frame in frames(app) if "Selected" in frame)
    assert sum(table["Selected"]) == 2
    assert "2 principles, stated by 3 trajectories" in words(app)
    assert TEXTS[9] not in words(app)


def test_ticking_a_cluster_selects_it_writes_the_address_and_can_be_cleared(small):
    app = open_page("principles")
    app = select(app, "principles.table.0", rows=[1], columns=[], cells=[])
    cluster = list(principles.cluster_labels(small, RUN, 1))[1]
    assert chosen(app).clusters == (cluster,)
    assert app.query_params["clusters"] == cluster
    assert f"({cluster})" in words(app)
    app.button(key="principles.clear").click().run()
    assert not chosen(app)
    assert "clusters" not in app.query_params
    assert "Nothing selected" in words(app)


def test_a_later_selection_elsewhere_takes_over_from_the_first(small):
    app = select(open_page("principles"), "principles.map", points=[{"customdata": [2]}])
    assert chosen(app).positions == (2,)
    app = select(
        app,
        f"principles.table.{app.session_state['principles.revision.table']}",
        rows=[0],
        columns=[],
        cells=[],
    )
    assert chosen(app).source == "table"
    assert chosen(app).positions == ()
    app.run()
    assert chosen(app).source == "table"


def test_the_address_reopens_a_selection_and_leaves_out_strange_clusters(small):
    cluster = next(iter(principles.cluster_labels(small, RUN, 1)))
    app = open_page("principles", clusters=f"{cluster},99.9")
    assert chosen(app).clusters == (cluster,)
    assert "Selected" in words(app)


def test_a_branch_and_a_keyword_bar_select_their_clusters(small):
    cluster = next(iter(principles.cluster_labels(small, RUN, 1)))
    app = select(
        open_page("principles", view="Keywords"), "principles.keywords.0", points=[{"customdata": cluster}]
    )
    assert chosen(app).clusters == (cluster,)
    app = select(
        open_page("principles", view="Dendrogram"), "principles.branches.0", points=[{"customdata": 0}]
    )
    assert len(chosen(app).clusters) == 1


def test_moving_the_threshold_tells_the_number_of_clusters_and_what_would_change(small):
    app = open_page("principles", view="Dendrogram")
    today = len(principles.cluster_labels(small, RUN, 1))
    assert app.metric[0].value == str(today)
    app.slider(key="principles.threshold").set_value(0.0).run()
    assert app.metric[0].value == "15"
    assert "take" in words(app)
    top = app.slider(key="principles.threshold").max
    app.slider(key="principles.threshold").set_value(top).run()
    assert app.metric[0].value == "1"
    assert "joined" in words(app)
    assert app.query_params["threshold"] == f"{top:.3f}"


def test_searching_by_words_lists_the_principles_that_hold_them(small):
    app = open_page("principles", find="weigh", how="words")
    texts = next(list(frame["Principle"]) for frame in frames(app) if "Principle" in frame)
    assert sorted(texts) == sorted(text for text in TEXTS if text.startswith("Weigh"))


def test_searching_by_meaning_ranks_the_nearest_and_selects_them(small):
    try:
        app = open_page("principles", find="Weigh every risk.")
        assert not app.exception
        table = next(frame for frame in frames(app) if "Similarity" in frame)
        assert table["Principle"][0] == "Weigh every risk."
        assert table["Similarity"][0] == pytest.approx(1.0)
        app.button(key="principles.pick").click().run()
        assert len(chosen(app).positions) == 15
    finally:
        if process := Place(small.home, "embed").process_id():
            os.kill(process, signal.SIGKILL)


def test_the_principles_like_one_come_by_its_stored_vector(small):
    app = open_page("principles", like="p003")
    table = next(frame for frame in frames(app) if "Similarity" in frame)
    assert table["Principle"][0] == TEXTS[3]


def test_hostile_principles_are_shown_as_text(store):
    hostile = [
        "<img src=x onerror=alert(1)>",
        "![a](http://x/y.png) **bold**",
        "\u202eright to left",
        "x" * 100_000,
    ]
    clustered_home(store, hostile)
    for view in ("Clusters", "Dendrogram", "Keywords", "Lineage"):
        app = open_page("principles", view=view)
        assert not app.exception
        assert not any("<img src=x" in each.value for each in app.markdown)
        assert not any("![a](" in each.value for each in [*app.markdown, *app.caption])


def test_a_selection_of_one_iteration_is_forgotten_on_another(looking):
    looking("finished")
    app = open_page("principles", iteration="1")
    run = app.query_params["run"]
    cluster = next(iter(principles.cluster_labels(Store(), run, 1)))
    app = open_page("principles", iteration="1", clusters=cluster)
    assert chosen(app).clusters == (cluster,)
    app.selectbox(key=f"picker.iteration.{run}").set_value(2).run()
    assert not chosen(app)
    assert "clusters" not in app.query_params

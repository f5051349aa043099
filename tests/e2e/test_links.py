"""Links into a server that nobody has visited yet."""

from __future__ import annotations


def test_the_first_visit_by_a_link_to_a_page_shows_it_inside_the_frame(server, browser):
    page = browser.new_page()
    page.goto(f"{server.url}/trajectories")
    page.get_by_role("heading", name="Trajectories").wait_for(timeout=120_000)
    page.get_by_role("link", name="Constitution").wait_for(timeout=120_000)
    assert page.get_by_role("link", name="Home").first.is_visible()
    assert "No runs yet" in page.locator("[data-testid=stSidebar]").inner_text()
    page.close()

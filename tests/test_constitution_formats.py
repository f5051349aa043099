"""Files that go out and come in: JSON, YAML, Markdown, and other people's lists of principles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from constitutions import TEXTS, clustering, constitution, edited
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lpd_core.constitution import (
    additions,
    diff,
    digest,
    entries_json,
    from_clustering,
    from_json,
    from_yaml,
    read_principles,
    start,
    to_markdown,
    to_yaml,
)
from lpd_core.constitution.markdown import escape, unescape
from lpd_core.errors import DataError

SHARED = Path(__file__).parents[2] / "shared" / "data" / "principles"
HOSTILE = (
    "# Title [link](https://evil.example) **bold** <script>alert(1)</script> $x^2$ :red[hot] "
    "www.evil.example a@b.example `code` | --- | ~~gone~~ &amp; ![img](x)"
)


def rich():
    """A constitution with every status, a note, a pin and an own text."""
    return edited(
        constitution(),
        ("merge", {"ids": ["1.1", "1.2"], "label": "Both"}),
        ("split", {"id": "1.3", "groups": [["p5", "p6"], ["p7", "p8"]]}),
        ("prune", {"id": "1.4"}),
        ("prune", {"principle_ids": ["p4", "p10"]}),
        ("add", {"text": "Sei kurz: „ja“ oder nein.", "note": "yes"}),
        ("accept_all", {}),
    ).current


def document(**changes):
    return {**json.loads(entries_json(rich())), **changes}


def test_json_and_yaml_round_trip_exactly():
    state = rich()
    assert from_json(entries_json(state)) == state
    assert from_yaml(to_yaml(state)) == state
    assert digest(from_yaml(to_yaml(state))) == digest(state)
    assert json.loads(entries_json(state))["schema"] == "lpd-constitution/1"


def test_the_digest_names_the_content_and_nothing_else():
    merged = edited(constitution(), ("merge", {"ids": ["1.1", "1.2"]}))
    assert digest(edited(merged, ("undo", {})).current) == digest(constitution())
    assert digest(merged.current) != digest(constitution())
    assert len(digest(merged.current)) == 64


texts = st.text(st.characters(codec="utf-8"), min_size=1)


@settings(deadline=None)
@given(st.lists(texts, min_size=3, max_size=3), texts)
@example(["no", "1.3", "~"], "\x85\u2028\ufeff\x07 \n:")
@example(["- a", "#", "'\""], "\U0001f600\x7f\r\n")
def test_any_text_survives_json_and_yaml(principles, label):
    named = dict(zip(("p0", "p1", "p2"), principles, strict=True))
    base = from_clustering(clustering([(0, 1, 2)]), named)
    state = edited(base, ("note", {"id": "1.1", "note": label})) if label.strip() else start(base)
    assert from_json(entries_json(state.current)) == state.current
    assert from_yaml(to_yaml(state.current)) == state.current


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"schema": "lpd-constitution/1",\n "entries": [}', "line 2: not JSON"),
        ("[]", "document: input should be a valid"),
        (json.dumps(document(schema="lpd-constitution/2")), "schema: input should be 'lpd-constitution/1'"),
        (json.dumps(document(extra=1)), "extra: extra inputs"),
        (json.dumps(document(entries=[{"id": 1.3, "label": "", "text": "x"}])), "entries[0].id"),
        (
            json.dumps(document(entries=[{"id": "1", "label": "", "text": "x", "into": ["2"]}])),
            "entry 1: merged and",
        ),
        (
            json.dumps(
                document(entries=[{"id": "1", "label": "", "text": "x", "status": "merged", "into": ["2"]}])
            ),
            "entry 1 refers to 2",
        ),
        (json.dumps(document(unclustered=[{"id": "p5", "text": TEXTS["p5"]}])), "p5 is in two places"),
        (json.dumps(document(unclustered=[{"id": "p5", "text": "other"}])), "p5 has two texts"),
        (
            json.dumps(document(entries=[{"id": "1", "label": "", "text": "x"}] * 2)),
            "two entries have the id '1'",
        ),
    ],
)
def test_a_broken_document_is_refused_naming_the_place(text, place):
    with pytest.raises(DataError) as refused:
        from_json(text)
    assert place in str(refused.value)


def test_a_text_changed_by_hand_needs_its_medoid_set_to_null():
    values = document()
    entry = next(e for e in values["entries"] if e["id"] == "e2.1")
    entry["text"] = "Reworded by hand."
    with pytest.raises(DataError, match="set `medoid` to null"):
        from_json(json.dumps(values))
    entry["medoid"] = None
    assert from_json(json.dumps(values)).by_id["e2.1"].text == "Reworded by hand."


def test_broken_yaml_names_its_line():
    with pytest.raises(DataError, match="line 3: not YAML"):
        from_yaml("schema: lpd-constitution/1\nentries:\n  - id: 1: 2\n")


def visible(markdown):
    """The kinds of inline tokens, and the text a reader sees."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown)
    inline = [child for token in tokens for child in token.children or ()]
    blocks = {
        t.type for t in tokens if not t.type.startswith(("list_item", "ordered_list", "paragraph", "inline"))
    }
    return {t.type for t in inline} | blocks, "".join(t.content for t in inline)


@settings(deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(
        lambda t: "\N{WORD JOINER}" not in t and t.strip()
    )
)
@example(HOSTILE)
@example("- item")
@example("12) item")
@example("1. item")
@example("+ plus")
@example("===")
@example("    indented")
@example("a\n\n# b")
@example("[x]: https://evil.example")
@example("- [ ] task")
@example("\\* <!-- x -->")
def test_model_text_never_becomes_markup(text):
    plain = " ".join(text.split())
    kinds, shown = visible(f"1. {escape(text)}")
    assert kinds <= {"text", "text_special"}
    assert shown.replace("\N{WORD JOINER}", "").replace("\x00", "\ufffd") == plain.replace("\x00", "\ufffd")
    assert unescape(escape(text)) == plain


def test_addresses_are_broken_for_renderers_that_link_bare_ones():
    assert "https://" not in escape(HOSTILE).replace("\\", "")
    assert "www." not in escape(HOSTILE)
    assert "a@b" not in escape(HOSTILE).replace("\\", "")


def test_markdown_lists_active_and_pruned_entries_and_is_read_back_without_the_pruned_ones(tmp_path):
    state = edited(start(rich()), ("reword", {"id": "e1", "text": HOSTILE})).current
    text = to_markdown(state, title="Run *one*")
    assert text.startswith("# Run \\*one\\*\n")
    path = tmp_path / "constitution.md"
    path.write_text(text)
    found = [p.text for p in read_principles(path).principles]
    assert found == [e.text for e in state.active]
    assert escape(state.by_id["1.4"].text) in text


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "principles"),
    [
        (
            "p.txt",
            "\ufeff1. Be brief.\n\n- Be kind.\n3 apples a day.\n",
            ["Be brief.", "Be kind.", "3 apples a day."],
        ),
        ("p.json", ["Be brief.", {"principle": "Be kind."}], ["Be brief.", "Be kind."]),
        ("p.json", "1. Be brief.\n2. Be kind.", None),
        ("p.json", json.dumps("1. Be brief.\n2. Be kind."), ["Be brief.", "Be kind."]),
        ("p.json", {"0": "Be brief.", "7": "Be kind."}, ["Be brief.", "Be kind."]),
        ("p.json", {"v1": [{"info": "x", "principles_short_version": ["is brief"]}]}, ["is brief"]),
        ("p.jsonl", '{"principle": "Be brief.\u2028"}\n\n"Be kind."\r\n', ["Be brief.", "Be kind."]),
        ("p.yaml", "- Be brief.\n- principle: Be kind.\n", ["Be brief.", "Be kind."]),
        (
            "p.md",
            "# Rules\n\nRead them.\n\n* Be brief\\.\n    - detail\n* Be kind.\n",
            ["Be brief.", "Be kind."],
        ),
    ],
)
def test_lists_of_principles_import(tmp_path, name, content, principles):
    path = written(tmp_path, name, content)
    if principles is None:
        with pytest.raises(DataError, match="line 1: not JSON"):
            read_principles(path)
    else:
        assert [p.text for p in read_principles(path).principles] == principles


def test_a_document_imports_as_its_active_principles_with_pins_and_says_what_is_lost(tmp_path):
    state = edited(start(rich()), ("pin", {"id": "e1"})).current
    found = read_principles(written(tmp_path, "c.yaml", to_yaml(state)))
    assert [(p.text, p.label, p.note, p.pinned) for p in found.principles] == [
        (e.text, e.label, e.note, e.pinned) for e in state.active
    ]
    assert [args.get("pinned") for args in additions(found)] == [True, None, None, None]
    members, left, accepted = found.notices
    assert "members of 3 entries are not taken over" in members
    assert left.startswith("4 entries that are not active")
    assert "accepted is not taken over" in accepted


def test_documents_from_before_made_and_stand_in_are_read():
    values = document()
    (pruned,) = json.loads(entries_json(pruned_medoid()))["pruned_principles"]
    assert pruned["stand_in"] == "p3"
    assert all("stand_in" not in each for each in values["pruned_principles"])
    for entry in values["entries"]:
        entry["provenance"].pop("made", None)
    old = from_json(json.dumps(values))
    assert json.loads(entries_json(old)) == values
    assert old.by_id["e5"].provenance.made is None
    kinds = {(change.kind, change.entry_id) for change in diff(constitution(), old).changes}
    assert {("added", "e5"), ("merged", "e1"), ("split", "1.3")} <= kinds


def pruned_medoid():
    return edited(constitution([(0, 3)], ()), ("prune", {"principle_ids": ["p0"]})).current


def test_a_stand_in_that_is_no_principle_is_refused_and_a_circle_of_them_harms_nothing():
    values = json.loads(entries_json(pruned_medoid()))
    values["pruned_principles"][0]["stand_in"] = "nobody"
    with pytest.raises(DataError, match="refers to nobody"):
        from_json(json.dumps(values))
    values["pruned_principles"][0]["stand_in"] = "p0"
    state = from_json(json.dumps(values))
    back = edited(state, ("restore", {"principle_ids": ["p0"]})).current
    assert back.by_id["1.1"].text == TEXTS["p3"]


def test_names_and_notes_go_along_and_additions_make_entries(tmp_path):
    rows = """{"name": "short", "principle": "Be brief."}
              {"principle": "Be brief."}
              {"text": "Be kind.", "note": "n"}"""
    imported = read_principles(written(tmp_path, "p.jsonl", rows))
    assert len(imported.principles) == 3
    added = additions(imported)
    assert added == [{"text": "Be brief.", "label": "short"}, {"text": "Be kind.", "note": "n"}]
    history = edited(constitution(), *(("add", {**args, "pinned": True}) for args in added))
    assert [(e.label, e.pinned) for e in history.current.active[-2:]] == [("short", True), ("Be kind.", True)]


def test_votes_take_their_texts_from_the_file_beside_them(tmp_path):
    votes = {"0": {"for": 2, "against": 1}, "1": {"for": 0, "against": 0}}
    path = written(tmp_path, "run_041_votes_per_cluster.json", votes)
    alone = read_principles(path)
    first = alone.principles[0]
    assert (first.text, first.label, first.note) == ("principle 0", "0", "votes: 2 for, 1 against")
    assert "no text for 2 ids" in alone.notices[0]
    written(tmp_path, "run_030_distilled_principles_per_cluster.json", {"0": "Be brief.", "1": "Be kind."})
    together = read_principles(path)
    assert [p.text for p in together.principles] == ["Be brief.", "Be kind."]
    assert "030_distilled" in together.notices[0]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("p.jsonl", '{"principle": "x"}\n{"rule": "y"}\n{nope', "line 2: no principle in"),
        ("p.jsonl", '{"principle": "x"}\n{"rule": "y"}\n{nope', "line 3: "),
        ("p.json", ["x", ""], "item 2: no principle in ''"),
        ("p.json", "[1,\n2", "line 2: not JSON"),
        ("p.json", "3", "holds int; what can be imported is a list of principles"),
        ("p.json", {"v1": [{"principles": []}]}, "key v1: no list `principles_short_version`"),
        ("p.txt", "\n\n", "holds no principles"),
        ("p.yaml", "- a\n- b: c: d\n", "line 2: not YAML"),
    ],
)
def test_what_cannot_be_imported_names_the_file_and_the_line(tmp_path, name, content, reason):
    path = written(tmp_path, name, content)
    with pytest.raises(DataError) as refused:
        read_principles(path)
    assert reason in str(refused.value) and str(path) in str(refused.value)


def test_unreadable_and_badly_encoded_files_are_data_errors(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_principles(tmp_path / "absent.txt")
    (tmp_path / "latin.txt").write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(DataError, match="line 2: not UTF-8"):
        read_principles(tmp_path / "latin.txt")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample files are not on this machine")
def test_every_shared_file_of_principles_imports():
    counts = {path.name: len(read_principles(path).principles) for path in sorted(SHARED.iterdir())}
    assert list(counts.values()) == [40, 40, 5, 5, 160, 16, 12]
    votes = read_principles(SHARED / "feedback_forensics_example_041_votes_per_cluster.json")
    assert votes.principles[0].text == "Select the response that is more concise"
    assert votes.principles[0].note == "votes: 0 for, 1 against, 0 abstain, 0 invalid"

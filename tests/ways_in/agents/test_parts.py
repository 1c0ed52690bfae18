"""What goes into one file, and comes out again: a user's own is never touched."""

from __future__ import annotations

import tomllib

import pytest

from modelwright.ways_in.agents.parts import BlockPart, JsonPart, Member, TomlPart, WholePart

JSON = JsonPart(
    "f.json",
    ("claude",),
    (Member(("servers", "m"), {"v": 2}, lambda v: isinstance(v, dict) and set(v) == {"v"}),),
    ((("deny",), "one"), (("deny",), "two")),
)
TOML = TomlPart("f.toml", ("codex",), ("servers", "m"), "[servers.m]\nv = 2\n",
                {"shell": '\n[shell.set]\nA = "x"\n'})  # fmt: skip
BLOCK = BlockPart("F.md", ("claude",), "@A.md\n", unless="A.md")
WHOLE = WholePart("F.md", ("claude",), "ours\n")


def test_json_made_renewed_and_removed() -> None:
    made = JSON.install(None)
    assert made.state == "made" and made.text is not None and made.text.endswith("]\n}\n")
    assert JSON.install(made.text).state == "same"
    old = made.text.replace('"v": 2', '"v": 1')
    assert JSON.install(old) == (made.text, "updated", "", "")
    assert JSON.withdraw(old) == (None, "removed", "", "")
    added = JSON.install('{"mine": 1}')
    assert (added.state, added.why) == ("made", "added to your file")
    assert JSON.withdraw(added.text or "") == ('{"mine": 1}', "removed", "", "")
    assert JSON.withdraw('{"mine": 1}').state == "same"


def test_a_server_of_the_users_own_is_left() -> None:
    own = '{"servers": {"m": {"url": "x"}}, "deny": ["one", "two"]}'
    assert JSON.install(own) == (own, "left", "servers.m is yours, so it is left as it is", "")
    removed = JSON.withdraw(own)
    assert removed.text == '{"servers": {"m": {"url": "x"}}}'


@pytest.mark.parametrize("text", ["[1]", "{oops}", '{"servers": 3}', '{"deny": "all"}'])
def test_json_that_cannot_be_edited_is_told_what_to_paste(text: str) -> None:
    found = JSON.install(text)
    assert found.text == text and found.state == "left" and '"v": 2' in found.paste
    assert JSON.withdraw(text).text == text


def test_toml_made_renewed_and_removed() -> None:
    made = TOML.install(None)
    assert made.state == "made" and tomllib.loads(made.text or "")["shell"]["set"] == {"A": "x"}
    assert TOML.install(made.text).state == "same"
    assert TOML.withdraw(made.text or "") == (None, "removed", "", "")
    mine = 'model = "m" # note\n\n[shell]\ninherit = "all"'
    added = TOML.install(mine)
    assert tomllib.loads(added.text or "") == {**tomllib.loads(mine), "servers": {"m": {"v": 2}}}
    assert TOML.withdraw(added.text or "") == (mine, "removed", "", "")
    newer = TomlPart(TOML.path, TOML.clients, TOML.place, "[servers.m]\nv = 3\n", {})
    assert newer.install(added.text).state == "updated"


def test_toml_that_would_change_elsewhere_is_left() -> None:
    for mine in ("servers = {}\n", "not toml"):
        found = TOML.install(mine)
        assert found.text == mine and found.state == "left" and "v = 2" in found.paste
    for mine in ("[servers]\nm = 1\n", "[servers.m]\nv = 1\n"):
        assert TOML.install(mine) == (mine, "left", "servers.m is yours: left as it is", "")
    below = (TOML.install(None).text or "") + 'model = "slipped into our table"\n'
    assert TOML.withdraw(below).state == "removed" or "slip" in TOML.withdraw(below).why
    assert TOML.install(below).state == "left"


def test_a_block() -> None:
    assert BLOCK.install("See @A.md").state == "same"
    added = BLOCK.install("mine")
    assert (added.state, added.why) == ("made", "added to your file")
    assert BLOCK.install(added.text).state == "same"
    assert BLOCK.withdraw(added.text or "") == ("mine", "removed", "", "")
    assert BLOCK.withdraw("mine").state == "same"
    edited = (added.text or "").replace("@A.md", "@B.md")
    for found in (BLOCK.install(edited), BLOCK.withdraw(edited)):
        assert found.text == edited and found.state == "left" and "edited" in found.why


def test_a_whole_file() -> None:
    made = WHOLE.install(None)
    assert made.state == "made" and WHOLE.install(made.text).state == "same"
    older = WholePart("F.md", ("claude",), "older\n").install(None).text
    assert WHOLE.install(older) == (made.text, "updated", "", "")
    for mine in ("mine\n", (made.text or "").replace("ours", "mine")):
        assert WHOLE.install(mine)[:2] == (mine, "left")
        assert WHOLE.withdraw(mine).text == mine
    assert WHOLE.withdraw(made.text or "") == (None, "removed", "", "")

import datetime as dt

import pytest

from resources.tombstones import Tombstone, TombstoneError, Tombstones

AT = dt.datetime(2026, 10, 8, 12, tzinfo=dt.UTC)
ONE, OTHER = "a" * 64, "b" * 64


def test_a_tombstone_comes_back_as_it_was_and_its_first_date_stands(tmp_path):
    tombstones = Tombstones(str(tmp_path))
    assert (tombstones.ids(), tombstones.get(ONE)) == (set(), None)
    first = Tombstone(ONE, AT, "ticket 1", "privacy", ("n1",))
    assert tombstones.put(first) == first
    later = tombstones.put(Tombstone(ONE, AT + dt.timedelta(days=1), "ticket 2", "", ("n2",)))
    assert later == Tombstone(ONE, AT, "ticket 1", "privacy", ("n1", "n2"))
    assert tombstones.get(ONE) == later
    assert tombstones.erased_at() == {ONE: AT}
    assert tombstones.names() == {"n1": ONE, "n2": ONE}
    assert tombstones.address(ONE) == str(tmp_path / "tombstones" / "aa" / f"{ONE}.json")


def test_what_a_killed_write_left_is_no_tombstone(tmp_path):
    tombstones = Tombstones(str(tmp_path))
    tombstones.put(Tombstone(ONE, AT))
    (tmp_path / "tombstones" / "aa" / f".{OTHER}.json.123").write_bytes(b"{")
    assert tombstones.ids() == {ONE}
    assert tombstones.refuse([OTHER]) is None
    assert tombstones.refuse([OTHER, ONE]) == tombstones.address(ONE)


def test_a_damaged_one_is_named_and_a_malformed_id_refused(tmp_path):
    tombstones = Tombstones(str(tmp_path))
    tombstones.put(Tombstone(ONE, AT))
    (tmp_path / "tombstones" / "aa" / f"{ONE}.json").write_bytes(b'{"photo_id": ')
    with pytest.raises(TombstoneError, match=f"{ONE}.json cannot be understood"):
        tombstones.all()
    with pytest.raises(ValueError, match="no photo_id"):
        tombstones.get("../x")

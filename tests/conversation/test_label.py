"""Labels: unions that forget nothing, and what older events say."""

from hypothesis import given
from hypothesis import strategies as st

from tom.conversation.event import Event
from tom.conversation.label import CLEAN, MORE, MOST_SOURCES, Label, label_of, union

names = st.frozensets(st.text("abcdefgh", min_size=1, max_size=3), max_size=MOST_SOURCES + 8)
labels = st.builds(Label, names, names)


@given(labels, labels, labels)
def test_a_union_forgets_no_taint_in_any_order(one, two, three):
    whole = (one | two) | three
    assert whole.tainted == (one.tainted or two.tainted or three.tainted)
    assert bool(whole.private) == bool(one.private or two.private or three.private)
    assert len(whole.untrusted) <= max(MOST_SOURCES, len(one.untrusted))


small = st.frozensets(st.sampled_from("abcdef"))
few = st.builds(Label, small, small)


@given(few, few, few)
def test_a_union_is_the_same_in_any_grouping_and_order(one, two, three):
    assert (one | two) | three == one | (two | three)
    assert one | two == two | one
    assert one | one == one | CLEAN == CLEAN | one == one
    assert union([one, two, three]) == one | two | three
    assert union([]) == CLEAN


def test_beyond_the_most_sources_the_rest_is_still_counted():
    many = Label(frozenset(f"s{number:03}" for number in range(MOST_SOURCES)))
    whole = many | Label(frozenset({"zz"}))
    assert len(whole.untrusted) == MOST_SOURCES
    assert MORE in whole.untrusted
    assert whole | Label(frozenset({"yy"})) == whole


@given(labels)
def test_a_label_is_read_as_it_was_written(label):
    assert label_of({"label": label.as_json()}) == label
    assert Event(conversation_id="c", type="x", extra={"label": label.as_json()}).label == label


def test_only_what_is_there_is_written():
    assert CLEAN.as_json() == {}
    assert Label(private=frozenset({"b", "a"})).as_json() == {"private": ["a", "b"]}


def test_results_stored_before_labels_were_count_as_untrusted():
    assert label_of({}) == CLEAN
    assert label_of({"taint": False, "service": "web", "tool": "fetch"}) == CLEAN
    old = {"taint": True, "service": "mail", "tool": "read"}
    assert label_of(old) == Label(frozenset({"mail.read"}))
    assert label_of({**old, "class": "read_private"}) == Label(frozenset({"mail.read"}), frozenset({"mail"}))

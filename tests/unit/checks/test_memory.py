from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from overnight.checks import BatchMemory


def test_it_counts_the_other_inputs_with_a_value():
    memory = BatchMemory()
    assert [memory.enter({"text": t}, "label", "red") for t in "aab"] == [0, 0, 1]
    assert memory.enter({"text": "c"}, "label", "blue") == 0


def test_values_that_are_no_text_are_compared_too():
    memory = BatchMemory()
    memory.enter({"text": "a"}, "labels", ["red", 1])
    assert memory.enter({"text": "b"}, "labels", ["red", 1]) == 1


def test_an_input_is_the_same_whatever_the_order_of_its_columns():
    memory = BatchMemory()
    memory.enter({"a": 1, "b": 2}, "label", "red")
    assert memory.enter({"b": 2, "a": 1}, "label", "red") == 0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["red", "blue"])), max_size=20))
def test_one_current_value_an_input(entries):
    memory, current = BatchMemory(), {}
    for text, label in entries:
        memory.forget({"text": text})
        current[text] = label
        others = sum(value == label for other, value in current.items() if other != text)
        assert memory.enter({"text": text}, "label", label) == others


def test_threads_enter_every_input_once():
    memory = BatchMemory()
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda n: memory.enter({"n": n}, "label", "red"), range(500)))
    assert sorted(counts) == list(range(500))

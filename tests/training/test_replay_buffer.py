import tracemalloc
import warnings
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlottery.errors import StudyError
from rlottery.storage.transitions import Transitions, columns
from rlottery.training import replay_buffer as replay
from rlottery.training.replay_buffer import ReplayBuffer

Row = tuple[np.ndarray, np.ndarray, float, np.ndarray, bool]


def row(number: int) -> Row:
    """A transition that differs from all others in every field but the last."""
    return np.full(3, number), np.full(2, -number), number / 2, np.full(3, number + 1), number % 3 == 0


def filled(capacity: int, rows: int) -> ReplayBuffer:
    buffer = ReplayBuffer(capacity, observation_size=3, action_size=2)
    for number in range(rows):
        buffer.add(*row(number))
    return buffer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    filled(8, 11).save(tmp_path)
    return tmp_path


@given(capacity=st.integers(1, 12), rows=st.integers(0, 40))
def test_the_newest_are_kept_and_the_oldest_overwritten(capacity: int, rows: int) -> None:
    expected: deque[Row] = deque(maxlen=capacity)
    for number in range(rows):
        expected.append(row(number))
    buffer = filled(capacity, rows)
    stored = buffer.stored()
    assert buffer.size == len(expected) == len(stored.rewards)
    in_time = np.argsort(stored.rewards)
    for place, (observation, action, reward, following, termination) in zip(in_time, expected, strict=True):
        assert np.array_equal(stored.observations[place], observation)
        assert np.array_equal(stored.actions[place], action)
        assert stored.rewards[place] == reward
        assert np.array_equal(stored.next_observations[place], following)
        assert stored.terminations[place] == float(termination)


@pytest.mark.parametrize("field", [0, 1, 3])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 3)])
def test_a_transition_of_other_shapes_is_refused(field: int, shape: tuple[int, ...]) -> None:
    fields = list(row(5))
    fields[field] = np.zeros(shape)
    buffer = filled(4, 2)
    with pytest.raises(ValueError, match="a transition of shapes .* where observations have 3 entries and actions 2"):
        buffer.add(*fields)
    assert buffer.added == 2


def test_samples_are_whole_transitions_drawn_uniformly() -> None:
    drawn = columns(filled(10, 13).sample(np.random.default_rng(0), 20_000), 3, 2)
    numbers = drawn.observations[:, 0]
    assert np.array_equal(drawn.rewards, numbers / 2)
    assert np.array_equal(drawn.actions, -np.stack([numbers, numbers], 1))
    assert np.array_equal(drawn.next_observations[:, 2], numbers + 1)
    assert np.array_equal(drawn.terminations, numbers % 3 == 0)
    values, counts = np.unique(numbers, return_counts=True)
    assert values.tolist() == list(range(3, 13))
    assert stats.chisquare(counts).pvalue > 1e-3
    # With replacement, each draw apart from the one before.
    assert np.mean(numbers[1:] == numbers[:-1]) == pytest.approx(0.1, abs=0.01)


def test_nothing_is_drawn_from_rows_not_yet_written() -> None:
    drawn = filled(1_000, 2).sample(np.random.default_rng(0), 500)
    assert set(columns(drawn, 3, 2).rewards) == {0.0, 0.5}


def test_samples_follow_from_the_generator_and_are_copies() -> None:
    buffer = filled(5, 5)
    one, again = (buffer.sample(np.random.default_rng(3), 7) for _ in range(2))
    assert np.array_equal(one, again)
    one[:] = 99
    assert 99 not in buffer.stored().rewards


@pytest.mark.parametrize("rows", [5, 8, 11])
def test_what_was_saved_is_loaded_to_the_bit(tmp_path: Path, rows: int) -> None:
    buffer = filled(8, rows)
    buffer.save(tmp_path)
    loaded = replay.load_replay(tmp_path)
    for name, field in buffer.stored().fields.items():
        found = getattr(loaded, name)
        assert (found.dtype, found.shape, found.tobytes()) == (np.float32, field.shape, field.tobytes())
        assert np.array_equal(np.load(tmp_path / f"{name}.npy", allow_pickle=False), field)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.npy" for name in buffer.stored().fields}


def test_loaded_fields_are_memory_mapped_and_read_only(saved: Path) -> None:
    loaded = replay.load_replay(saved)
    for field in loaded.fields.values():
        assert isinstance(field, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            field[0] = 0
    drawn = replay.sample(loaded, np.random.default_rng(0), 4)
    assert not any(np.shares_memory(a, b) for a, b in zip(drawn.fields.values(), loaded.fields.values(), strict=True))
    again = columns(filled(8, 11).sample(np.random.default_rng(0), 4), 3, 2)
    assert all(np.array_equal(a, b) for a, b in zip(drawn.fields.values(), again.fields.values(), strict=True))


@pytest.mark.parametrize("field", Transitions._fields[:-1])
def test_a_missing_field_is_named(saved: Path, field: str) -> None:
    (saved / f"{field}.npy").unlink()
    with pytest.raises(StudyError, match=rf"{field}\.npy can't be read.*run the study again"):
        replay.load_replay(saved)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 no archive", b"text", b"\x80\x05N."])
def test_a_field_that_is_no_array_is_named(saved: Path, content: bytes) -> None:
    (saved / "rewards.npy").write_bytes(content)
    with pytest.raises(StudyError, match=r"rewards\.npy can't be read"):
        replay.load_replay(saved)


def test_an_archive_or_objects_in_place_of_an_array_are_refused(saved: Path) -> None:
    np.savez(saved / "archive.npz", rewards=np.zeros(8, np.float32))
    (saved / "archive.npz").replace(saved / "rewards.npy")
    with pytest.raises(StudyError, match=r"rewards\.npy can't be read"):
        replay.load_replay(saved)
    np.save(saved / "rewards.npy", np.array([None] * 8), allow_pickle=True)
    with pytest.raises(StudyError, match=r"rewards\.npy can't be read"):
        replay.load_replay(saved)


def test_a_cut_field_is_refused(saved: Path) -> None:
    path = saved / "observations.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StudyError, match=r"observations\.npy can't be read"):
        replay.load_replay(saved)


def test_any_damage_to_a_header_is_refused_or_harmless(saved: Path) -> None:
    path, rng = saved / "rewards.npy", np.random.default_rng(0)
    whole = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole) - 8 * 4)] = rng.integers(256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of headers that look old
            try:
                assert replay.load_replay(saved).rewards.shape == (8,)
            except StudyError as error:
                assert "run the study again" in str(error)


@pytest.mark.parametrize(
    ("field", "array"),
    [
        ("rewards", np.zeros(7, np.float32)),
        ("rewards", np.zeros((8, 1), np.float32)),
        ("rewards", np.zeros(8, np.float64)),
        ("terminations", np.zeros(8, bool)),
        ("actions", np.zeros(8, np.float32)),
        ("actions", np.float32(0)),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(saved: Path, field: str, array: np.ndarray) -> None:
    np.save(saved / f"{field}.npy", array)
    with pytest.raises(StudyError, match=r"(don't fit together|can't be read).*run the study again"):
        replay.load_replay(saved)


def test_next_observations_have_the_width_of_observations(saved: Path) -> None:
    np.save(saved / "next_observations.npy", np.zeros((8, 2), np.float32))
    with pytest.raises(StudyError, match="don't fit together"):
        replay.load_replay(saved)


def test_memory_is_that_of_the_transitions() -> None:
    capacity, held = 20_000, 4 * (2 * 10 + 4 + 2)
    tracemalloc.start()
    try:
        buffer = ReplayBuffer(capacity, observation_size=10, action_size=4)
        for _ in range(50):
            buffer.add(np.zeros(10), np.zeros(4), 0.0, np.zeros(10), False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held * capacity <= peak <= 1.05 * held * capacity

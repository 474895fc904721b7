"""Texts become vectors that do not depend on what else was asked for, and near meanings lie near."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.errors import InputError
from engine.text import CACHE_FILE, DIMENSIONS, embed_texts, nearest, prepare

PAIRS = [
    ("whole milk 1 litre", "全脂牛奶1升"),
    ("ground coffee", "咖啡粉"),
    ("laundry detergent", "洗衣液"),
    ("toothpaste", "牙膏"),
    ("dog food", "狗粮"),
    ("apple juice", "苹果汁"),
]


def test_vectors_have_length_one_and_empty_texts_are_zero(tmp_path: Path) -> None:
    vectors = embed_texts(["whole milk", "", " \u3000\t", "全脂牛奶"], tmp_path)
    assert vectors.shape == (4, DIMENSIONS)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 0, 1], abs=1e-5)


def test_chinese_and_english_names_of_a_thing_find_each_other(tmp_path: Path) -> None:
    english, chinese = zip(*PAIRS, strict=True)
    similarity = embed_texts(english, tmp_path) @ embed_texts(chinese, tmp_path).T
    assert similarity.argmax(axis=1).tolist() == list(range(len(PAIRS)))
    assert similarity.argmax(axis=0).tolist() == list(range(len(PAIRS)))


def test_the_same_text_gives_the_same_bytes_whatever_its_company_and_cache(tmp_path: Path) -> None:
    texts = [text for pair in PAIRS for text in pair]
    together = embed_texts(texts, tmp_path / "one")
    apart = np.concatenate([embed_texts([text], tmp_path / "two") for text in reversed(texts)])[::-1]
    assert together.tobytes() == apart.tobytes()
    assert embed_texts(texts, tmp_path / "one").tobytes() == together.tobytes()


def test_a_known_text_is_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = embed_texts(["dog food"], tmp_path)
    monkeypatch.setattr("engine.text._encode", lambda texts: pytest.fail(f"encoded {texts} again"))
    assert (embed_texts(["dog  food", "ｄｏｇ food"], tmp_path) == before).all()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", b"not an archive"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    before = embed_texts(["dog food"], tmp_path)
    (tmp_path / CACHE_FILE).write_bytes(damage)
    assert (embed_texts(["dog food"], tmp_path) == before).all()
    assert (tmp_path / CACHE_FILE).stat().st_size > DIMENSIONS * 4


def test_without_a_writable_cache_texts_are_embedded_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert embed_texts(["dog food"], tmp_path / "file" / "cache").any()


def _embed_some(cache: Path, start: int) -> None:
    embed_texts([f"article {i}" for i in range(start, start + 10)], cache)


def test_two_processes_keep_what_each_of_them_added(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_embed_some, args=(tmp_path, start)) for start in (0, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with np.load(tmp_path / CACHE_FILE, allow_pickle=False) as stored:
        assert len(stored["keys"]) == 15
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


@given(st.text())
def test_preparing_twice_is_preparing_once(text: str) -> None:
    assert prepare(prepare(text)) == prepare(text)


@settings(deadline=None, max_examples=30)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(-3, 3)),
    st.integers(1, 15),
)
def test_nearest_agrees_with_looking_at_every_pair(vectors: np.ndarray, k: int) -> None:
    rows, cosines = nearest(vectors, k)
    n = len(vectors)
    assert rows.shape == cosines.shape == (n, min(k, n - 1))
    for i in range(n):
        assert i not in rows[i]
        expected = sorted((-round(_cosine(vectors[i], vectors[j]), 4), j) for j in range(n) if j != i)
        assert cosines[i] == pytest.approx([-value for value, _ in expected[:k]], abs=2e-4)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 0 else -1.0


def test_nearest_refuses_what_it_cannot_answer() -> None:
    with pytest.raises(InputError, match="k of at least 1"):
        nearest(np.ones((3, 2)), 0)

import numpy as np
import pytest
from reference.lzf import compress

from pcsargmax.io.lzf import decompress_lzf


@pytest.mark.parametrize(
    ("packed", "data"),
    [
        (b"", b""),
        (b"\x02abc", b"abc"),
        (b"\x1f" + bytes(range(32)), bytes(range(32))),  # the longest run of literals
        (b"\x02abc\x20\x02", b"abcabc"),  # three bytes from three before
        (b"\x00a\x60\x00", b"a" * 6),  # a repetition of what it adds itself
        (b"\x01ab\xe0\x01\x01", b"ab" * 6),  # length 7 + 1 + 2
        (b"\x00a\xe0\xff\x00", b"a" * 265),  # the longest reference
    ],
)
def test_tokens_by_hand(packed, data):
    assert decompress_lzf(packed, len(data)) == data


@pytest.mark.parametrize("values", [2, 256])
def test_what_was_compressed_comes_back(values):
    rng = np.random.default_rng(values)
    repeated = np.tile(rng.integers(0, values, 3000, dtype=np.uint8), 4)  # references to 3000 bytes before, and more
    data = np.concatenate([repeated, rng.integers(0, values, 9000, dtype=np.uint8), repeated, np.zeros(999, np.uint8)])
    packed = compress(data.tobytes())
    assert len(packed) < 0.8 * len(data)
    assert decompress_lzf(packed, len(data)) == data.tobytes()


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"\x02ab", "end within a token, after 3 bytes"),
        (b"\x00a\x20", "end within a token, after 3 bytes"),
        (b"\x00a\xe0", "end within a token, after 3 bytes"),
        (b"\x00a\x20\x01", "a reference to 1 bytes before their start, at byte 4 of 4"),
        (b"\x02abc", "expected 9 bytes, got 3$"),
        (b"\x00a" + b"\xe0\xff\x00" * 9, "expected 9 bytes, got 265 or more"),
        (b"", "expected 9 bytes, got 0"),
    ],
)
def test_damaged_data_are_told(packed, message):
    with pytest.raises(ValueError, match=message):
        decompress_lzf(packed, 9)


def test_no_damage_is_another_error():
    rng = np.random.default_rng(0)
    packed = np.frombuffer(compress(np.arange(0, 90, 0.25).tobytes()), np.uint8)
    told = 0
    for _ in range(300):
        damaged = packed.copy()
        damaged[rng.integers(len(packed), size=3)] = rng.integers(0, 256, 3)
        try:
            assert len(decompress_lzf(damaged.tobytes(), 2880)) == 2880
        except ValueError:
            told += 1
    assert told > 100

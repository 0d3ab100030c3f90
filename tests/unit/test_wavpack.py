"""Damaged WavPack files."""

import io

import pytest

from nightscribe.shared.audio import wavpack


@pytest.mark.parametrize("n_bytes", [0, 23, 2**28, 2**32 - 1])
def test_a_block_of_an_impossible_size_ends_the_search(n_bytes: int) -> None:
    """A read of that size would take as much memory, and a negative one the whole file."""

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 <= size <= 2**20
            return super().read(size)

    header = b"wvpk" + n_bytes.to_bytes(4, "little") + bytes(24)
    assert wavpack.n_streams(Watched(header + bytes(4096))) == 0

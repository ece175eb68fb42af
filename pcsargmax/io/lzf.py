"""Decompression of LZF, the format of Marc Lehmann's LibLZF, which PCD files use."""


def decompress_lzf(packed: bytes, size: int) -> bytes:
    """Decompress LZF data of a known size.

    Args:
        packed: a sequence of tokens, each a run of literal bytes or a reference to bytes before it.
        size: bytes of the result.

    Raises:
        ValueError: the data are damaged: cut off, a reference to before their start, or of another size.
    """
    unpacked, at, end = bytearray(), 0, len(packed)
    try:
        while at < end and len(unpacked) <= size:
            control = packed[at]
            at += 1
            if control < 32:  # so many literal bytes, and one
                unpacked += packed[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += packed[at]
                at += 1
            length += 2
            distance = ((control & 31) << 8) + packed[at] + 1
            at += 1
            start = len(unpacked) - distance
            if start < 0:
                raise ValueError(f"a reference to {-start} bytes before their start, at byte {at} of {end}")
            if distance < length:  # the bytes that it adds are among those that it repeats
                unpacked += (unpacked[start:] * (length // distance + 1))[:length]
            else:
                unpacked += unpacked[start : start + length]
    except IndexError:
        at = end + 1
    if at > end:
        raise ValueError(f"they end within a token, after {end} bytes")
    if len(unpacked) != size:
        more = " or more" if len(unpacked) > size else ""
        raise ValueError(f"expected {size} bytes, got {len(unpacked)}{more}")
    return bytes(unpacked)

"""A small compressor of LZF, the other side of `pcsargmax.io.lzf`."""


def compress(data: bytes) -> bytes:
    """Literals, and references to the last place where the next three bytes stood."""
    packed, literals, seen, at = bytearray(), bytearray(), {}, 0

    def flush():
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            packed.extend([len(run) - 1, *run])
        literals.clear()

    while at < len(data):
        key = data[at : at + 3]
        before, seen[key] = seen.get(key), at
        if len(key) < 3 or before is None or at - before > 8192:
            literals.append(data[at])
            at += 1
            continue
        length = 3
        while length < 264 and at + length < len(data) and data[before + length] == data[at + length]:
            length += 1
        flush()
        back, told = at - before - 1, length - 2
        packed.extend([min(told, 7) << 5 | back >> 8, *([told - 7] if told >= 7 else []), back & 255])
        at += length
    flush()
    return bytes(packed)

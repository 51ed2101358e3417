"""Damage files as disks, transfers and editors do, by a seed: the same seed damages the same bytes."""

import random


def mutated(data, seed) -> bytes:
    """Change, cut, blank or swap some of the bytes; never gives them back as they were."""
    draw = random.Random(seed)
    while True:
        found = draw.choice(KINDS)(bytearray(data), draw)
        if found != data:
            return bytes(found)


def flip_a_bit(data, draw):
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def set_a_byte(data, draw):
    data[draw.randrange(len(data))] = draw.choice((0, 9, 10, 32, 34, 44, 123, 127, 128, 255, draw.randrange(256)))
    return data


def cut(data, draw):
    return data[: draw.randrange(len(data))]


def blank_a_block(data, draw):
    size, start = draw.choice((2, 8, 64, 512)), draw.randrange(len(data))
    block = data[start : start + size]
    data[start : start + size] = bytes(len(block))
    return data


def swap_two_blocks(data, draw):
    size = min(draw.choice((1, 4, 16, 64)), len(data) // 2)
    first = draw.randrange(len(data) - 2 * size + 1)
    second = draw.randrange(first + size, len(data) - size + 1)
    data[first : first + size], data[second : second + size] = data[second : second + size], data[first : first + size]
    return data


def repeat_a_block(data, draw):
    size, start = draw.choice((1, 8, 64)), draw.randrange(len(data))
    return data[: start + size] + data[start : start + size] + data[start + size :]


KINDS = (flip_a_bit, flip_a_bit, set_a_byte, cut, blank_a_block, swap_two_blocks, repeat_a_block)

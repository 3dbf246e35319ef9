"""Seeded mutations of valid files: of their bytes, and of the values in them."""

import copy
import json

#: What takes a value's place, or stands around it.
VALUES = [
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    float('nan'),
    float('inf'),
    '',
    'x' * 50,
    '\ud800',
    '\u202e',
    '../../etc/passwd',
] + ['/etc/passwd', 'a\0b', '{reading}', '{0.x}', [], {}, [[]], [1, 2], {'a': 1}]
PIECES = [
    b'{',
    b'[',
    b']',
    b'\0',
    b'\xff',
    b'"',
    b'!!python/object/apply:os.system [x] ',
    b'&a *a',
    b'\xe2\x80\xae',
    b'NaN',
]
PIECES += [b'1e999', b'-', b'9' * 30, b'{"id": 1, "id": 2}', b'[' * 5000]


def mutate_bytes(draw, content):
    """One to three of: a byte changed, the end cut off, some bytes left out, a piece put in."""
    content = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        kind, place = draw.randrange(4), draw.randrange(len(content) + 1)
        if kind == 0 and place < len(content):
            content[place] = draw.randrange(256)
        elif kind == 1 and draw.random() < 0.3:
            del content[place:]
        elif kind == 2:
            del content[place : place + draw.randint(1, 20)]
        else:
            content[place:place] = draw.choice(PIECES)
    return bytes(content)


def mutate_value(draw, content):
    """One or two of: a key or item deleted, renamed, given another value, or buried in lists and mappings."""
    content = json.loads(json.dumps(content))
    for _ in range(draw.randint(1, 2)):
        places = list(_places(content))
        if not places:
            break
        owner, key = draw.choice(places)
        kind = draw.randrange(4)
        if kind == 0:
            del owner[key]
        elif kind == 1 and isinstance(owner, dict):
            owner[draw.choice(['x', '1', '', '\ud800'])] = owner.pop(key)
        elif kind == 2:
            for _ in range(draw.choice([1, 2, 60])):
                owner[key] = [owner[key]] if draw.random() < 0.5 else {'a': owner[key]}
        else:
            owner[key] = copy.deepcopy(draw.choice(VALUES))
    return content


def mutated(draw, content):
    """The bytes of a mutated JSON file with this content."""
    if draw.random() < 0.5:
        return mutate_bytes(draw, json.dumps(content).encode())
    return json.dumps(mutate_value(draw, content)).encode()


def _places(value):
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])

"""Writes docs/api.md, the page of what o2f exports, from its docstrings: python docs/make_api.py.

Nothing is listed here: what ``o2f.__all__`` names is on the page, in the order in which the package's docstring speaks
of it, and then, as what is exchanged between them, each class and function of o2f that their docstrings, signatures or
bases name.
"""

import re
from pathlib import Path
from typing import Dict, Iterator, List, Union

import griffe

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'api.md'
COMMAND = 'python docs/make_api.py'

Documented = Union[griffe.Class, griffe.Function]
_ROLE = re.compile(r':\w+:`([\w.]+)`')
_TITLES = {'parameters': 'Args', 'attributes': 'Attributes', 'returns': 'Returns', 'raises': 'Raises'}


def page() -> str:
    """The page, as Markdown."""
    # One item of Returns may hold colons and line breaks, and names such as *args stand together: no warning is due.
    options = dict(returns_multiple_items=False, returns_named_value=False, warnings=False)
    package = griffe.load(
        'o2f', search_paths=[ROOT], try_relative_path=False, docstring_parser='google', docstring_options=options
    )
    exported, helpers = _exported(package), {}
    waiting = list(exported.values())
    while waiting:
        for path in _named_by(waiting.pop(0), package):
            found = package[path.removeprefix('o2f.')]
            if path not in helpers and found not in exported.values():
                helpers[path] = found
                waiting.append(found)
    known = dict(exported)  # by the heading: the name, or where that is taken, with the module's
    for path, found in helpers.items():
        known[path.removeprefix('o2f.') if found.name in known else found.name] = found
    sections = ['\n\n'.join(_section(title, known)) for title in known]
    parts = [
        '# API of o2f',
        f'<!-- Written by `{COMMAND}` from the docstrings; edit those. -->',
        _markdown(_text(package), known),
        *sections[: len(exported)],
        '## What they exchange',
        'Not exported; they stand here because the above takes, returns or extends them.',
        *sections[len(exported) :],
    ]
    return '\n\n'.join(parts) + '\n'


def _exported(package: griffe.Module) -> Dict[str, Documented]:
    """What the package exports by name: first what its docstring speaks of, in that order."""
    text = package.docstring.value
    names = [str(name) for name in package.exports]
    names.sort(key=lambda name: text.find(f'``{name}``') if f'``{name}``' in text else len(text))
    return {name: _final(package[name]) for name in names}


def _final(found: Union[griffe.Object, griffe.Alias]) -> Documented:
    return found.final_target if found.is_alias else found


def _named_by(found: Documented, package: griffe.Module) -> Iterator[str]:
    """Paths of the classes and functions of o2f that an object on the page names."""
    for each in [found, *_members(found)]:
        expressions = [parameter.annotation for parameter in getattr(each, 'parameters', ())]
        expressions += [*getattr(each, 'bases', ()), getattr(each, 'returns', None)]
        paths = [
            part.canonical_path
            for expression in expressions
            if isinstance(expression, griffe.Expr)
            for part in expression.iterate(flat=True)
            if isinstance(part, griffe.ExprName)
        ]
        paths += [_resolved(each, name) for name in _ROLE.findall(each.docstring.value if each.docstring else '')]
        for path in paths:
            if path.startswith('o2f.') and path.count('.') >= 2:
                target = _final(package[path.removeprefix('o2f.')])
                if target.path.startswith('o2f.') and (target.is_class or target.is_function):
                    yield target.path


def _resolved(found: Documented, name: str) -> str:
    """The path of what a docstring names, a method's being its class's."""
    try:
        path = name if name.startswith('o2f.') else found.module.resolve(name.split('.')[0])
    except griffe.NameResolutionError:  # a method of the same class, or a library's
        return ''
    parts = path.split('.')
    of_class = next((i for i, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
    return '.'.join(parts[: of_class + 1])


def _members(found: Documented) -> List[Documented]:
    """The public methods and properties of a class that are documented; calling an object is one of them."""
    members = found.members.values() if found.is_class else ()
    public = [each for each in members if not each.name.startswith('_') or each.name == '__call__']
    return [each for each in public if each.docstring and (each.is_function or 'property' in each.labels)]


def _section(title: str, known: Dict[str, Documented]) -> Iterator[str]:
    """The parts of the page about a class or function."""
    found = known[title]
    yield f'## `{title}`'
    source = found.module.filepath.relative_to(ROOT).as_posix()
    about = _text(found.module).split('\n\n')[0].replace('\n', ' ')
    facts = [f'[{source}](../{source}): {_markdown(about, known)}']
    decorators = [str(each.value).split('.') for each in getattr(found, 'decorators', ())]
    facts += [f'Registered in `{each[0]}`.' for each in decorators if each[1:] == ['register_module()']]
    if found.is_class and found.bases:
        facts.append(f'Extends {", ".join(_base(base, known, found) for base in found.bases)}.')
    yield ' '.join(facts)
    if found.is_function or found.is_class and found.parameters:
        yield _signature(found, found.name)
    yield from _body(found, known)
    for each in _members(found):
        yield f'### `{title}.{each.name}`'
        if each.is_function:
            yield _signature(each, f'{found.name}.{each.name}')
        yield from _body(each, known)


def _base(base: Union[str, griffe.Expr], known: Dict[str, Documented], found: Documented) -> str:
    path = str(getattr(base, 'canonical_path', base))
    name = path.split('.')[-1]
    return _link(name, known, found) if path.startswith('o2f.') else f'`{path}`'


def _signature(found: Documented, name: str) -> str:
    """A call of it with the defaults, in one line if that is short enough; types stand with the arguments."""
    stars = {'variadic positional': '*', 'variadic keyword': '**'}
    arguments = []
    for each in found.parameters:
        if each.name != 'self':
            star = stars.get(each.kind.value, '') if each.kind else ''
            arguments.append(star + each.name + ('' if star or each.default is None else f'={each.default}'))
    line = f'{name}({", ".join(arguments)})'
    if len(line) > 100:
        line = '\n'.join([f'{name}(', *(f'    {argument},' for argument in arguments), ')'])
    return f'```python\n{line}\n```'


def _body(found: Documented, known: Dict[str, Documented]) -> Iterator[str]:
    """The docstring's paragraphs, and its sections as lists."""
    for section in found.docstring.parsed if found.docstring else ():
        kind = section.kind.value
        if kind == 'text':
            yield _markdown(section.value, known, found)
        elif kind in _TITLES:
            items = (_item(each, known, found) for each in section.value)
            yield f'{_TITLES[kind]}:\n\n' + '\n'.join(items)
        elif kind == 'examples':
            yield from (_markdown(text, known, found) for _, text in section.value)


def _item(each: griffe.DocstringElement, known: Dict[str, Documented], found: Documented) -> str:
    name = getattr(each, 'name', '')
    # A class's docstring says the types of its arguments; where a line is about several of them it says none.
    type_ = '' if each.annotation is None else _link(str(each.annotation), known, found)
    head = ' '.join(part for part in (f'`{name}`' if name else '', f'({type_})' if name and type_ else type_) if part)
    text = _markdown(' '.join(each.description.split()), known, found)
    return f'- {head}: {text}' if head else f'- {text}'


def _text(found: Union[griffe.Module, Documented]) -> str:
    return found.docstring.value if found.docstring else ''


def _markdown(text: str, known: Dict[str, Documented], found: Union[Documented, None] = None) -> str:
    """Markdown of a docstring's reStructuredText: its tables, code, and references to what is on the page."""
    text = re.sub(r'^=+(?: +=+)+\n(?:.*\n)*?=+(?: +=+)+\n(?:.*\n)*?=+(?: +=+)+$', _table, text, flags=re.MULTILINE)
    text = _ROLE.sub(lambda match: _reference(match[1], known, found), text)
    # A product such as B*N is no emphasis.
    text = re.sub(
        r'``([^`]+)``|(?<=\w)\*(?=\w)', lambda match: _link(match[1], known, found) if match[1] else r'\*', text
    )
    return re.sub(r'^>>> .+(?:\n.+)*', lambda match: f'```python\n{match[0]}\n```', text, flags=re.MULTILINE)


def _table(match: re.Match) -> str:
    """A simple table of reStructuredText, whose columns are as wide as the signs of equality above them."""
    rule, *lines = match[0].splitlines()
    columns = [slice(*each.span()) for each in re.finditer('=+', rule)]
    columns[-1] = slice(columns[-1].start, None)
    rows = [[line[column].strip() for column in columns] for line in lines if not line.startswith('==')]
    rows.insert(1, ['---'] * len(columns))
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _reference(name: str, known: Dict[str, Documented], found: Union[Documented, None]) -> str:
    """What a role names: a class, function or method, perhaps with its module, or a method of the class at hand."""
    parts = name.split('.')
    owner = found.parent if found and found.is_function and found.parent.is_class else found
    if owner and name in [each.name for each in _members(owner)]:
        parts = [owner.name, name]
    while len(parts) > 1 and not _titles(parts[0], known, found):
        parts.pop(0)
    return _link('.'.join(parts), known, found)


def _link(name: str, known: Dict[str, Documented], found: Union[Documented, None]) -> str:
    """Code, which leads to its section if it has one."""
    owner, _, member = name.partition('.')
    for title in _titles(owner, known, found):
        if not member or member in [each.name for each in _members(known[title])]:
            return f'[`{name}`](#{(title + member).lower().replace(".", "")})'
    return f'`{name}`'


def _titles(name: str, known: Dict[str, Documented], found: Union[Documented, None]) -> List[str]:
    """The headings of what has this name, first that of what ``found`` means by it."""
    meant = _resolved(found, name) if found else ''
    titles = [title for title, each in known.items() if each.name == name]
    return sorted(titles, key=lambda title: known[title].path != meant)


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')

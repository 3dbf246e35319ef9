"""Reads YAML and JSON files into pydantic models. Every error message is one line.

A model derives from :class:`Model`, or from :class:`Stored` if its file may have other keys.
"""

import difflib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Dict, Iterator, List, Optional, Tuple, Type, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError, model_validator

from experiments.store.errors import UserError

Texts = Tuple[StrictStr, ...]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Metrics = Dict[StrictStr, Optional[Number]]


class Model(BaseModel):
    """A part of a file. It is immutable. An unknown key is an error that suggests similar keys."""

    model_config = ConfigDict(frozen=True, extra='forbid')

    @model_validator(mode='before')
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        if isinstance(content, dict) and cls.model_config.get('extra') == 'forbid':
            known = sorted(field.alias or name for name, field in cls.model_fields.items())
            for key in content:
                if not isinstance(key, str):
                    raise ValueError(f'key {short(key)} must be text')
                if key not in known and key not in cls.model_fields:
                    near = difflib.get_close_matches(key, known, 3, 0.5)
                    hint = f'did you mean {" or ".join(near)}? ' if near else ''
                    raise ValueError(f'unknown key {short(key)}; {hint}known keys: {", ".join(known)}')
        return content


class Stored(Model):
    """A part of a stored file. Unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra='ignore')


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) else value


#: Text. A plain number, true or false is accepted too, because YAML reads unquoted text so.
Text = Annotated[StrictStr, BeforeValidator(_text)]


M = TypeVar('M', bound=BaseModel)


def parse(model: Type[M], content: Any) -> M:
    """``content`` as a model.

    Raises:
        ValueError: it does not fit the model; the message is one line that names the key.
    """
    schema = model.model_fields.get('schema_')
    if schema is not None and isinstance(content, dict) and 'schema' in content:
        (expected,) = get_args(schema.annotation)
        if content['schema'] != expected:  # checked first: another schema may lack the other keys
            raise ValueError(f'schema is {short(content["schema"])}, but {expected} belongs here')
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ValueError(explain(error)) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn a ValueError about the content of a user's file into an error that names the file.

    Raises:
        UserError: a ValueError was raised, pydantic's included. The message is one line with the file and the key.
    """
    try:
        yield
    except ValueError as error:
        what = explain(error) if isinstance(error, ValidationError) else str(error)
        raise UserError(' '.join(f'{path}: {what}'.split())[:600]) from error


def read_stored(model: Type[M], path: Path) -> M:
    """A stored JSON file as a model.

    Raises:
        ValueError: it cannot be read or does not fit the model; the message is one line and does not name the file.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ValueError(f'cannot be read ({error.strerror})') from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f'is not JSON ({error})') from error
    return parse(model, content)


#: Pydantic's error types and our messages for them; {what} is the value.
_SAID = {
    'string_type': 'must be text, not {what}',
    'string_unicode': 'must be text, not {what}',
    'string_sub_type': 'must be text, not {what}',
    'tuple_type': 'must be a list, not {what}',
    'list_type': 'must be a list, not {what}',
    'dict_type': 'must be a mapping, not {what}',
    'model_type': 'must be a mapping, not {what}',
    'model_attributes_type': 'must be a mapping, not {what}',
    'bool_type': 'must be true or false, not {what}',
    'int_type': 'must be a whole number, not {what}',
    'int_parsing': 'must be a whole number, not {what}',
    'float_type': 'must be a number, not {what}',
    'finite_number': 'must be a finite number, not {what}',
    'greater_than_equal': 'must be {ge} or more, not {what}',
    'greater_than': 'must be more than {gt}, not {what}',
    'less_than_equal': 'must be {le} or less, not {what}',
}


def explain(error: ValidationError) -> str:
    """The first error of a model in one line: the key, what is wrong, and what is expected."""
    first = error.errors(include_url=False)[0]
    kind, where, context = first['type'], list(first['loc']), first.get('ctx', {})
    if where and where[-1] == '[key]':
        return _line(where[:-2], f'key {short(where[-2])} must be text')
    if kind == 'missing':
        return _line(where[:-1], f'key {where[-1]!r} is missing')
    if kind == 'value_error':
        return _line(where, str(context['error']))
    if kind == 'literal_error':
        return _line(where, f'{short(first["input"])} must be {context["expected"]}')
    if kind == 'too_short' and context['min_length'] == 1:
        what = 'mapping' if isinstance(first['input'], dict) else 'list'
        return _line(where, f'must be a {what} with something in it')
    said = _SAID.get(kind, f'{first["msg"]} (not {{what}})')
    return _line(where, said.format(what=short(first['input']), **context))


def _line(where: List[Any], what: str) -> str:
    path = ''.join(f'[{part}]' if isinstance(part, int) else f'.{called(str(part))}' for part in where).lstrip('.')
    line = ' '.join(f'{path or "the file"}: {what}'.split())
    return line if len(line) < 500 else f'{line[:500]}...'


def called(key: str) -> str:
    """A key from a file as messages show it: on one line, and shortened."""
    return key if key.isprintable() and len(key) <= 50 else short(key)


def short(value: Any) -> str:
    """``value`` as messages show it."""
    return f'{value!r:.50}'

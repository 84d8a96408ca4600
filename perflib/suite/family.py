"""Families of classes that one key selects: Load by `model`, Target and Operation by `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from perflib.errors import SuiteError

ALIASES = {
    "from_per_s": "from",
    "to_per_s": "to",
    "with_scenarios": "with",
}  # Python names of the keys whose TOML names are Python keywords

OTHER = "other"  # the tag of a kind that does not come with perflib


def keys_of(cls: type) -> list[str]:
    """The keys of a class in a suite file: all its fields, except those that a file cannot set."""
    hidden = getattr(cls, "HIDDEN", ())
    return [ALIASES.get(field.name, field.name) for field in fields(cls) if field.name not in hidden]


def fields_of(cls: type) -> set[str]:
    """All names of the keys of the class, in TOML and in Python."""
    return {*keys_of(cls), *(field.name for field in fields(cls))}


class Family:
    """The base class of a family. Load(model="closed", …) creates a ClosedLoad; a field of type Load accepts any load.

    TAG      the key that selects the member
    MEMBERS  class by tag; `class ClosedLoad(Load, tag="closed")` adds itself
    NOUN     name of a member in messages; "{!r}" stands for its tag
    PLAIN    the same in messages that go on with the keys of the member
    HIDDEN   fields that are not keys of a suite file
    """

    TAG: ClassVar[str]
    MEMBERS: ClassVar[dict[str, type[Any]]]
    NOUN: ClassVar[str]
    PLAIN: ClassVar[str]
    HIDDEN: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, tag: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if Family in cls.__bases__:
            cls.MEMBERS = {}
        else:
            cls.MEMBERS[tag] = cls

    def __new__(cls, *args: Any, **keys: Any) -> Self:
        if not cls.is_base():
            return object.__new__(cls)
        tag = cls.tag_of(keys)
        if tag not in cls.MEMBERS:
            raise cls.wrong_tag(tag, where=cls.__name__)
        member: Self = object.__new__(cls.MEMBERS[tag])
        return member

    @classmethod
    def is_base(cls) -> bool:
        """Whether this is the base of a family rather than one of its members."""
        return "MEMBERS" in vars(cls)

    @classmethod
    def tag_of(cls, value: Any) -> str | None:
        """The tag of a table or of a member; None if it has none."""
        if isinstance(value, Mapping):
            tag = value.get(cls.TAG)
            return None if tag is None else str(tag)
        return next((tag for tag, member in cls.MEMBERS.items() if isinstance(value, member)), None)

    @classmethod
    def called(cls, tag: str, noun: str) -> str:
        """`noun`, one of NOUN and PLAIN, with its tag filled in."""
        return noun.replace("kind {!r}", "a kind of your own") if tag == OTHER else noun.format(tag)

    @classmethod
    def wrong_tag(cls, tag: str | None, *, where: str) -> SuiteError:
        """The error for a table whose tag is missing or unknown."""
        known = ", ".join(repr(tag) for tag in cls.MEMBERS if tag not in (OTHER, ""))
        known += ", or an installed kind" if OTHER in cls.MEMBERS else ""
        if tag is None:
            return SuiteError(f"{cls.TAG!r} is missing", where=where, mend=f"add {cls.TAG} = …, one of {known}")
        return SuiteError(f"must be {known}", where=f"{where}.{cls.TAG}", mend=f"found {tag!r}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls.is_base():
            return handler(source)
        choices = {tag: handler.generate_schema(member) for tag, member in cls.MEMBERS.items()}
        return core_schema.tagged_union_schema(choices, discriminator=cls.tag_of)

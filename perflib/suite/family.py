"""Families of classes told apart by one key: Load by `model`, Target and Operation by `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from perflib.errors import SuiteError

ALIASES = {"from_per_s": "from", "to_per_s": "to"}  # Python's names of keys whose TOML names are words of Python

OTHER = "other"  # the tag of a kind that does not come with perflib


def keys_of(cls: type) -> list[str]:
    """The keys of a class as a suite file has them: all its fields but those that a file does not set."""
    hidden = getattr(cls, "HIDDEN", ())
    fields: Mapping[str, Any] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    return [ALIASES.get(name, name) for name in fields if name not in hidden]


def fields_of(cls: type) -> set[str]:
    """Every name that a key of the class may have, TOML's and Python's."""
    return {*keys_of(cls), *cls.__dataclass_fields__}  # type: ignore[attr-defined]


class Family:
    """The base of such classes. Load(model="closed", …) makes a ClosedLoad, and a field of type Load takes any load.

    TAG      the key that tells the members apart
    MEMBERS  class by tag, as `class ClosedLoad(Load, tag="closed")` enters itself
    NOUN     what messages call a member, "{!r}" standing for its tag
    PLAIN    the same, where the keys follow that it takes
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
        made: Self = object.__new__(cls.MEMBERS[tag])
        return made

    @classmethod
    def is_base(cls) -> bool:
        """Whether this is the base of a family rather than one of its members."""
        return "MEMBERS" in vars(cls)

    @classmethod
    def tag_of(cls, value: Any) -> str | None:
        """The tag of a table or of a member; None where there is none."""
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
        """What to say of a table whose tag is missing or unknown."""
        known = ", ".join(repr(tag) for tag in cls.MEMBERS if tag not in (OTHER, ""))
        known += ", or a kind that is installed" if OTHER in cls.MEMBERS else ""
        if tag is None:
            return SuiteError(f"{cls.TAG!r} is missing", where=where, mend=f"add {cls.TAG} = …, one of {known}")
        return SuiteError(f"must be {known}", where=f"{where}.{cls.TAG}", mend=f"found {tag!r}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls.is_base():
            return handler(source)
        choices = {tag: handler.generate_schema(member) for tag, member in cls.MEMBERS.items()}
        return core_schema.tagged_union_schema(choices, discriminator=cls.tag_of)

"""Records: the JSON files that one stage leaves and another reads; each kind of file is a schema.

A record is written whole or not at all, says what it is and its version, and refuses what is damaged, what another
program wrote, and what does not keep to the bounds of its schema: files may come from strangers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from mrsynth.core.errors import InputError, MrsynthError
from mrsynth.core.files import json_text, why_unsafe, write_text
from mrsynth.core.text import shortened

KEY = "mrsynth"
"""The first key of a record on disk: {"mrsynth": {"record": "run", "version": 1}, …}."""


MAX_OBJECT_BYTES = 1 << 28
"""A larger file of JSON is refused unread: many times what a cohort of 10 000 cases needs."""


def _of_a_neighbour(name: str) -> str:
    if reason := why_unsafe(name):
        raise ValueError(f"expected the name of a file beside it, found {reason}")
    return name


def _rising(values: tuple[float, float]) -> tuple[float, float]:
    if not values[0] < values[1]:
        raise ValueError("expected low < high")
    return values


FileName = Annotated[str, AfterValidator(_of_a_neighbour)]
"""The name of a file beside the record's own."""

Limits = Annotated[tuple[float, float], AfterValidator(_rising)]
"""The lowest and the highest value of a scale."""


class Part(BaseModel):
    """A part of a record: frozen, unknown keys refused, numbers finite unless a field says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Record(Part):
    """A file of JSON between two stages. A kind of record is a subclass that sets the class variables below.

    Attributes:
        RECORD: what the file is, in a word or two; it stands in the file ("run", "predictions").
        VERSION: raised whenever an older reader would misunderstand the file.
        SAME_SINCE: the earliest version whose content reads as it stands; 0 for files from before records had one.
        DO: what you do about a file that cannot be used, for the message.
        ERROR: the kind of error that such a file raises.
        MAX_BYTES: a larger file is refused unread.
    """

    RECORD: ClassVar[str]
    VERSION: ClassVar[int] = 1
    SAME_SINCE: ClassVar[int | None] = None
    DO: ClassVar[str]
    ERROR: ClassVar[type[MrsynthError]] = InputError
    MAX_BYTES: ClassVar[int] = MAX_OBJECT_BYTES

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Args:
            path: the file.

        Returns:
            The record, checked against its schema.

        Raises:
            MrsynthError: of the kind `ERROR`, where the file is missing, damaged, too large, another kind of record, of
                a later version, or of an earlier one that `upgraded` does not know.
        """
        return cls.from_content(read_object(path, cls.ERROR, cls.DO, cls.MAX_BYTES), path)

    @classmethod
    def from_content(cls, content: dict[str, Any], path: Path) -> Self:
        """Return the record that the content of a file holds.

        Args:
            content: the parsed JSON.
            path: the file, for the message.

        Raises:
            MrsynthError: as `read` does.
        """
        head = content.pop(KEY, None)
        if isinstance(head, str):  # before records had versions, the program's stood there
            head = None
        if head is not None and not (isinstance(head, dict) and isinstance(head.get("version"), int)):
            raise cls._refused(path, f"{KEY}: {head}")
        if head is not None and head.get("record") != cls.RECORD:
            raise cls._refused(path, f"a record of another kind ({head.get('record')})")
        version = head["version"] if head is not None else 0
        if version > cls.VERSION:
            raise cls.ERROR(
                f"{path} was written by a later version of mrsynth.",
                found=f"version {version} of the record",
                expected=f"at most {cls.VERSION}",
                do="update mrsynth",
            )
        if version < (cls.VERSION if cls.SAME_SINCE is None else cls.SAME_SINCE):
            upgraded = cls.upgraded(content, version)
            if upgraded is None:
                raise cls.ERROR(
                    f"{path} was written by an earlier version of mrsynth, which this one cannot read.",
                    found=f"version {version} of the record",
                    expected=f"version {cls.VERSION}",
                    do=cls.DO,
                )
            content = upgraded
        try:
            return cls.model_validate(content)
        except (ValidationError, RecursionError) as error:
            raise cls._refused(path, _first(error)) from None

    def write(self, path: Path) -> None:
        """Write the record, whole or not at all; raises OutputError."""
        write_text(path, self.text())

    def text(self) -> str:
        """Return the record as it stands in its file."""
        return json_text(self.content())

    def content(self) -> dict[str, Any]:
        """Return the record as the object that stands in its file."""
        return {KEY: {"record": self.RECORD, "version": self.VERSION}, **self.model_dump(mode="json")}

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any] | None:
        """Return what a record of an earlier version says in the words of this one.

        Args:
            content: the parsed JSON.
            version: of the record; 0 for files from before records had one.

        Returns:
            The content, None where it cannot be known.
        """
        return None

    @classmethod
    def _refused(cls, path: Path, found: str) -> MrsynthError:
        return cls.ERROR(f"{path} is not a {cls.RECORD} that mrsynth wrote.", found=found, do=cls.DO)


def read_object(path: Path, error: type[MrsynthError], do: str, max_bytes: int) -> dict[str, Any]:
    """Read a file that holds one JSON object, whoever wrote it.

    Args:
        path: the file.
        error: the kind of error to raise.
        do: what the reader of the message can do about it.
        max_bytes: a larger file is refused before it is read.

    Returns:
        The object.

    Raises:
        MrsynthError: of the kind `error`, where the file is missing, too large, no JSON, nested too deeply or no
            object.
    """
    try:
        if not path.is_file():
            raise error(f"{path} is missing.", do=do)
        if (size := path.stat().st_size) > max_bytes:
            raise error(f"{path} is too large.", found=f"{size} bytes", expected=f"at most {max_bytes}", do=do)
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise error(f"{path} cannot be read.", found="JSON that is nested too deeply", do=do) from None
    except (OSError, ValueError) as problem:
        raise error(f"{path} cannot be read.", found=str(problem), do=do) from None
    if not isinstance(content, dict):
        raise error(f"{path} holds no JSON object.", found=type(content).__name__, do=do)
    return content


def _first(error: ValidationError | RecursionError) -> str:
    """Return the first thing that is wrong with a record, in a line."""
    if isinstance(error, RecursionError):
        return "JSON that is nested too deeply"
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'the record'}: {first['msg']}, {shortened(repr(first.get('input')), 80)}"

"""The errors of gossipreg: one tree of classes; each error is one sentence that names the thing and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from gossipreg.text import shown


class GossipregError(Exception):
    """Something a user can mend; ``str(error)`` is one line that says what and how.

    Programs tell errors apart by their class or their ``code``, never by the sentence. ``field`` is the field that
    cannot be used, if it is about one; ``value`` is what was given and ``expected`` what would be allowed, where known
    and no secret.
    """

    code: str = "error"  # the class's name in snake case
    field: str | None = None
    value: object = None
    expected: str | None = None

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


class FieldError(GossipregError):
    """A field that cannot be used: its path, as in ``checks[0].interval``, and what is wrong with it.

    ``field``: None where no single one is to blame. ``problem``: the rest of the sentence after ``FIELD: ``.
    """

    def __init__(self, field: str | None, problem: str, *, value: object = None, expected: str | None = None) -> None:
        super().__init__(problem if field is None else f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.value = value
        self.expected = expected

    @classmethod
    def unusable(cls, field: str, value: object, expected: str) -> Self:
        """An error which says that ``value`` is not ``expected``, such as ``a whole number from 1 to 65535``."""
        return cls(field, f"{shown(value)} is not {expected}", value=value, expected=expected)

    def within(self, place: str) -> Self:
        """The same error in a larger document, of which ``place`` has the field."""
        inner = self.field
        field = place if inner is None else f"{place}{inner}" if inner.startswith("[") else f"{place}.{inner}"
        return type(self)(field, self.problem, value=self.value, expected=self.expected)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Put ``place``, as in ``[3]``, before the field that an error names, or before its sentence if it names none.

    An empty place changes nothing. For errors that are made of a sentence alone, or are `FieldError`.
    """
    try:
        yield
    except GossipregError as error:
        if not place:
            raise
        named = error.within(place) if isinstance(error, FieldError) else type(error)(f"{place}: {error}")
        raise named from None


class ConfigError(GossipregError):
    """A setting that cannot be used: unknown, malformed, or unsafe as it stands."""


class InvalidSetting(ConfigError):
    """A setting of the wrong type or out of range, or several at odds with each other. ``fields`` are their keys."""

    def __init__(self, sentence: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.fields = fields
        self.field = fields[0] if fields else None


class InsecureError(ConfigError):
    """Gossip in clear was asked for beyond loopback, without saying ``--insecure``."""


class UnsafeFile(ConfigError):
    """A file or directory that others can read or change; the sentence says what to type."""


class InvalidCertificate(ConfigError):
    """A document of a cluster's authority that cannot be used; the sentence says why."""


class CertificateRefused(GossipregError):
    """An issuer does not sign the certificate that a node asks for; the sentence says why."""


class NotAnIssuer(GossipregError):
    """This node signs no certificates: it has no issuer's key, or no delegation for it."""


class BindError(GossipregError):
    """The address to listen on cannot be had."""


class StorageError(GossipregError):
    """The data directory cannot be read or written."""


class InvalidInstance(FieldError):
    """An instance that cannot be registered; the sentence names the field."""


class RecordTooLarge(InvalidInstance):
    """An instance whose packed record is over the limit; the sentence gives both sizes in bytes."""


class InvalidPolicy(FieldError):
    """A policy that cannot be set; the sentence names the field."""


class ClockWrong(GossipregError):
    """This node's wall clock is so far off that others would refuse what it says; the sentence says by how much."""


class UnknownPolicy(GossipregError):
    """No policy of that key is in force."""


class InvalidToken(FieldError):
    """A token that cannot be created; the sentence names the field."""


class UnknownToken(GossipregError):
    """The cluster knows no token of that name."""


class TooManyTokens(GossipregError):
    """As many tokens are in force as are allowed."""


class UnknownTerm(GossipregError):
    """No term of the service was ever stated, so there is none to reset."""


class GossipInClear(GossipregError):
    """The cluster's gossip is not sealed, so it has no keys."""


class UnknownKey(GossipregError):
    """No key of that id is held."""


class KeyGivenUp(GossipregError):
    """The cluster has given the key up, so it cannot be added again."""


class KeyInUse(GossipregError):
    """A member seals with the key, or may do so, so it cannot be given up; the sentence names those that do."""


class KeyNotHeld(GossipregError):
    """A member does not hold the key, so the cluster cannot seal with it; the sentence names those that do not."""


class TooManyKeys(GossipregError):
    """As many keys are held as are allowed."""


class NotAllowed(GossipregError):
    """This node's certificate does not allow what is asked of it; the sentence says which one would."""


class NotJoined(GossipregError):
    """The node has reached no member yet, so it cannot know what is asked of it."""


class UnknownRegion(GossipregError):
    """The node neither is in a region of that name nor follows one; the sentence names those that it knows."""


class RegionUnavailable(GossipregError):
    """Nothing is known of a service in another region: no agent there has told it. The sentence says why."""


class JoinFailed(GossipregError):
    """None of the seeds of a requested join was joined; the sentence says why, for each."""


class UnknownMember(GossipregError):
    """No member of that name is remembered."""


class MemberPresent(GossipregError):
    """The member has not failed, so it cannot be forgotten."""


class NoInstance(GossipregError):
    """No instance of the service can be called now."""


class UnknownInstance(GossipregError):
    """This node owns no instance of that id."""


class CredentialsUnavailable(GossipregError):
    """An instance's credentials cannot be sealed or read here; the sentence says which key is missing."""


class NameConflict(GossipregError):
    """Another live member holds this node's name, and has held it for longer."""


class NodeClosed(GossipregError):
    """The node has left or was closed."""


class AgentUnreachable(GossipregError):
    """No agent answers at the given address."""


class MemberOnly(GossipregError):
    """A verb of a member, which a process that is attached to one does not have; the sentence says what to do."""


class AgentRefused(GossipregError):
    """An agent's no to a request; the sentence, ``code`` and ``field`` are the agent's.

    ``is_usage``: a value of the request cannot be used, so that it would be refused at any time (400).
    """

    def __init__(self, sentence: str, code: str, field: str | None = None, *, is_usage: bool = False) -> None:
        super().__init__(sentence)
        self.code = code
        self.field = field
        self.is_usage = is_usage


class TemplateError(GossipregError):
    """A template that cannot be rendered; the sentence names the file and the line."""

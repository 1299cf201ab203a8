"""Knows every way gossipreg can say no: one tree, each leaf a sentence that names the thing and the remedy."""

from __future__ import annotations


class GossipregError(Exception):
    """Something a user can mend; ``str(error)`` is one line that says what and how."""


class ConfigError(GossipregError):
    """A setting that cannot be used: unknown, malformed, or unsafe as it stands."""


class InvalidSetting(ConfigError):
    """A setting of the wrong type or out of range, or several at odds with each other. ``fields`` are their keys."""

    def __init__(self, sentence: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.fields = fields


class InsecureError(ConfigError):
    """Gossip in clear was asked for beyond loopback, without saying ``--insecure``."""


class UnsafeFile(ConfigError):
    """A file or directory that others can read or change; the sentence says what to type."""


class BindError(GossipregError):
    """The address to listen on cannot be had."""


class StorageError(GossipregError):
    """The data directory cannot be read or written."""


class InvalidInstance(GossipregError):
    """An instance that cannot be registered; the sentence names the field."""


class RecordTooLarge(InvalidInstance):
    """An instance whose packed record is over the limit; the sentence gives both sizes in bytes."""


class InvalidPolicy(GossipregError):
    """A policy that cannot be set; the sentence names the field."""


class ClockWrong(GossipregError):
    """This node's wall clock is so far off that others would refuse what it says; the sentence says by how much."""


class UnknownPolicy(GossipregError):
    """No policy of that key is in force."""


class UnknownTerm(GossipregError):
    """No term of the service was ever stated, so there is none to reset."""


class NotJoined(GossipregError):
    """The node has reached no member yet, so it cannot know what is asked of it."""


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
    """No agent answers at the given HTTP address."""


class TemplateError(GossipregError):
    """A template that cannot be rendered; the sentence names the file and the line."""

"""Credentials come from the environment or the platform: how they are kept out of configs and messages."""

from __future__ import annotations

import os
import re

_SECRET = re.compile(
    r"passw|secret|token|credential|(access|account|api|private|shared)[._-]?key|key[._-]?list|connection[._-]?string"
    r"|(^|[._-])(sas|sig|signature)([._-]|$)",
    re.IGNORECASE,
)
_USER_INFO = re.compile(
    r"(?<=s3)://(?!arn:)[^/\s@:]*:[^\s@]*@|(?<=s3[an])://[^/\s@:]*:[^\s@]*@|://(?!arn:)[^/\s@:]*:(?!\d*(?:/|$))[^\s@]*@"
)
"""A password in a URL. A port is none (S3 has no ports, and half its secrets have a slash), nor is the container of
``abfss://container@account``.
"""
_QUERY = re.compile(r"([?&]([^=&?\s]+)=)[^&\s'\"]+")
_FILES = re.compile(r"FILE|^GOOGLE_APPLICATION_CREDENTIALS$")
"""Variables with such a name say where credentials lie, which is no secret."""
HINT = "Give credentials by the environment (such as AWS_ACCESS_KEY_ID), or leave them to the platform."


def is_secret(name: str) -> bool:
    """Whether a setting or a variable of this name holds what is no one's business."""
    return bool(_SECRET.search(name))


def within(text: str) -> bool:
    """Whether a path has a password or a signature in it."""
    return bool(_USER_INFO.search(text)) or any(is_secret(name) for _, name in _QUERY.findall(text))


def redact(text: str) -> str:
    """A text that others wrote, without the credentials in its URLs and those of this process's environment."""
    text = _QUERY.sub(lambda found: found[1] + "***" if is_secret(found[2]) else found[0], text)
    text = _USER_INFO.sub("://***@", text)
    for name, value in os.environ.items():
        if len(value) >= 8 and is_secret(name) and not _FILES.search(name):
            text = text.replace(value, "***")
    return text

"""Names of repositories, revisions and files on the Hub, and errors that say what to do."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rlottery.errors import RlotteryError, install_extra
from rlottery.safety.printable import on_one_line

CHECKSUMS = "SHA256SUMS"
"""The file that lists all others but the model card, in the format of `sha256sum`."""
CARD = "README.md"
_PART = r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"(?:({_PART})/)?({_PART})")
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}")
_FILE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+=,() -]{0,199}/){0,8}[A-Za-z0-9_][A-Za-z0-9_.+=,() -]{0,199}")
_RESERVED = (CHECKSUMS, CARD)


class HubError(RlotteryError):
    """Something that can't be sent to the Hub, or fetched from it."""


def check_repository(name: str) -> str:
    """`name`, if a repository can have it: NAME or OWNER/NAME. Raises HubError if not."""
    if _REPOSITORY.fullmatch(name) is None:
        raise HubError(
            f"{on_one_line(name)[:120]!r} can't be a repository of the Hub. Give NAME or OWNER/NAME, of letters, "
            "digits, '_', and single '-' and '.' in between."
        )
    return name


def check_revision(name: str) -> str:
    """`name`, if a branch, tag or commit can have it. Raises HubError if not."""
    if _REVISION.fullmatch(name) is None:
        raise HubError(f"{on_one_line(name)[:120]!r} can't be a revision. Give a branch, a tag or a commit.")
    return name


def is_safe_file(name: str) -> bool:
    """Whether a file of this name stays in the folder that it is written to."""
    return _FILE.fullmatch(name) is not None and name not in _RESERVED


def connect() -> Any:
    """The interface of the Hub, as huggingface_hub's variables and login say.

    Raises:
        HubError: huggingface_hub isn't installed.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars, logging
    except ImportError as error:
        raise HubError(
            f"The Hub needs a package that can't be imported: {error}. Install the extra: {install_extra('hub')}"
        ) from None
    disable_progress_bars()
    logging.set_verbosity_error()  # one message says what is wrong
    return HfApi(library_name="rlottery")


@contextmanager
def plain_hub_errors(doing: str) -> Iterator[None]:
    """Raise HubError for whatever huggingface_hub raises: what failed, why in a line, and what to do.

    Args:
        doing: what failed, as the begin of a sentence: "me/ticket can't be pulled".
    """
    from huggingface_hub import errors

    try:
        yield
    except RlotteryError:
        raise
    except errors.GatedRepoError:
        raise HubError(f"{doing}: it is gated. Ask for access on its page, then try again.") from None
    except errors.RevisionNotFoundError:
        raise HubError(f"{doing}: it has no such revision. Leave --revision out for the newest one.") from None
    except errors.RepositoryNotFoundError:
        raise HubError(
            f"{doing}: there is no such repository, or it is private and you have no access. Check the name, or "
            "log in: hf auth login"
        ) from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else None
        fix = "Log in with a token that may write: hf auth login" if code in (401, 403) else "Try again later."
        raise HubError(f"{doing}: {_why(error)}. {fix}") from None
    except Exception as error:
        if _is_of_network(error):
            why = f"the Hub can't be reached ({_why(error)}). Check the network, then try again"
            raise HubError(f"{doing}: {why}.") from None
        if not isinstance(error, OSError | ValueError | RuntimeError):
            raise
        cause = f" ({_why(error.__cause__)})" if error.__cause__ is not None else ""
        raise HubError(f"{doing}: {_why(error)}{cause}. Try again later.") from None


def _is_of_network(error: BaseException | None) -> bool:
    """Whether there was no answer, by the names that the HTTP libraries of huggingface_hub's versions give it."""
    if error is None:
        return False
    names = {kind.__name__ for kind in type(error).__mro__}
    of_network = names & {"TransportError", "ConnectionError", "OfflineModeIsEnabled", "LocalEntryNotFoundError"}
    return bool(of_network) or _is_of_network(error.__cause__)


def _why(error: BaseException) -> str:
    """An error's message on a line, without the user's token."""
    text = " ".join((str(error) or type(error).__name__).split())
    for secret in _secrets():
        text = text.replace(secret, "...")
    return on_one_line(text)[:300].rstrip(". ")


def _secrets() -> list[str]:
    from huggingface_hub import get_token

    found = [get_token(), *(os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))]
    return [secret for secret in found if secret]

"""Sends a run or a study to the Hub, in one commit. Without `send`, it only shows what would be sent."""

from collections.abc import Callable
from pathlib import Path

from rlottery.errors import StudyError, unknown_choice
from rlottery.hub.bundle import bundle_of, check_source
from rlottery.hub.model_card import LICENSES, model_card
from rlottery.hub.names import CARD, CHECKSUMS, HubError, check_repository, connect, plain_hub_errors
from rlottery.report.wording import plural
from rlottery.safety.regular_files import read_bytes
from rlottery.storage.disk import write_bytes

_MOST_LISTED = 40
_OWN_CARD = b"library_name: rlottery\n"
_MOST_CARD_BYTES = 2**20


def push(
    path: Path,
    repository: str,
    say: Callable[[str], None],
    *,
    send: bool = False,
    public: bool = False,
    license: str = "unknown",
    trust: bool = False,
) -> None:
    """Show what would be uploaded of a run or a study, and write its model card for reading; or upload it.

    Args:
        path: data/runs/TASK/seed_N/ARM, or a data folder.
        repository: NAME or OWNER/NAME. It is made if it doesn't exist.
        send: whether to upload.
        public: whether a new repository is public.
        trust: as for `load_agent`.

    Raises:
        HubError: a name can't be used, the user isn't logged in, or the Hub can't be reached or refuses.
        StudyError: there is no finished run, or its files are damaged.
    """
    check_repository(repository)
    if license not in LICENSES:
        raise HubError(unknown_choice("--license", license, LICENSES))
    check_source(path)
    if send:
        api = connect()
        _check_logged_in()
    bundle = bundle_of(path, trust=trust)
    card = model_card(bundle, repository, license)
    sizes = bundle.sizes() | {CARD: len(card.encode())}
    if not send:
        file = Path(f"{repository.rpartition('/')[2]}-model-card.md")
        _write_card(file, card)
        _list(sizes, say)
        say(f"Nothing was sent. The model card is in {file}.")
        where = f"a {'public' if public else 'private'} repository"
        say(f"To upload these {plural(len(sizes), 'file')} to {where}: run the same command with --yes.")
        return
    with plain_hub_errors(f"{repository} can't be pushed"):
        from huggingface_hub import CommitOperationAdd

        made = api.create_repo(repository, private=not public, exist_ok=True)
        contents = {**bundle.files, CARD: card.encode()}
        operations = [
            CommitOperationAdd(name, one if isinstance(one, bytes) else str(one)) for name, one in contents.items()
        ]
        commit = api.create_commit(
            made.repo_id, operations, commit_message=f"Upload {path.resolve().name} with rlottery"
        )
    say(f"Sent {plural(len(sizes), 'file')}, {sum(sizes.values()):,} bytes, to {made.repo_id}, revision {commit.oid}.")
    say(f"To get it back: rlottery pull {made.repo_id} --revision {commit.oid}")


def _check_logged_in() -> None:
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError("You are not logged in to the Hub. Log in with `hf auth login`, or set HF_TOKEN.")


def _write_card(file: Path, card: str) -> None:
    """Write the card in place of an earlier one. A file of somebody else's stays as it is."""
    try:
        is_own = not file.exists() or _OWN_CARD in read_bytes(file, _MOST_CARD_BYTES)
    except (OSError, ValueError):  # a folder, or a file of somebody else's
        is_own = False
    if not is_own:
        raise StudyError(
            f"{file} already exists, and is no model card of rlottery's. Move it, or choose another --repo."
        )
    try:
        write_bytes(file, card.encode())
    except OSError as error:
        raise StudyError(f"{file} can't be written: {error.strerror}. Run this command in another folder.") from None


def _list(sizes: dict[str, int], say: Callable[[str], None]) -> None:
    width = len(f"{max(sizes.values()):,}")
    shown = sorted(sizes.items())
    for name, size in shown[:_MOST_LISTED]:
        say(f"{size:>{width},}  {name}")
    if len(shown) > _MOST_LISTED:
        say(f"and {len(shown) - _MOST_LISTED:,} more; {CHECKSUMS} lists all")
    say(f"{sum(sizes.values()):>{width},}  bytes in all")

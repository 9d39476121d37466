"""What a hub answers, in our words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tvm_c4n.checkpoint.files import is_full
from tvm_c4n.checkpoint.hub_names import HubModel
from tvm_c4n.errors import CheckpointError

_Answer = TypeVar("_Answer")
# For an answer to begin.
ANSWER_SECS = 10.0


class NoAnswer(Exception):
    """The hub does not answer, or must not be asked, and the cache has no copy."""


class NoSuchFile(Exception):
    """The model is there, and has no file of that name."""


def asked(wanted: HubModel, ask: Callable[[], _Answer]) -> _Answer:
    """Call what asks the hub.

    Raises
    ------
    CheckpointError
        The hub refuses: no such model or revision, or one that needs permission.
    NoAnswer, NoSuchFile
        The caller knows what that means.
    OSError
        The disk is full.
    """
    from huggingface_hub import errors

    try:
        return ask()
    except CheckpointError:
        raise
    except errors.LocalEntryNotFoundError as error:
        raise NoAnswer from error
    except errors.EntryNotFoundError as error:
        raise NoSuchFile from error
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{wanted}: given to those who ask: accept its terms at {endpoint()}/{wanted.repo}, "
            "then log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{wanted}: {wanted.repo} has no such revision; give a branch, a tag or a commit of it"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{wanted}: no such folder, and no such model at {endpoint()}; check the name, or log "
            "in with `hf auth login` if the model is private"
        ) from error
    except Exception as error:  # the classes of the transport change with its versions
        if is_full(error):
            raise
        raise NoAnswer from error


def unreachable(wanted: HubModel) -> CheckpointError:
    """Return the line for a model that neither the hub nor the cache gives."""
    from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

    why = "HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE else f"{endpoint()} does not answer"
    return CheckpointError(
        f"{wanted}: no such folder; {why}, and {HF_HUB_CACHE} has no whole copy of it; with a "
        f"network run `hf download {wanted.repo} --local-dir DIR`, and give DIR"
    )


def endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT, or huggingface.co."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)

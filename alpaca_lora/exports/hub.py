"""Push a finished artefact to the Hub. What lies on the disk is never touched by a push that fails."""

from pathlib import Path

from huggingface_hub import HfApi

from alpaca_lora.errors import ExportError

__all__ = ["push"]


def push(directory: Path, repository: str, *, private: bool = True) -> str:
    """Upload a directory to a model repository, which is made if it does not exist.

    The token is the one that `hf auth login` stored, or HF_TOKEN.

    Args:
        directory: what to upload.
        repository: `org/name`.
        private: make a new repository private; an existing one stays as it is.

    Returns:
        The address of the commit.

    Raises:
        ExportError: it did not arrive; the message says why.
    """
    api = HfApi(library_name="alpaca-lora")
    try:
        api.create_repo(repository, exist_ok=True, private=private)
        commit = api.upload_folder(repo_id=repository, folder_path=directory, commit_message=f"Upload {directory.name}")
    except Exception as error:  # a network has more ways to fail than one library has classes for
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ExportError(
            f"{str(directory)!r} is complete, but was not pushed to {repository!r} ({type(error).__name__}: {reason}): "
            f"run  hf upload {repository} {directory}"
        ) from error
    return str(commit.commit_url)

"""Data sets of the Hugging Face Hub: the one thing here that needs the network."""

from __future__ import annotations

import re
from pathlib import Path

from rotelab.errors import InputError, LabError

PREFIX = "hf:"
READABLE = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".csv.gz", ".jsonl.gz", ".zip")
NOT_DATA = ("dataset_infos.json", "dataset_info.json", "config.json", "state.json", "package.json")

# Where the Hub keeps a Parquet copy of data sets that come in another form.
CONVERTED = "refs/convert/parquet"

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[^\\]+)?")


def is_data_set(name: str | Path) -> bool:
    """Whether a name means a data set of the Hub: it begins with `hf:`, or has the form
    `owner/name` and is no file here."""
    text = str(name)
    if text.startswith(PREFIX):
        return True
    return (
        isinstance(name, str)
        and _NAME.fullmatch(text) is not None
        and text.count("/") == 1
        and not Path(text).suffix
        and not Path(text).exists()
        and not Path(text).parent.is_dir()
    )


def data_set_file(name: str) -> tuple[Path, str]:
    """Fetches one file of a data set, or finds it among those fetched before.

    Args:
        name: `owner/name`, or `owner/name/path/of/a/file`.

    Returns:
        The file's path here, and its name for people.

    Raises:
        InputError: the name can't be one, or the data set has no file or several that can be read.
        LabError: there is no network, or no such data set.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name[:80]!r} is no data set's name. Write hf:owner/name.")
    owner, data_set, *path = name.split("/", 2)
    repository = f"{owner}/{data_set}"
    revision = None
    if not path:
        path, revision = _only_file(repository)
    return _fetch(repository, path[0], revision), f"{repository}/{path[0]}"


def _only_file(repository: str) -> tuple[list[str], str | None]:
    files = _readable(repository, None)
    revision = None
    if not files:
        files, revision = _readable(repository, CONVERTED), CONVERTED
    if not files:
        raise InputError(
            f"the data set {repository} has no file that can be read ({', '.join(READABLE[:6])})."
        )
    if len(files) > 1:
        some = ", ".join(f"hf:{repository}/{file}" for file in files[:5])
        raise InputError(
            f"the data set {repository} has {len(files)} files. Name one: {some}"
            + (" …" if len(files) > 5 else "")
        )
    return files, revision


def _readable(repository: str, revision: str | None) -> list[str]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = HfApi().list_repo_files(repository, repo_type="dataset", revision=revision)
    except Exception as error:  # network faults are those of the client beneath: no class to name
        if revision and isinstance(error, HfHubHTTPError):
            return []  # no such copy
        raise _unavailable(repository, error) from error
    return [
        file
        for file in files
        if file.lower().endswith(READABLE) and Path(file).name not in NOT_DATA
    ]


def _fetch(repository: str, path: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, path, repo_type="dataset", revision=revision))
    except Exception as error:  # as above
        raise _unavailable(f"{repository}/{path}", error) from error


def _unavailable(name: str, error: Exception) -> LabError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        why = "it is private or asks for an agreement: log in with `hf auth login`"
    elif status == 404:
        why = "the Hub has no such data set or file"
    else:
        why = "it can't be reached: that needs the network"
    return LabError(
        f"The data set {name} can't be fetched ({why}). Or download its file yourself and give "
        "the file."
    )

"""Says in a sentence why transformers could not load a model, and how to mend it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlparse
from urllib.request import getproxies

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from rotelab.errors import ModelUnavailable
from rotelab.models.preflight.model_files import PICKLES, similar_name

PAGE = "https://huggingface.co"
CONNECT_S = 5.0
"""How long the hub is waited for, in seconds."""

AWAY = (
    "The model {name!r} is not on this machine, and the Hugging Face Hub can't be reached. Connect "
    "to the network once, or name a model or folder that is here."
)
OFFLINE = (
    "The model {name!r} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it. Unset it "
    "and start again, or name a model or folder that is here."
)


def reason(error: BaseException, name: str) -> str:
    """The sentences for an error of `from_pretrained`.

    Args:
        error: what was raised.
        name: the model's name or folder, as the user wrote it.
    """
    chain = list(_chain(error))
    text = " ".join(str(error).split())
    if any(isinstance(one, GatedRepoError) for one in chain) or "gated repo" in text:
        return (
            f"The model {name!r} is there, but its owner asks for a consent first. Give it on "
            f"{PAGE}/{name}, then log in on this machine (hf auth login), or choose another model."
        )
    if any(isinstance(one, OfflineModeIsEnabled) for one in chain):
        return OFFLINE.format(name=name)
    # Offline, the hub says of a file that it was not found here: no word about the model itself.
    away = [one for one in chain if isinstance(one, LocalEntryNotFoundError) or _no_network(one)]
    if away:
        return AWAY.format(name=name) + similar_name(name)
    if any(isinstance(one, RepositoryNotFoundError | HFValidationError) for one in chain):
        return (
            f"There is no model {name!r} on the Hugging Face Hub, or it is private. Check the "
            f"spelling (owner/model), or log in (hf auth login).{similar_name(name)}"
        )
    return _of_text(chain, text, name)


def _of_text(chain: Sequence[BaseException], text: str, name: str) -> str:
    """The same from what transformers wrote."""
    if "safetensors" in text and ("does not appear to have a file" in text or _missing(chain)):
        return PICKLES.format(name=name, file="files that are not safetensors")
    found = re.search(r"model type `([^`]+)`", text)
    if found and "does not recognize" in text:
        return (
            f"The model {name!r} is of the kind {found[1]!r}, which the installed transformers "
            "does not know. Update it (pip install -U transformers), or choose another model."
        )
    if "Unrecognized configuration class" in text:
        return (
            f"The model {name!r} is not one that continues a text (no causal language model), so "
            "it can't be asked or taught here. Choose another, such as Llama, Qwen or Pythia."
        )
    if "trust_remote_code" in text:
        return (
            f"The model {name!r} brings Python code of its own, which the lab does not run. Choose "
            "a model whose kind transformers knows."
        )
    if "bitsandbytes" in text.lower():
        return (
            f"The model {name!r} is kept in few bits by bitsandbytes, which works on an NVIDIA "
            "card only, with its package installed. Use such a machine, or the model in full."
        )
    if "mismatch" in text:
        return (
            f"The weights of the model {name!r} have other shapes than its config.json says, so "
            "one of the two belongs to another model. Download or copy the model again."
        )
    if "tokenizer" in text.lower():
        return (
            f"The tokenizer of the model {name!r} can't be read ({text[:200]}). Download or copy "
            "its files again."
        )
    return (
        f"The model {name!r} can't be loaded ({text[:200] or type(chain[0]).__name__}). Check the "
        "name or folder, or download the model again."
    )


def check_reachable(name: str) -> None:
    """Says at once that the hub can't be reached; its own library would try for a minute.

    Args:
        name: on the hub.

    Raises:
        ModelUnavailable: the model is not on this machine, and neither is the network.
    """
    offline = constants.HF_HUB_OFFLINE
    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    if offline:
        raise ModelUnavailable(OFFLINE.format(name=name))
    address = urlparse(constants.ENDPOINT)
    if getproxies():
        return  # then a proxy looks the name up
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as error:
        raise ModelUnavailable(AWAY.format(name=name) + similar_name(name)) from error


def _missing(chain: Sequence[BaseException]) -> bool:
    return any(isinstance(one, EntryNotFoundError) for one in chain)


def _no_network(error: BaseException) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, HfHubHTTPError):
        return status is None or status >= 500
    return isinstance(error, ConnectionError | TimeoutError) or type(error).__name__ in (
        "ConnectError", "ConnectTimeout", "ReadTimeout", "ProxyError",
    )  # fmt: skip


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

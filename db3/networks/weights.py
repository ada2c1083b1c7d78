"""Weights files: written as safetensors, byte for byte repeatable; read as safetensors or as a .pth state_dict."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from db3.errors import DataError
from db3.files import write_bytes

_KEY = "db3"  # safetensors orders several metadata keys at random, so one key holds a JSON string
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_OPTIONAL = ("normalise.mean", "normalise.std")


def save_weights(network: nn.Module, path: str | Path, metadata: dict[str, Any]) -> None:
    """Write parameters and buffers, and `metadata` (JSON values); equal content gives equal bytes."""
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(Path(path), save(tensors, {_KEY: text}))


def load_weights(network: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load a weights file into a network of the same architecture.

    A .pth or .pt file is opened with weights_only (it cannot run code); it holds a state_dict, or a dictionary with
    one under `state_dict`, `model_state_dict` or `model`. A `module.` before the names is dropped. A file without
    `normalise.mean` and `normalise.std` leaves the network's own; names may be those of the bare architecture.

    Returns:
        The metadata `save_weights` wrote; empty for other files.

    Raises:
        DataError: the file is missing, damaged, holds NaN, or is of another architecture. The network is unchanged.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt"):
        state, metadata = _read_torch(path), {}
    else:
        raise DataError(f"{path} is no known weights file; expected .safetensors, .pth or .pt: convert or rename it")
    own = network.state_dict()
    state = _rename(state, own)
    _compare(state, own, path, metadata)
    network.load_state_dict({**own, **state})
    return metadata


def read_initial_weights(path: str | Path, network: nn.Module, classes: int) -> dict[str, Tensor]:
    """What a network may begin with, from the weights of its architecture for other classes or other channels.

    A last layer for other classes is left out, so that the network's own stays; a first layer for colour is summed
    over the colours where the network takes grey images, which is what it makes of a grey picture in three channels;
    then the pixels are normalised as the network itself does.

    Args:
        path: a .safetensors file: of db3, or with the names of the bare architecture.
        network: whose first weights are to be replaced; not changed.
        classes: K.

    Returns:
        Tensors by the network's names.

    Raises:
        DataError: the file is missing, damaged, holds NaN, or is of another architecture.
    """
    path, own = Path(path), network.state_dict()
    if path.suffix != ".safetensors":
        raise DataError(f"{path} is no .safetensors file, which initial weights are read from: convert it")
    state, metadata = _read_safetensors(path)
    state = {name: _summed(tensor, own.get(name)) for name, tensor in _rename(state, own).items()}
    left_out = {name for name, tensor in state.items() if name in own and _of_other_classes(tensor, own[name], classes)}
    of_colours = {name for name in _OPTIONAL if name in state and name in own and state[name].shape != own[name].shape}
    kept = {name: tensor for name, tensor in state.items() if name not in left_out | of_colours}
    if kept.keys() <= {*_OPTIONAL}:
        raise DataError(f"{path} holds no weights that {type(network).__name__} could begin with: take another file")
    _compare({**{name: own[name] for name in left_out}, **kept}, own, path, metadata)
    return kept


def _summed(tensor: Tensor, own: Tensor | None) -> Tensor:
    colours = own is not None and tensor.ndim == own.ndim == 4 and (tensor.shape[1], own.shape[1]) == (3, 1)
    return tensor.sum(dim=1, keepdim=True) if colours else tensor


def _of_other_classes(tensor: Tensor, own: Tensor, classes: int) -> bool:
    """Whether it differs in the number of rows alone, of which the network's has one for each class."""
    same = tensor.ndim == own.ndim >= 1 and tensor.shape[1:] == own.shape[1:]
    return same and len(own) == classes and len(tensor) != classes


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is no mapping)
            text = (file.metadata() or {}).get(_KEY, "{}")
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error, "whole .safetensors") from error
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise _unreadable(path, error, "db3 .safetensors") from error
    return state, metadata if isinstance(metadata, dict) else {}


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds Python objects besides tensors (or is damaged), and reading those could run foreign code; "
            "expected a state_dict: save network.state_dict() alone, best as .safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _unreadable(path, error, "whole .pth") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(
            f"{path} holds {type(content).__name__}; expected a state_dict: save network.state_dict() alone"
        )
    return {str(name): tensor for name, tensor in content.items()}


def _unreadable(path: Path, error: Exception, expected: str) -> DataError:
    reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split()[:30])
    reason = reason or type(error).__name__
    return DataError(f"cannot read {path} ({reason}); expected a {expected} file: check the path or copy it again")


def _rename(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop `module.` (DataParallel), and put names of the bare architecture under `body.`."""
    if all(name.startswith("module.") for name in state.keys() - set(_OPTIONAL)):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if any(name.startswith("body.") for name in own) and not any(name.startswith("body.") for name in state):
        state = {name if name in _OPTIONAL else f"body.{name}": tensor for name, tensor in state.items()}
    return state


def _compare(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path, metadata: Mapping[str, Any]) -> None:
    """Refuse a file of another architecture, naming the first differences."""
    missing = [name for name in own if name not in state and not _may_be_absent(name)]
    unexpected = [name for name in state if name not in own]
    misshapen = [
        f"{name} {list(state[name].shape)} for {list(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems = [
        f"{what}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if problems:
        written = (
            f"its own, {metadata['architecture']!r}" if "architecture" in metadata else "the one it was written from"
        )
        raise DataError(
            f"{path} is of another architecture or input shape ({'; '.join(problems)}); set architecture to {written}, "
            "and the dataset's size and channels and the number of classes to its own"
        )
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise DataError(
            f"{path} holds NaN or infinity in {broken[0]} ({len(broken)} such); expected finite weights: train it again"
        )


def _may_be_absent(name: str) -> bool:
    """Normalisation that a foreign file does not know, and a counter that older torch did not write."""
    return name in _OPTIONAL or name.endswith("num_batches_tracked")

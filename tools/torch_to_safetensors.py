#!/usr/bin/env python3
"""Writes a PyTorch checkpoint's state_dict as a safetensors file, for `pleat import`. Needs torch and safetensors.

The state_dict may stand anywhere in the checkpoint: at the top, or under a name such as 'net' or 'model'. Of several,
KEY names the one to take, such as model or state_dict_ema. Nothing in the file is executed.

usage: torch_to_safetensors.py checkpoint.pth out.safetensors [KEY]
"""
import pickle
import sys
import types

import torch
from safetensors.torch import save_file


class Anything:
    """Stands for objects that are no tensors, such as a run's arguments."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


class Unpickler(pickle.Unpickler):
    """Makes tensors and plain containers, and nothing of other classes."""

    def find_class(self, module, name):
        is_tensor = module == "torch._utils" and name.startswith("_rebuild") or (module, name) == ("torch", "Size")
        is_storage = module in ("torch", "torch.storage") and name.endswith("Storage")
        is_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        is_container = (module, name) in (("collections", "OrderedDict"), ("torch", "device"))
        return super().find_class(module, name) if is_tensor or is_storage or is_type or is_container else Anything


def state_dicts(value, path=""):
    """All dictionaries of a network's tensors in a checkpoint, by where they stand."""
    if not isinstance(value, dict):
        return {}
    if any(str(key).endswith("weight") and torch.is_tensor(tensor) for key, tensor in value.items()):
        return {path: value}
    found = {}
    for key, inner in value.items():
        found.update(state_dicts(inner, f"{path}.{key}" if path else str(key)))
    return found


def main(source, target, key=None):
    reader = types.SimpleNamespace(
        Unpickler=Unpickler, load=lambda file, **options: Unpickler(file, **options).load(), __name__="pickle")
    checkpoint = torch.load(source, map_location="cpu", weights_only=False, pickle_module=reader)
    found = state_dicts(checkpoint)
    # An average of the weights beside them is another network, to be asked for by name.
    chosen = [name for name in found if (key is None and "ema" not in name.lower()) or name == key] or list(found)
    if len(chosen) != 1 or (key is not None and chosen != [key]):
        keys = list(checkpoint) if isinstance(checkpoint, dict) else f"a {type(checkpoint).__name__}"
        reason = f"{len(found)} state_dicts, at {list(found)}: name one as KEY" if found else "no state_dict"
        sys.exit(f"{source}: holds {reason} (it is {keys})\nhint: torch.save(model.state_dict(), ...) saves what is wanted")
    state = {str(name): tensor.detach().clone().contiguous() for name, tensor in found[chosen[0]].items()
             if torch.is_tensor(tensor)}
    save_file(state, target)
    print(f"{len(state)} tensors at '{chosen[0]}' of {source} -> {target}" if chosen[0] else f"{len(state)} tensors of {source} -> {target}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])

#!/usr/bin/env python3
"""Writes a PyTorch checkpoint's state_dict as a safetensors file, for `pleat import`. Needs torch and safetensors.

usage: torch_to_safetensors.py checkpoint.pth out.safetensors
"""
import sys

import torch
from safetensors.torch import save_file

if len(sys.argv) != 3:
    sys.exit(__doc__)
checkpoint = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
state = checkpoint.get("state_dict", checkpoint)
save_file({name: value.clone().contiguous() for name, value in state.items() if torch.is_tensor(value)}, sys.argv[2])

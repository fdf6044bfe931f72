"""How an avatar's shapes and joints are called, so that other programs find them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from imhead.errors import InputError

Names = Literal["arkit", "livelink", "unreal"]
_UNREAL_JOINTS: Mapping[str, str] = {
    "neck": "neck_01", "head": "head", "jaw": "FACIAL_C_Jaw", "left_eye": "FACIAL_L_Eye", "right_eye": "FACIAL_R_Eye",
}  # fmt: skip


def shape_name(name: str, names: Names) -> str:
    """An ARKit name as it stands, or with a capital, as the Live Link Face app and Unreal write it.

    Raises:
        InputError: no such way of naming.
    """
    _check(names)
    return name if names == "arkit" else name[0].upper() + name[1:]


def joint_name(name: str, names: Names) -> str:
    """The name of a joint of `rig.JOINTS`; Unreal's skeletons have names of their own.

    Raises:
        InputError: no such way of naming.
    """
    _check(names)
    return _UNREAL_JOINTS[name] if names == "unreal" else name


def _check(names: str) -> None:
    if names not in get_args(Names):
        raise InputError(f"names {names!r} are not known; use {', '.join(get_args(Names))}")

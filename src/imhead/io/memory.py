"""Return freed memory to the system; by default glibc keeps much of it, in fragments."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGE_BYTES, _TRIM_BYTES = 131_072, 67_108_864


def return_large_blocks() -> None:
    """From now on, blocks of 128 kB and more return to the system as soon as they are freed.

    By default glibc raises this limit as it sees larger blocks, and then keeps them between small ones that live
    longer: after five closed tabs 76 MB stayed allocated, of which 2 MB were in use.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)  # setting the limit above would else lower this one too


def trim_heap() -> None:
    """Return the small free blocks to the system."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)

# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds nvcc and the static CUDA runtime; CUDA_PATH, /usr/local/cuda, PATH.

TF_EMBEDDING_CUDA=0 turns the GPU parts off, and =host (setup.py) needs no nvcc.
TF_EMBEDDING_CUDA_ARCHS names the compute capabilities, "80;90" unless set; the
last is kept as PTX too, for the devices that come after it.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
from typing import Any, Optional, Sequence

import cxx


def _nvcc() -> Optional[str]:
    for root in (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        if root and os.path.exists(os.path.join(root, "bin", "nvcc")):
            return os.path.join(root, "bin", "nvcc")
    return shutil.which("nvcc")


def _static_runtime(nvcc: str) -> Optional[str]:
    """libcudart_static.a of the toolkit that nvcc (or a wrapper of it) runs."""
    dryrun = subprocess.run(
        [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull], text=True, capture_output=True
    )
    top = re.search(r"^#\$ TOP=(.*)$", dryrun.stderr + dryrun.stdout, re.MULTILINE)
    root = top.group(1).strip() if top else os.path.dirname(os.path.dirname(nvcc))
    for folder in ("lib64", "lib", os.path.join("targets", "*", "lib")):
        for path in glob.glob(os.path.join(root, folder, "libcudart_static.a")):
            return os.path.realpath(path)
    return None


def find() -> Optional[dict[str, Any]]:
    """Returns nvcc, cudart (a static library) and flags; None without CUDA."""
    if os.environ.get("TF_EMBEDDING_CUDA") in ("0", "host"):
        return None
    nvcc = _nvcc()
    cudart = _static_runtime(nvcc) if nvcc else None
    if not nvcc or not cudart:
        return None
    archs = os.environ.get("TF_EMBEDDING_CUDA_ARCHS", "80;90").split(";")
    # Without contraction and with IEEE division and roots, as on the CPU (cxx.py).
    flags = ["-std=c++17", "-O3", "-Xcompiler", "-fPIC,-fvisibility=hidden", "--fmad=false"]
    flags += ["--threads=2", "-Xfatbin=-compress-all"]
    flags += ["-gencode=arch=compute_%s,code=sm_%s" % (a, a) for a in archs]
    flags.append("-gencode=arch=compute_%s,code=compute_%s" % (archs[-1], archs[-1]))
    return {"nvcc": nvcc, "cudart": cudart, "flags": flags}


def jobs(cuda: dict[str, Any], folder: str = "cuda", flags: Sequence[str] = ()) -> list[cxx.Job]:
    """How to compile cc/cuda/*.cu: the same objects for every TensorFlow, in build/folder."""
    command = [cuda["nvcc"], *cuda["flags"], *flags, "-I."]
    folder = os.path.join(cxx.ROOT, "build", folder)
    return [
        cxx.Job(source, os.path.join(folder, source + ".o"), command)
        for source in cxx.sources("cc/cuda/*.cu")
    ]


if __name__ == "__main__":
    print(json.dumps(find()))

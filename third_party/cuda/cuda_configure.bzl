# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0

"""Repository rule that finds nvcc by third_party/python/find_cuda.py.

Without nvcc, or with TF_EMBEDDING_CUDA=0, the library is built for the CPU
only. The flags go straight to nvcc: no crosstool, so any Bazel will do.
"""

_DEFS = """
CUDA = {cuda}

def if_cuda(yes, no = []):
    return yes if CUDA else no

def cuda_library(name, srcs, hdrs = []):
    '''A cc_library of .cu files; empty where there is no nvcc or no file.'''
    objects = []
    for src in srcs if CUDA else []:
        out = name + "_objects/" + src.replace("/", "_") + ".pic.o"
        native.genrule(
            name = out + "_rule",
            srcs = [src] + hdrs,
            outs = [out],
            cmd = "{nvcc} {flags} -I. -c $(location %s) -o $@" % src,
        )
        objects.append(out)
    native.cc_library(
        name = name,
        srcs = objects,
        hdrs = hdrs,
        linkopts = ["-ldl", "-lrt", "-lpthread"] if objects else [],
        alwayslink = 1,
        # A file, not -lcudart_static: options come after TensorFlow's library on
        # the link line, and its GPU build exports cuda* stubs that would win.
        deps = ["@local_config_cuda//:cudart_static"] if objects else [],
    )
"""

_BUILD = """
cc_import(
    name = "cudart_static",
    static_library = "libcudart_static.a",
    visibility = ["//visibility:public"],
)
"""

def _impl(ctx):
    finder = ctx.path(Label("//third_party/python:find_cuda.py"))
    python = ctx.os.environ.get("PYTHON_BIN_PATH", "") or str(ctx.which("python3") or "")
    probe = ctx.execute([python, finder])
    if probe.return_code != 0:
        fail("cuda_configure: " + probe.stderr)
    cuda = json.decode(probe.stdout)
    if cuda:
        ctx.symlink(cuda["cudart"], "libcudart_static.a")
    ctx.file("BUILD", _BUILD if cuda else "", executable = False)
    ctx.file("build_defs.bzl", _DEFS.format(
        cuda = bool(cuda),
        nvcc = cuda["nvcc"] if cuda else "",
        flags = " ".join(cuda["flags"]) if cuda else "",
    ), executable = False)

cuda_configure = repository_rule(
    implementation = _impl,
    environ = [
        "CUDA_HOME",
        "CUDA_PATH",
        "PATH",
        "PYTHON_BIN_PATH",
        "TF_EMBEDDING_CUDA",
        "TF_EMBEDDING_CUDA_ARCHS",
    ],
    local = True,
)

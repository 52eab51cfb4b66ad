# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What several tests need."""

from __future__ import annotations

import tf_embedding as te

# One of each rule of the core, by the core's name.
ALL_RULES = {
    "sgd": te.rules.SGD(),
    "momentum": te.rules.Momentum(),
    "keras_momentum": te.rules.KerasMomentum(),
    "adagrad": te.rules.Adagrad(),
    "rowwise_adagrad": te.rules.RowwiseAdagrad(),
    "rmsprop": te.rules.RMSProp(),
    "rmsprop_momentum": te.rules.RMSProp(momentum=0.9),
    "rmsprop_centered": te.rules.RMSProp(centered=True),
    "rmsprop_centered_momentum": te.rules.RMSProp(centered=True, momentum=0.9),
    "adam": te.rules.Adam(),
    "adamw": te.rules.AdamW(),
    "ftrl": te.rules.Ftrl(),
    "group_ftrl": te.rules.GroupFtrl(),
    "adagrad_decay": te.rules.AdagradDecay(),
}

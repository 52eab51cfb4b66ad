# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an embedding variable can be told beyond its shape, by DeepRec's names.

Frozen dataclasses, each field checked when the object is made. They are plain
values: two options with equal fields are equal, and one may serve many variables.
No environment variable has a meaning.

What a variable cannot do yet is refused when the variable is made, by a
NotImplementedError that names the option; nothing is ignored.

Source: DeepRec (https://github.com/DeepRec-AI/DeepRec) for names and defaults.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import tensorflow as tf

from tf_embedding import _fields, eviction
from tf_embedding.eviction import (
    CapacityEvict,
    EvictOption,
    FrequencyEvict,
    GlobalStepEvict,
    L2WeightEvict,
    TimeEvict,
)


class StorageType(enum.Enum):
    """Where rows are kept, fastest first."""

    DEFAULT = 0
    DRAM = 1
    PMEM_MEMKIND = 2
    PMEM_LIBPMEM = 3
    SSDHASH = 4
    LEVELDB = 5
    HBM = 6
    DRAM_PMEM = 11
    DRAM_SSDHASH = 12
    HBM_DRAM = 13
    DRAM_LEVELDB = 14
    DRAM_PMEM_SSDHASH = 101
    HBM_DRAM_SSDHASH = 102


class CacheStrategy(enum.Enum):
    """Which rows leave a fast storage first."""

    LRU = 0
    LFU = 1


_MAX_FLOAT = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class InitializerOption:
    """Initial rows as DeepRec draws them: a matrix, of which a key takes one row.

    Without this option each key has an initial row of its own, drawn from the seed
    and the key (`tf_embedding.initializers`). With it a matrix of default_value_dim
    rows is drawn once, and key k starts as row `k mod default_value_dim`: so keys
    that are default_value_dim apart start alike.

    Attributes:
      initializer: as `tf_embedding.initializers.get` takes it; None takes that of the
        variable. An array [n, dim] is the matrix itself.
      default_value_dim: rows of the matrix, 1 or more; None for no matrix: each key
        draws its own row.
      default_value_no_permission: what a key without a row reads in every column,
        where a `filter_option` decides on rows; None for its initial row. Without a
        filter it has no meaning.

    Raises:
      ValueError: a field is out of its range.

    >>> InitializerOption(default_value_dim=8).default_value_no_permission
    0.0
    """

    initializer: Any = None
    default_value_dim: Optional[int] = 4096
    default_value_no_permission: Optional[float] = 0.0

    def __post_init__(self) -> None:
        if self.default_value_dim is not None:
            _fields.integer(self, "default_value_dim", 1)
        if self.default_value_no_permission is not None:
            _fields.number(self, "default_value_no_permission", -_MAX_FLOAT, _MAX_FLOAT)


@dataclasses.dataclass(frozen=True)
class CounterFilter:
    """A key earns its row when it has been trained filter_freq times, counted exactly.

    In the batch in which its count reaches filter_freq its whole gradient is applied,
    and the frequency of its row starts at that count. Until then its gradients are
    dropped, and it takes 16 bytes.

    Attributes:
      filter_freq: occurrences, 0 to 2^32 - 1; 0 and 1 are no filter.

    >>> CounterFilter(filter_freq=3).filter_freq
    3
    """

    filter_freq: int = 0

    def __post_init__(self) -> None:
        _fields.integer(self, "filter_freq", 0, 2**32 - 1)


@dataclasses.dataclass(frozen=True)
class CBFFilter:
    """As `CounterFilter`, counted by a counting Bloom filter: bounded memory, some error.

    Its memory is fixed, whatever number of keys comes: about
    |ln p| / ln(2)^2 * max_element_size counters, see docs/admission_and_eviction.md.
    Counts may be too high, so a key may earn its row early; it never does late.

    Attributes:
      filter_freq: occurrences, 1 or more; 1 is no filter.
      max_element_size: how many distinct keys the filter is made for, 1 or more. The
        parts of a variable share it.
      false_positive_probability: of a key that is counted as seen before it was, when
        the filter is full; between 1e-15 and 1, which is excluded. It is rounded to
        float32.
      counter_type: `tf.uint8`, `tf.uint16`, `tf.uint32` or `tf.uint64`; it must hold
        filter_freq.

    >>> CBFFilter(3, max_element_size=1000, false_positive_probability=0.01).filter_freq
    3
    """

    filter_freq: int
    max_element_size: int
    false_positive_probability: float
    counter_type: Any = tf.uint64

    def __post_init__(self) -> None:
        if self.counter_type not in (tf.uint8, tf.uint16, tf.uint32, tf.uint64):
            raise ValueError(
                f"counter_type of CBFFilter is {self.counter_type!r}; it must be tf.uint8, "
                "tf.uint16, tf.uint32 or tf.uint64"
            )
        object.__setattr__(self, "counter_type", tf.as_dtype(self.counter_type))
        _fields.integer(self, "filter_freq", 1, min(tf.as_dtype(self.counter_type).max, 2**32 - 1))
        _fields.integer(self, "max_element_size", 1)
        value = self.false_positive_probability
        if not isinstance(value, float) or not 1e-15 < value or not np.float32(value) < 1:
            raise ValueError(
                f"false_positive_probability of CBFFilter is {value!r}; it must be a float "
                "between 1e-15 and 1, both excluded"
            )


@dataclasses.dataclass(frozen=True)
class ProbabilisticFilter:
    """Each trained occurrence gives a key its row with a probability: no memory at all.

    So a key has its row after 1 / probability occurrences on average. The draws are a
    function of the variable's seed, the key and the step: two batches of one step, or
    batches without a step, draw alike.

    Attributes:
      probability: above 0, at most 1, which is no filter. It is rounded to float32.

    >>> ProbabilisticFilter(probability=0.1).probability
    0.1
    """

    probability: float

    def __post_init__(self) -> None:
        _fields.number(self, "probability", 0.0, 1.0)
        if not np.float32(self.probability) > 0:
            raise ValueError(
                f"probability of ProbabilisticFilter is {self.probability!r}; it must be above 0"
            )


@dataclasses.dataclass(frozen=True)
class StorageOption:
    """Where rows are kept.

    None, DEFAULT and DRAM are the memory of the device that the variable is on.
    HBM_DRAM is for variables under the scope of a GPU: all rows in pinned memory of the
    host, and those in use in a cache in the GPU's (docs/gpu.md). Others are refused.

    Attributes:
      storage_type: a `StorageType`.
      storage_path: a directory, for the types that write files; else None.
      storage_size: bytes of each tier but the last, fastest first. HBM_DRAM has one, the
        cache; parts of a variable share it.
      cache_strategy: a `CacheStrategy`, of tiers: which rows leave the cache first.

    Raises:
      TypeError, ValueError: a field is of another type, or out of its range.

    >>> StorageOption(StorageType.DRAM).cache_strategy.name
    'LFU'
    """

    storage_type: Optional[StorageType] = None
    storage_path: Optional[str] = None
    storage_size: tuple[int, ...] = (1 << 30,)
    cache_strategy: CacheStrategy = CacheStrategy.LFU

    def __post_init__(self) -> None:
        _fields.one_of(self, "storage_type", StorageType)
        _fields.one_of(self, "storage_path", str)
        if not isinstance(self.cache_strategy, CacheStrategy):
            raise TypeError(
                f"cache_strategy of StorageOption is {self.cache_strategy!r}; it must be a "
                "CacheStrategy"
            )
        sizes = self.storage_size
        if isinstance(sizes, list):
            object.__setattr__(self, "storage_size", tuple(sizes))
        elif not isinstance(sizes, tuple):
            raise TypeError(f"storage_size of StorageOption is {sizes!r}; it must be a list")
        for size in self.storage_size:
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(
                    f"storage_size of StorageOption has {size!r}; sizes are bytes, 1 or more"
                )
        kind = "" if self.storage_type is None else self.storage_type.name
        if kind == "HBM_DRAM" and len(sizes) != 1:
            raise ValueError(
                f"storage_size of StorageOption is {sizes!r}; storage_type HBM_DRAM has one "
                "size, the bytes of HBM: DRAM has no bound"
            )
        if ("SSDHASH" in kind or "LEVELDB" in kind) and not self.storage_path:
            raise ValueError(
                f"storage_path of StorageOption is {self.storage_path!r}; "
                f"storage_type {kind} needs a directory"
            )


@dataclasses.dataclass(frozen=True)
class CheckpointOption:
    """Rows that a variable starts with, from a checkpoint of its own.

    Attributes:
      ckpt_to_load_from: prefix of the checkpoint.
      tensor_name_in_ckpt: the variable's name in it; None takes that of the variable.
      always_load_from_specific_ckpt: load from it even where the model's own
        checkpoint has the variable.

    >>> CheckpointOption(tensor_name_in_ckpt="old/items").ckpt_to_load_from is None
    True
    """

    ckpt_to_load_from: Optional[str] = None
    tensor_name_in_ckpt: Optional[str] = None
    always_load_from_specific_ckpt: bool = False

    def __post_init__(self) -> None:
        _fields.one_of(self, "ckpt_to_load_from", str)
        _fields.one_of(self, "tensor_name_in_ckpt", str)
        if not isinstance(self.always_load_from_specific_ckpt, bool):
            raise TypeError(
                "always_load_from_specific_ckpt of CheckpointOption is "
                f"{self.always_load_from_specific_ckpt!r}; it must be True or False"
            )


FilterOption = Union[CounterFilter, CBFFilter, ProbabilisticFilter]


@dataclasses.dataclass(frozen=True)
class EmbeddingVariableOption:
    """What an embedding variable is told beyond its arguments.

    Attributes:
      ht_type: accepted for DeepRec's sake, must be empty: there is one kind of table.
      ht_partition_num: accepted for DeepRec's sake, must be 1000: tables shard
        themselves.
      evict_option: when rows go: one of `tf_embedding.eviction`, or several.
      ckpt: rows to start with.
      filter_option: when a key earns its row.
      storage_option: where rows are kept.
      init_option: initial rows by DeepRec's matrix; None draws each key's own.
      init_capacity: rows for which there is room from the start, 0 or more. It is held,
        but takes no memory of the system before it is used.
      row_dtype: what vectors lie in memory as, on a GPU: `tf.float32`, or `tf.bfloat16`,
        which halves them. Lookups, gradients, optimizer state and all arithmetic are
        float32 all the same; see docs/gpu.md for how values are rounded. On the CPU
        bfloat16 is refused.
      collect_evicted: rows, 0 or more: so many of those that were evicted last are kept
        for `EmbeddingVariable.take_evicted`.

    Raises:
      TypeError, ValueError: a field is of another type, or out of its range.

    >>> EmbeddingVariableOption(init_option=InitializerOption(default_value_dim=8)).filter_option
    >>> EmbeddingVariableOption(row_dtype="bfloat16").row_dtype
    tf.bfloat16
    """

    ht_type: str = ""
    ht_partition_num: int = 1000
    evict_option: Union[EvictOption, Sequence[EvictOption], None] = None
    ckpt: Optional[CheckpointOption] = None
    filter_option: Optional[FilterOption] = None
    storage_option: Optional[StorageOption] = None
    init_option: Optional[InitializerOption] = None
    init_capacity: int = 0
    collect_evicted: int = 0
    row_dtype: Any = tf.float32

    def __post_init__(self) -> None:
        if self.ht_type != "":
            raise ValueError(
                f"ht_type of EmbeddingVariableOption is {self.ht_type!r}; there is one kind of "
                "table: leave it out"
            )
        if self.ht_partition_num != 1000:
            raise ValueError(
                f"ht_partition_num of EmbeddingVariableOption is {self.ht_partition_num!r}; a "
                "table shards itself: leave it out, or cut the variable by partitioner="
            )
        evicts = eviction.as_tuple(self.evict_option)
        if isinstance(self.evict_option, (list, tuple)):
            object.__setattr__(self, "evict_option", evicts or None)
        _fields.one_of(self, "ckpt", CheckpointOption)
        _fields.one_of(self, "filter_option", CounterFilter, CBFFilter, ProbabilisticFilter)
        _fields.one_of(self, "storage_option", StorageOption)
        _fields.one_of(self, "init_option", InitializerOption)
        _fields.integer(self, "init_capacity", 0)
        _fields.integer(self, "collect_evicted", 0)
        object.__setattr__(self, "row_dtype", _row_dtype(self.row_dtype))
        if self.collect_evicted and not evicts:
            raise ValueError(
                f"collect_evicted of EmbeddingVariableOption is {self.collect_evicted}, but there "
                "is no evict_option: no row is evicted"
            )

    @classmethod
    def from_ev_params(
        cls,
        filter_freq: int = 0,
        steps_to_live: int = 0,
        use_cache: bool = False,
        init_capacity: int = 8_388_608,
        max_capacity: int = 16_777_216,
    ) -> EmbeddingVariableOption:
        """The option that EasyRec's `ev_params` ask for, by its names and defaults.

        Args:
          filter_freq: as of `CounterFilter`; 0 for none.
          steps_to_live: as of `GlobalStepEvict`; 0 for none.
          use_cache: whether max_capacity bounds the rows. There is no second tier: the
            least recently updated go (`CapacityEvict`).
          init_capacity: rows for which there is room from the start.
          max_capacity: rows.

        Raises:
          ValueError: an argument is out of its range.

        Source: EasyRec's EVParams (https://github.com/alibaba/EasyRec).

        >>> EmbeddingVariableOption.from_ev_params(steps_to_live=4000).evict_option
        GlobalStepEvict(steps_to_live=4000, when='apply')
        """
        evicts: list[EvictOption] = []
        if steps_to_live:
            evicts.append(GlobalStepEvict(steps_to_live))
        if use_cache:
            evicts.append(CapacityEvict(max_keys=max_capacity))
            init_capacity = min(init_capacity, max_capacity)
        return cls(
            filter_option=CounterFilter(filter_freq) if filter_freq else None,
            evict_option=evicts[0] if len(evicts) == 1 else evicts,
            init_capacity=init_capacity,
        )


def _row_dtype(dtype: Any) -> tf.DType:
    try:
        known = tf.as_dtype(dtype)
    except TypeError:
        known = None
    if known not in (tf.float32, tf.bfloat16):
        raise ValueError(
            f"row_dtype of EmbeddingVariableOption is {dtype!r}; it must be tf.float32 or "
            "tf.bfloat16"
        )
    return known


def check(option: Any, argument: str = "ev_option") -> EmbeddingVariableOption:
    """The option, or the default one for None.

    Raises:
      TypeError: it is something else.
    """
    if option is None:
        return EmbeddingVariableOption()
    if not isinstance(option, EmbeddingVariableOption):
        raise TypeError(
            f"{argument} is {option!r}; it must be an EmbeddingVariableOption, or None"
        )
    return option


def to_config(option: Any) -> Any:
    """An option as plain values, for the config of a layer; None stays None.

    Raises:
      ValueError: it holds an initializer that is no name.
    """
    if isinstance(option, enum.Enum):
        return {"option": type(option).__name__, "fields": option.name}
    if dataclasses.is_dataclass(option):
        fields = {f.name: to_config(getattr(option, f.name)) for f in dataclasses.fields(option)}
        return {"option": type(option).__name__, "fields": fields}
    if isinstance(option, tf.DType):
        return option.name
    if isinstance(option, tuple):
        return [to_config(one) for one in option]
    if option is None or isinstance(option, (str, bool, float)):
        return option
    if hasattr(option, "__index__"):
        return int(option)
    raise ValueError(
        f"initializer of InitializerOption is {option!r}, which has no plain form: a layer that "
        "is to be saved needs the name of one there, or takes it by its own initializer="
    )


def from_config(config: Any) -> Any:
    """The inverse of `to_config`."""
    if isinstance(config, list):
        return [from_config(one) for one in config]
    if not isinstance(config, Mapping):
        return config
    kind, fields = _KINDS[config["option"]], config["fields"]
    if issubclass(kind, enum.Enum):
        return kind[fields]
    return kind(**{name: from_config(value) for name, value in fields.items()})


_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        CacheStrategy,
        CapacityEvict,
        CBFFilter,
        CheckpointOption,
        CounterFilter,
        EmbeddingVariableOption,
        FrequencyEvict,
        GlobalStepEvict,
        InitializerOption,
        L2WeightEvict,
        ProbabilisticFilter,
        StorageOption,
        StorageType,
        TimeEvict,
    )
}


def is_tiered(option: EmbeddingVariableOption) -> bool:
    """Whether rows are in the host's memory, and those in use in a GPU's."""
    storage = option.storage_option
    return storage is not None and storage.storage_type == StorageType.HBM_DRAM


def refuse_what_is_missing(option: EmbeddingVariableOption, name: str) -> None:
    """Raises NotImplementedError for what variables cannot do yet.

    Args:
      option: what the variable is to be made with.
      name: of the variable.
    """
    asked = []
    storage = option.storage_option
    in_memory = (None, StorageType.DEFAULT, StorageType.DRAM, StorageType.HBM_DRAM)
    if storage is not None and storage.storage_type not in in_memory:
        asked.append(f"storage_option={storage}: rows are kept in DRAM, or HBM_DRAM")
    if option.ckpt is not None:
        asked.append(f"ckpt={option.ckpt}: use tf.compat.v1.train.init_from_checkpoint")
    if asked:
        raise NotImplementedError(
            f"embedding variable {name!r} cannot have {'; '.join(asked)}. Leave it out"
        )

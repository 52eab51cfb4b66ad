# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The embedding variable: what a model holds instead of a `tf.Variable`.

Two kinds of object, because TensorFlow treats what looks like a resource variable
specially when it saves (it never asks such an object for its content):

* `EmbeddingTable` (`tf_embedding.table`), a `TrackableResource`, owns the C++ table
  and speaks for it in checkpoints and SavedModels.
* `EmbeddingVariable`, a facade over TensorFlow's `BaseResourceVariable`, is what
  tapes, `tf.gradients`, optimizers and `tf.nn.embedding_lookup` see. It has no
  state but the table.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Sequence

import tensorflow as tf
from tensorflow.python.framework import ops as tf_ops
from tensorflow.python.ops import control_flow_util, resource_variable_ops

from tf_embedding import (
    config,
    gradients,
    initializers,
    options,
    parts,
    saveable,
    table_options,
)
from tf_embedding import stats as _stats
from tf_embedding._library import ops
from tf_embedding.inputs import to_int64
from tf_embedding.no_dense_value import NoDenseValue
from tf_embedding.table import device_of_next_variable, make_tables

_names = itertools.count()


class Rows(NamedTuple):
    """Rows of an embedding variable, one per key.

    Attributes:
      keys: int64 [n].
      values: float32 [n, dim], the vectors.
      slots: float32 [n, slot_width], the optimizer state, in the order of the rule.
      frequency: int64 [n], how many occurrences were trained.
      version: int64 [n], the step of the last update.
    """

    keys: tf.Tensor
    values: tf.Tensor
    slots: tf.Tensor
    frequency: tf.Tensor
    version: tf.Tensor


class EvictedRows(NamedTuple):
    """Rows that eviction took.

    Attributes:
      keys, values, slots, frequency, version: as of `Rows`.
      dropped: int64 scalar, rows taken before these that did not fit.
    """

    keys: tf.Tensor
    values: tf.Tensor
    slots: tf.Tensor
    frequency: tf.Tensor
    version: tf.Tensor
    dropped: tf.Tensor


def _chain_of_graphs() -> Any:
    graph = tf_ops.get_default_graph()
    while graph is not None:
        yield graph
        graph = getattr(graph, "outer_graph", None)


def refuse_xla() -> None:
    """Raises NotImplementedError inside a function that XLA compiles."""
    if any(control_flow_util.GraphOrParentsInXlaContext(g) for g in _chain_of_graphs()):
        raise NotImplementedError(
            "an embedding lookup cannot be compiled by XLA: the table is a hash table. Set "
            'jit_compile=False (or "auto" in Keras), or do the lookup outside the compiled '
            "function and pass its result in"
        )


class EmbeddingVariable(
    NoDenseValue,
    resource_variable_ops.BaseResourceVariable,  # type: ignore[misc]
    saveable.Saveable,
):
    """A table from any int64 key to a row: a vector and its optimizer state.

    Reading never changes it: the vector of a key without a row is the one that it
    would be born with. A row is born when its first gradient is applied, by any of
    `tf_embedding.optimizers`, a Keras layer's optimizer, or
    `tf_embedding.rules.apply`. All 2^64 keys are legal.

    To TensorFlow it is a float32 resource variable of shape [None, dim], so tapes,
    `tf.nn.embedding_lookup` and its sparse relatives work; it has no dense value,
    and reading it whole raises TypeError.

    With num_parts it is cut into parts by the hash of the key (see
    `tf_embedding.parts`), each a table of its own, and stays one variable: lookups,
    gradients, optimizers and checkpoints do not tell how many there are.
    `[part.size() for part in ev]` goes through them; a variable in one piece has
    one part, itself.

    Source: DeepRec's EmbeddingVariable (https://github.com/DeepRec-AI/DeepRec)
    for the idea; the rules that differ are in docs/semantics.md.

    Args:
      dim: the length of a vector, 1 to 4096.
      initializer: of the vectors; see `tf_embedding.initializers.get`.
      seed: of the initial vectors. None takes the initializer's own seed, else one
        that follows from `tf.random.set_seed`, else one made from the name: the same
        in every run.
      name: of the variable.
      trainable: whether tapes record its lookups.
      num_parts: in how many parts to cut it, 1 to 1024.
      collections: of a v1 graph; None for `GLOBAL_VARIABLES`. A trainable variable
        is in `TRAINABLE_VARIABLES` too.
      ev_option: a `tf_embedding.EmbeddingVariableOption`: which keys earn a row
        (filter_option), initial rows as DeepRec draws them (init_option, whose
        initializer goes before the argument), and where rows are kept (storage_option).

    Raises:
      ValueError: an argument is out of its range.
      NotImplementedError: inside a strategy of more than one replica; ev_option asks for
        what variables cannot do.

    >>> ev = EmbeddingVariable(dim=2, initializer="ones", name="words")
    >>> ev.sparse_read([3, -5]).numpy().tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    >>> ev.upsert([3], [[0.5, 0.25]])
    >>> ev.sparse_read([3, -5]).numpy().tolist()
    [[0.5, 0.25], [1.0, 1.0]]
    >>> int(ev.size())
    1
    """

    def __init__(
        self,
        dim: int,
        initializer: initializers.InitializerLike = "uniform",
        seed: Optional[int] = None,
        name: str = "embedding_variable",
        trainable: bool = True,
        num_parts: int = 1,
        collections: Optional[Sequence[str]] = None,
        ev_option: Optional[options.EmbeddingVariableOption] = None,
    ) -> None:
        dim = config.check_dim(dim)
        num_parts = parts.check_num_parts(num_parts)
        strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            raise NotImplementedError(
                f"an embedding variable trains in one replica, and this strategy has "
                f"{strategy.num_replicas_in_sync}: gradients are not summed across replicas yet. "
                "Create it outside strategy.scope() and train with one replica"
            )
        ev_option = options.check(ev_option)
        options.refuse_what_is_missing(ev_option, name)
        init_option = ev_option.init_option
        if init_option is not None and init_option.initializer is not None:
            initializer = init_option.initializer
        spec = initializers.get(
            initializer, dim, None if init_option is None else init_option.default_value_dim
        )
        resolved = table_options.resolve(ev_option, num_parts)
        with tf.init_scope():
            in_graph = not tf.executing_eagerly()
            if in_graph:
                name = tf.compat.v1.get_default_graph().unique_name(name, mark_as_used=False)
                shared_name = name
            else:
                shared_name = f"{name}_{next(_names)}"
            spec = initializers.with_seed(spec, seed, name)
            op_name = name if in_graph else None
            tables = make_tables(dim, num_parts, shared_name, spec, resolved, op_name)
            handles = []
            for of_part in tables:
                with device_of_next_variable():
                    handles.append(of_part.resource_handle)
            if in_graph and options.is_tiered(ev_option):
                _check_on_gpu(handles, ev_option, name)
            table: Any = tables[0]
            if num_parts > 1:
                whole = parts.WholeHandle(dim, shared_name, f"{name}/" if in_graph else None)
                table = parts.PartitionedTable(whole, tables)
            handle = handles[0] if num_parts == 1 else whole.resource_handle
            initializer_op = None
            if in_graph:
                clears = [ops.tf_embedding_clear(handle=part) for part in handles]
                initializer_op = tf.group(*clears, name=f"{name}/init/")
        # Not "in graph mode" even in a graph: v1 optimizers then hand sparse
        # gradients over as they are, where else they would read dense values.
        super().__init__(
            trainable=trainable,
            shape=[None, dim],
            dtype=tf.float32,
            handle=handle,
            name=name,
            unique_id=shared_name,
            handle_name=handle.op.name if in_graph else name,
            in_graph_mode=False,
            initializer_op=initializer_op,
            distribute_strategy=strategy,
        )
        self._dim = dim
        self._spec = spec
        self._tables = tables
        self.table = table
        self._maybe_initialize_trackable()
        self._track_trackable(self.table, "table", overwrite=True)
        if in_graph:
            self._add_to_collections(collections)

    def _add_to_collections(self, collections: Optional[Sequence[str]]) -> None:
        keys = tf.compat.v1.GraphKeys
        names = set([keys.GLOBAL_VARIABLES] if collections is None else collections)
        if self.trainable:
            names.add(keys.TRAINABLE_VARIABLES)
        # Those of the graph that the variable is in, as at its creation.
        with tf.init_scope():
            for collection in sorted(names):
                tf.compat.v1.add_to_collection(collection, self)

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self._dim

    @property
    def seed(self) -> int:
        """The seed of the initial vectors, as the variable was made."""
        return int(self._spec.seed or 0)

    @property
    def num_parts(self) -> int:
        """In how many parts it is cut."""
        return len(self._tables)

    def __len__(self) -> int:
        return self.num_parts

    def __iter__(self) -> Iterator[EmbeddingVariable]:
        """Its parts: each can be counted, exported and asked for its device."""
        if self.num_parts == 1:
            return iter([self])
        return iter([_Part(self, number) for number in range(self.num_parts)])

    def __repr__(self) -> str:
        in_parts = f" num_parts={self.num_parts}" if self.num_parts > 1 else ""
        return f"<EmbeddingVariable {self.name!r} dim={self._dim}{in_parts}>"

    def get_shape(self) -> tf.TensorShape:
        return self.shape

    # Reading.

    def sparse_read(self, indices: Any, name: Optional[str] = None) -> tf.Tensor:
        """The vectors of keys; differentiable; never changes the table.

        Args:
          indices: int64 or int32 keys of any shape.
          name: of the op.

        Returns:
          float32 [..., dim].

        Raises:
          TypeError: the keys are no integers.
          NotImplementedError: XLA compiles the function that is being traced.
        """
        refuse_xla()
        keys = to_int64(indices, "indices")
        # Tells tapes, and the function being traced, that it reads the variable.
        resource_variable_ops.variable_accessed(self)
        with gradients.through_cond():
            if self.num_parts == 1:
                values = ops.tf_embedding_lookup(handle=self.handle, keys=keys, dim=self._dim)
            else:
                values = parts.lookup(self.handle, self._handles(), keys, self._dim)
        return tf.identity(values, name=name)

    def _handles(self) -> list[tf.Tensor]:
        return [table.resource_handle for table in self._tables]

    def shares_of(self, keys: tf.Tensor) -> list[parts.Share]:
        """Deals keys, int64 [n], out to the tables of its parts."""
        return parts.shares_of(self._handles(), keys)

    def size(self) -> tf.Tensor:
        """The number of rows: an int64 scalar."""
        sizes = [ops.tf_embedding_size(handle=handle) for handle in self._handles()]
        return sizes[0] if len(sizes) == 1 else tf.add_n(sizes)

    def total_count(self) -> tf.Tensor:
        """The number of rows, by DeepRec's name."""
        return self.size()

    def contains(self, keys: Any) -> tf.Tensor:
        """Whether each key has a row: bool, of the shape of keys."""
        return self._find(keys).found

    def frequency(self, keys: Any) -> tf.Tensor:
        """How many occurrences of each key were trained: int64.

        Of a key without a row, those that its filter has counted; else 0.
        """
        return self._find(keys).frequency

    def version(self, keys: Any) -> tf.Tensor:
        """The step of each key's last update: int64; -1 without a row."""
        return self._find(keys).version

    def export(self, keys: Any = None) -> Rows:
        """All rows as of one moment, or those of given keys.

        Args:
          keys: int64 [n]; keys without a row are left out. None for all rows, in no
            particular order.

        Returns:
          The rows.
        """
        if keys is None:
            state = self.table.export_state()
            return Rows(*(state[field] for field in Rows._fields))
        keys = tf.reshape(to_int64(keys, "keys"), [-1])
        found, *columns = self._find_rows(keys)
        return Rows(*(tf.boolean_mask(column, found) for column in (keys, *columns)))

    def rule(self) -> str:
        """The optimizer rule whose slots the rows hold; empty before the first."""
        # All parts hold the slots of the same one.
        return str(ops.tf_embedding_rule(handle=self._handles()[0]).numpy().decode())

    def memory_usage(self) -> dict[str, int]:
        """Bytes of memory.

        Returns:
          "index": from keys to rows. "rows": held for rows, used or not. "rows_used":
          those of rows with a key. "rows_host", "rows_cache": of a variable in two
          tiers (`StorageType.HBM_DRAM`), those of "rows" in the host's memory, and
          those of the cache in HBM. "admission": of a filter: candidates, or all
          counters, touched or not. "fixed": whatever the size, and what the last
          lookups left for updates. "total": index, rows, admission and fixed.
        """
        of_all = self.stats()
        return {
            "total": int(of_all.total_bytes),
            "index": int(of_all.index_bytes),
            "rows": int(of_all.row_bytes),
            "rows_used": int(of_all.row_used_bytes),
            "rows_host": int(of_all.host_bytes),
            "rows_cache": int(of_all.cache_bytes),
            "admission": int(of_all.candidate_bytes),
            "fixed": int(of_all.fixed_bytes),
        }

    def stats(self) -> _stats.TableStats:
        """Counts of rows and lookups, and memory, as scalar tensors.

        Works in graphs. Costs a walk over the shards and a bounded sample of the index,
        some milliseconds at most, and may be asked beside training.

        >>> ev = EmbeddingVariable(dim=2, name="seen")
        >>> ev.upsert([1, 2], [[0.0, 0.0], [1.0, 1.0]])
        >>> _ = ev.sparse_read([1, 1, 7, 2])
        >>> int(ev.stats().keys), float(ev.stats().hit_rate)
        (2, 0.75)
        """
        return _stats.of_tables(self._handles())

    def top_k(self, n: Any, by: str = "frequency") -> _stats.TopKeys:
        """The n keys that come first by a measure; `export(keys)` gives their rows.

        Reads every row once, one shard at a time; works in graphs.

        Args:
          n: how many at most, 0 or more.
          by: "frequency", "version" (last updated first), or "norm" (L2, of the vector).

        Returns:
          The keys, highest first, and the measure of each.

        Raises:
          ValueError: by is something else.
          tf.errors.InvalidArgumentError: n is below 0.

        >>> ev = EmbeddingVariable(dim=2, name="ranked")
        >>> ev.upsert([5, 6], [[3.0, 4.0], [0.0, 1.0]])
        >>> ev.top_k(1, by="norm").keys.numpy().tolist()
        [5]
        """
        return _stats.top_keys(self._handles(), n, by)

    def histogram(self, measure: str, step: Any = 0) -> _stats.Histogram:
        """How many rows have a measure in which range, in bins of one size to a ratio.

        Reads every row once, one shard at a time; works in graphs.

        Args:
          measure: "frequency", "version", "age" (steps since the last update) or "norm".
          step: the present, which ages are told from.

        Raises:
          ValueError: measure is something else.
        """
        return _stats.histogram(self._handles(), measure, step)

    def iterate(self, chunk_size: int = 65536) -> Iterator[Rows]:
        """All rows, chunk by chunk, while the variable is trained.

        Only in eager code. A chunk costs memory for itself alone, and its rows are
        whole. A key that has a row from the first chunk to the last comes exactly once;
        one that comes or goes meanwhile, once or not at all.

        Args:
          chunk_size: rows in a chunk, about: some more at most, fewer at a part's end.

        Raises:
          ValueError: chunk_size is below 1.

        >>> ev = EmbeddingVariable(dim=2, name="walked")
        >>> ev.upsert(range(100), [[1.0, 2.0]] * 100)
        >>> sorted(int(key) for rows in ev.iterate(30) for key in rows.keys) == list(range(100))
        True
        """
        if chunk_size < 1:
            raise ValueError(f"chunk_size is {chunk_size!r}; it must be 1 or more")
        return self._chunks(chunk_size)

    def _chunks(self, chunk_size: int) -> Iterator[Rows]:
        for handle in self._handles():
            cursor = 0
            while cursor >= 0:
                following, *columns = ops.tf_embedding_export_chunk(
                    handle=handle, cursor=cursor, max_rows=chunk_size, dim=self._dim
                )
                cursor = int(following)
                if len(columns[0]):
                    yield Rows(*columns)

    def prefetch(self, keys: Any) -> Optional[tf.Operation]:
        """Brings the rows of keys into the cache of a variable in two tiers.

        For the keys of the next batch (`StorageType.HBM_DRAM`, docs/gpu.md). It changes
        no result, inserts nothing, and costs nothing where rows are in one memory. Rows
        that find no room stay where they are, and are read and updated there.

        Args:
          keys: int64 or int32 keys of any shape; those without a row are passed over.

        Raises:
          TypeError: the keys are no integers.

        >>> ev = EmbeddingVariable(dim=2, name="ahead")
        >>> ev.prefetch([1, 2])
        >>> int(ev.size())
        0
        """
        shares = self.shares_of(tf.reshape(to_int64(keys, "keys"), [-1]))
        return _as_one(
            parts.for_each(
                shares,
                lambda share: ops.tf_embedding_prefetch(handle=share.handle, keys=share.keys),
            )
        )

    # Writing.

    def upsert(self, keys: Any, values: Any, step: Any = 0) -> Optional[tf.Operation]:
        """Sets the vectors of keys, with or without a row.

        A new row gets the initial optimizer state and frequency 0; one that was there
        keeps both. Of equal keys the last wins.

        Args:
          keys: int64 [n].
          values: float32 [n, dim].
          step: the version to stamp, an int below 2^32 - 1.

        Raises:
          TypeError: the keys are no integers.
          tf.errors.InvalidArgumentError: shapes or step do not fit; nothing changed.
        """
        keys, values = to_int64(keys, "keys"), tf.convert_to_tensor(values, tf.float32)
        step = tf.cast(step, tf.int64)
        if self.num_parts > 1:
            # Every part sees the whole shape, so that none writes where another refuses.
            keys, values = parts.checked(keys, values, self._dim, "values")

        def upsert(share: parts.Share) -> Any:
            return ops.tf_embedding_upsert(
                handle=share.handle, keys=share.keys, values=share.take(values), step=step
            )

        return _as_one(parts.for_each(self.shares_of(keys), upsert))

    def remove(self, keys: Any) -> tf.Tensor:
        """Removes rows, optimizer state and all; their memory goes back to the system.

        Args:
          keys: int64 of any shape; those without a row are passed over.

        Returns:
          An int64 scalar: how many rows there were.

        Raises:
          TypeError: the keys are no integers.
        """
        shares = self.shares_of(tf.reshape(to_int64(keys, "keys"), [-1]))
        removed = parts.for_each(
            shares, lambda share: ops.tf_embedding_remove(handle=share.handle, keys=share.keys)
        )
        return removed[0] if len(removed) == 1 else tf.add_n(removed)

    def evict(self, step: Any = None) -> tf.Tensor:
        """Asks all rules of its `evict_option` of all rows; see `tf_embedding.eviction`.

        Args:
          step: the present, from which rows have their age; None for the step of the
            last update.

        Returns:
          An int64 scalar: how many rows went.

        Raises:
          tf.errors.InvalidArgumentError: step is below 0, or 2^32 - 1 and more.

        >>> option = options.EmbeddingVariableOption(evict_option=options.GlobalStepEvict(10))
        >>> ev = EmbeddingVariable(dim=2, name="ages", ev_option=option)
        >>> ev.upsert([1], [[0.0, 0.0]], step=5)
        >>> int(ev.evict(step=15)), int(ev.evict(step=16))
        (0, 1)
        """
        if step is None:
            present = tf.constant(-1, tf.int64)
        else:
            # The op takes -1 for the step of the last update.
            check = tf.debugging.assert_non_negative(step, "step must be 0 or more")
            with tf.control_dependencies([] if check is None else [check]):
                present = tf.cast(step, tf.int64)
        evicted = parts.beside_each(
            self._handles(), lambda handle: ops.tf_embedding_evict(handle=handle, step=present)
        )
        return evicted[0] if len(evicted) == 1 else tf.add_n(evicted)

    def take_evicted(self) -> EvictedRows:
        """The evicted rows that were kept, by part and shard, oldest first; none are then.

        How many are kept is `collect_evicted` of the `EmbeddingVariableOption`.
        """
        taken = parts.beside_each(
            self._handles(),
            lambda handle: ops.tf_embedding_take_evicted(handle=handle, dim=self._dim),
        )
        *columns, dropped = zip(*taken)
        return EvictedRows._make(
            [*(tf.concat(column, axis=0) for column in columns), tf.add_n(dropped)]
        )

    def clear(self) -> Optional[tf.Operation]:
        """Removes all rows."""
        return _as_one([ops.tf_embedding_clear(handle=handle) for handle in self._handles()])

    def state(self) -> dict[str, tf.Tensor]:
        """All that a checkpoint holds, as named tensors of one moment.

        For tables that fit into memory twice; a checkpoint holds no more than a part
        of one at a time.
        """
        state: dict[str, tf.Tensor] = self.table.export_state()
        return state

    def load_state(self, state: Mapping[str, Any]) -> Any:
        """Makes the variable exactly what `state()` returned; arrays will do.

        Raises:
          ValueError: an entry is missing.
          tf.errors.InvalidArgumentError: an entry does not fit; nothing changed.
        """
        missing = [name for name in saveable.STATE if name not in state]
        if missing:
            raise ValueError(f"state lacks {', '.join(missing)}; pass what state() returned")
        return self.table.import_state({name: state[name] for name in saveable.STATE})

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name and ":0", as of any variable."""
        name = str(super().name)
        # Where a Saver and a warm start collect what they look up in a checkpoint, a
        # SaveableObject is asked for the name of its tensor, and a variable is not.
        collects = sys._getframe(1).f_code.co_name == "op_list_to_dict"
        return name.split(":")[0] if collects else name

    def is_initialized(self, name: Optional[str] = None) -> tf.Tensor:
        """Whether a graph's initializer or a restore has run; True outside graphs.

        A table needs neither to be read and trained. It lets workers wait for a chief
        that restores: `tf.compat.v1.report_uninitialized_variables` asks it.
        """
        if self._initializer_op is None:
            return tf.constant(True, name=name)
        each = [ops.tf_embedding_is_initialized(handle=handle) for handle in self._handles()]
        return tf.reduce_all(tf.stack(each), name=name)

    def to_proto(self, export_scope: Optional[str] = None) -> None:
        # Keeps it out of the variable collections of a MetaGraph: it would be
        # imported as a dense variable.
        del export_scope

    # Checkpoints: only the table speaks.

    def _gather_saveables_for_checkpoint(self) -> dict[str, Any]:
        return {}

    def _export_to_saved_model_graph(
        self, object_map: Any = None, tensor_map: Any = None, options: Any = None, **kwargs: Any
    ) -> list[Any]:
        return []

    def _copy_trackable_to_cpu(self, object_map: Any) -> None:
        object_map[self] = self

    def _write_object_proto(self, proto: Any, options: Any) -> None:
        proto.user_object.identifier = "_generic_user_object"
        proto.user_object.version.producer = 1
        proto.user_object.version.min_consumer = 1

    class _Found(NamedTuple):
        found: tf.Tensor
        frequency: tf.Tensor
        version: tf.Tensor

    def _find(self, keys: Any) -> _Found:
        keys = to_int64(keys, "keys")
        found, _, _, frequency, version = self._find_rows(tf.reshape(keys, [-1]))
        shape = tf.shape(keys)
        return self._Found(*(tf.reshape(x, shape) for x in (found, frequency, version)))

    def _find_rows(self, keys: tf.Tensor) -> list[tf.Tensor]:
        """Found, vectors, slots, frequency and version of keys [n]."""
        shares = self.shares_of(keys)
        of_shares = parts.for_each(
            shares,
            lambda share: ops.tf_embedding_find(
                handle=share.handle, keys=share.keys, dim=self._dim
            ),
        )
        return [parts.join(shares, column) for column in zip(*of_shares)]


class _Part(EmbeddingVariable):
    """One part of a variable, to count and to look into; the whole is what trains."""

    def __init__(self, whole: EmbeddingVariable, number: int) -> None:
        table = whole._tables[number]
        handle = table.resource_handle
        name = f"{whole.name.split(':')[0]}/part_{number}"
        resource_variable_ops.BaseResourceVariable.__init__(
            self,
            trainable=False,
            shape=whole.shape,
            dtype=tf.float32,
            handle=handle,
            name=name,
            unique_id=f"{whole._unique_id}/part_{number}",
            handle_name=name,
            in_graph_mode=False,
        )
        self.whole, self.number = whole, number
        self._dim, self._spec = whole.dim, whole._spec
        self._tables, self.table = [table], table


def whole_of(variables: Sequence[Any]) -> Optional[EmbeddingVariable]:
    """The variable that a list has all the parts of, in order; None for any other list."""
    if not all(isinstance(variable, _Part) for variable in variables):
        return None
    whole: EmbeddingVariable = variables[0].whole
    numbers = [part.number for part in variables if part.whole is whole]
    return whole if numbers == list(range(whole.num_parts)) else None


def is_part(variable: Any) -> bool:
    """Whether it is one part of a variable that has more."""
    return isinstance(variable, _Part)


def _check_on_gpu(
    handles: Sequence[tf.Tensor], option: options.EmbeddingVariableOption, name: str
) -> None:
    """Of a graph: the op that makes a table checks where it is outside graphs."""
    for handle in handles:
        if "GPU" not in handle.device.upper():
            raise ValueError(
                f"storage_option of embedding variable {name!r} is {option.storage_option}, but "
                f"its device is {handle.device!r}; make it under tf.device(\"/GPU:0\"), or "
                "without storage_option"
            )


def _as_one(operations: Sequence[Any]) -> Any:
    """One operation for several; None outside graphs, where they have run."""
    if len(operations) == 1 or tf.executing_eagerly():
        return operations[0]
    return tf.group(*operations)

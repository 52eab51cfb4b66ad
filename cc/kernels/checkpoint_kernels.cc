// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/checkpoint_ops.cc.
//
// A saved table is a variant tensor, and that is how it travels inside
// TensorFlow's own SaveV2 and RestoreV2, v1 Savers, sharding, SavedModels and
// all: SaveV2 serialises a variant tensor element by element, asking each for
// its bytes and writing them before it asks the next. An element that
// SaveBlocks made is a promise, and makes its block only then. RestoreV2 reads
// the elements back as bytes, and LoadBlocks parses them.

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/checkpoint_parts.h"
#include "cc/core/checkpoint_writer.h"
#include "cc/core/crc32c.h"
#include "cc/kernels/block.h"
#include "cc/kernels/resource.h"
#include "tensorflow/core/framework/variant.h"
#include "tensorflow/core/framework/variant_op_registry.h"
#include "tensorflow/core/framework/variant_tensor_data.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::DEVICE_GPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::tstring;
using ::tensorflow::Variant;

// A save under way; keeps the table alive. While TensorFlow writes what it has,
// a thread of TensorFlow's makes what it asks for next.
class Save : public Elements, public std::enable_shared_from_this<Save> {
 public:
  Save(TableRef table, int64_t part, int64_t num_parts, uint32_t since)
      : table_(std::move(table)),
        writer_(table_->table(), part, num_parts, since) {}
  int64_t num_elements() const { return writer_.num_elements(); }
  Status Encode(int64_t element, std::string* bytes) override {
    TFE_RETURN_IF_ERROR(writer_.Encode(element, bytes));
    const int64_t next = writer_.GroupAfter(element);
    if (next >= 0) {
      tensorflow::Env::Default()->SchedClosure(
          [self = shared_from_this(), next] { self->writer_.MakeAhead(next); });
    }
    return Status();
  }
  uint32_t Checksum(int64_t element) override {
    return writer_.Checksum(element);
  }
  void Reuse(std::string bytes) override { writer_.Reuse(std::move(bytes)); }

 private:
  const TableRef table_;
  CheckpointWriter writer_;
};

REGISTER_UNARY_VARIANT_DECODE_FUNCTION(Block, "tf_embedding::Block");

// Over the checksums of all elements: what tells one save from another.
absl::Status ChecksumOf(const Tensor& blocks, int64_t* checksum) {
  std::vector<uint32_t> each(blocks.NumElements());
  for (int64_t i = 0; i < blocks.NumElements(); ++i) {
    const Block* block;
    TF_RETURN_IF_ERROR(GetBlock(blocks.flat<Variant>()(i), i, &block));
    each[i] = block->Checksum();
  }
  *checksum = Crc32c(reinterpret_cast<const char*>(each.data()),
                     each.size() * sizeof(uint32_t));
  return absl::OkStatus();
}

class SaveBlocksOp : public OpKernel {
 public:
  explicit SaveBlocksOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("part", &part_));
    OP_REQUIRES_OK(context, context->GetAttr("num_parts", &num_parts_));
    OP_REQUIRES(context, part_ < num_parts_ && num_parts_ <= kMaxParts,
                absl::InvalidArgumentError(absl::StrCat(
                    "part is ", part_, " and num_parts ", num_parts_,
                    "; they must be below that, and at most ", kMaxParts)));
    OP_REQUIRES_OK(context, context->GetAttr("consumer", &consumer_));
    OP_REQUIRES_OK(context, context->GetAttr("all_rows", &all_rows_));
  }
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table, /*saving=*/true));
    DeviceExecutor executor(context);
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->EvictForSave(&executor)));
    uint32_t since = 0;
    if (!consumer_.empty()) {
      OP_REQUIRES_OK(context, table->BeginSave(consumer_, all_rows_));
    }
    if (!consumer_.empty() && !all_rows_) {
      OP_REQUIRES_OK(
          context, ToTensorFlow(table->table()->DeltaSince(consumer_, &since)));
      OP_REQUIRES(context, since > 0,
                  absl::InvalidArgumentError(absl::StrCat(
                      "consumer is \"", consumer_,
                      "\", which needs all rows; leave it out, or start a "
                      "delta that needs less")));
    }
    const auto save =
        std::make_shared<Save>(std::move(table), part_, num_parts_, since);
    const int64_t n = save->num_elements();
    Tensor* blocks;
    OP_REQUIRES_OK(context, context->allocate_output(0, {n}, &blocks));
    auto elements = blocks->vec<Variant>();
    for (int64_t i = 0; i < n; ++i) elements(i) = Block(save, i);
  }

 private:
  int64_t part_, num_parts_;
  std::string consumer_;
  bool all_rows_;
};

class LoadBlocksOp : public OpKernel {
 public:
  explicit LoadBlocksOp(OpKernelConstruction* context) : OpKernel(context) {
    int n;
    OP_REQUIRES_OK(context, context->GetAttr("N", &n));
    OP_REQUIRES_OK(context, context->GetAttr("part", &options_.part));
    OP_REQUIRES_OK(context, context->GetAttr("num_parts", &options_.num_parts));
    OP_REQUIRES_OK(context, context->GetAttr("partial", &options_.partial));
    OP_REQUIRES_OK(context,
                   context->GetAttr("change_dim", &options_.change_dim));
    OP_REQUIRES_OK(context, context->GetAttr("take", &take_));
    OP_REQUIRES_OK(context, context->GetAttr("delta", &delta_));
    OP_REQUIRES(context, options_.part <= options_.num_parts - n,
                absl::InvalidArgumentError(absl::StrCat(
                    "part is ", options_.part, " and there are ", n,
                    " handles; num_parts is ", options_.num_parts)));
  }
  void Compute(OpKernelContext* context) override {
    const int num_tables = context->num_inputs() - 1;
    std::vector<TableRef> tables(num_tables);
    for (int t = 0; t < num_tables; ++t) {
      OP_REQUIRES_OK(context, GetTable(context, t, &tables[t]));
    }
    std::vector<std::string> elements;
    OP_REQUIRES_OK(context, GetElements(context->input(num_tables), &elements));
    CheckpointParts parts = SplitParts(std::move(elements));
    Tensor* report;
    OP_REQUIRES_OK(context, context->allocate_output(0, {3}, &report));
    DeviceExecutor executor(context);
    RestoreReport total;
    OP_REQUIRES_OK(
        context,
        ToTensorFlow(delta_ ? Apply(tables, parts, &executor, &total)
                            : Restore(tables, &parts, &executor, &total)));
    for (const TableRef& table : tables) {
      OP_REQUIRES_OK(context, table->Publish(context));
    }
    if (total.counts_dropped) {
      LOG(WARNING) << "tf_embedding: the checkpoint has the counts of another "
                      "filter, or of a Bloom filter in other parts: keys "
                      "without a row are counted anew";
    }
    if (total.rows_reset > 0) {
      LOG(WARNING) << "tf_embedding: " << total.rows_reset << " of "
                   << total.rows
                   << " restored rows held slots of another rule: their "
                      "vectors stay, their slots start anew";
    }
    auto out = report->vec<int64_t>();
    out(0) = total.rows;
    out(1) = total.rows_reset;
    out(2) = total.rows_of_others;
  }

 private:
  // All tables or none.
  Status Restore(const std::vector<TableRef>& tables, CheckpointParts* parts,
                 Executor* executor, RestoreReport* total) const {
    const auto num_tables = static_cast<int>(tables.size());
    std::vector<PreparedRestore> prepared(num_tables);
    RestoreOptions options = options_;
    for (int t = 0; t < num_tables; ++t) {
      TFE_RETURN_IF_ERROR(tables[t]->table()->PrepareRestore(
          parts, /*take=*/t == num_tables - 1, options, executor,
          &prepared[t]));
      ++options.part;
    }
    for (int t = 0; t < num_tables; ++t) {
      TFE_RETURN_IF_ERROR(tables[t]->table()->CommitRestore(&prepared[t]));
      tables[t]->set_initialized();
      total->rows += prepared[t].report.rows;
      total->rows_reset += prepared[t].report.rows_reset;
      total->rows_of_others += prepared[t].report.rows_of_others;
      total->counts_dropped |= prepared[t].report.counts_dropped;
    }
    return Status();
  }

  // Where it fails after some tables have theirs, for memory, it can be done
  // again.
  Status Apply(const std::vector<TableRef>& tables,
               const CheckpointParts& parts, Executor* executor,
               RestoreReport* total) const {
    std::vector<PreparedDelta> prepared(tables.size());
    RestoreOptions options = options_;
    for (size_t t = 0; t < tables.size(); ++t) {
      TFE_RETURN_IF_ERROR(tables[t]->table()->PrepareDelta(
          parts, options, executor, &prepared[t]));
      ++options.part;
    }
    for (size_t t = 0; t < tables.size(); ++t) {
      DeltaReport report;
      TFE_RETURN_IF_ERROR(
          tables[t]->table()->ApplyDelta(prepared[t], executor, &report));
      total->rows += report.rows;
      total->rows_of_others += report.rows_of_others;
    }
    return Status();
  }

  absl::Status GetElements(const Tensor& blocks,
                           std::vector<std::string>* elements) const {
    TF_RETURN_IF_ERROR(CheckVector(blocks, "blocks"));
    const auto variants = blocks.vec<Variant>();
    elements->resize(variants.size());
    for (int64_t i = 0; i < variants.size(); ++i) {
      const Block* block;
      TF_RETURN_IF_ERROR(GetBlock(variants(i), i, &block));
      std::string* const bytes = &(*elements)[i];
      TF_RETURN_IF_ERROR(
          ToTensorFlow(take_ ? block->Take(bytes) : block->Bytes(bytes)));
    }
    return absl::OkStatus();
  }

  RestoreOptions options_;
  bool take_, delta_;
};

class JoinBlocksOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    int64_t n = 0;
    for (int i = 0; i < context->num_inputs(); ++i) {
      OP_REQUIRES_OK(context, CheckVector(context->input(i), "blocks"));
      n += context->input(i).NumElements();
    }
    Tensor* joined;
    OP_REQUIRES_OK(context, context->allocate_output(0, {n}, &joined));
    Variant* out = joined->vec<Variant>().data();
    for (int i = 0; i < context->num_inputs(); ++i) {
      const auto blocks = context->input(i).vec<Variant>();
      out = std::copy_n(blocks.data(), blocks.size(), out);
    }
  }
};

// Puts rows into a table of no other use: all that a restore checks.
absl::Status VerifyTable(const Tensor& blocks, Executor* executor,
                         int64_t* rows) {
  std::vector<std::string> elements(blocks.NumElements());
  for (int64_t i = 0; i < blocks.NumElements(); ++i) {
    const Block* block;
    TF_RETURN_IF_ERROR(GetBlock(blocks.flat<Variant>()(i), i, &block));
    TF_RETURN_IF_ERROR(ToTensorFlow(block->Take(&elements[i])));
  }
  CheckpointFooter footer;
  TF_RETURN_IF_ERROR(ToTensorFlow(
      ParseFooter(elements.empty() ? std::string() : elements.back(),
                  "the footer", &footer)));
  TableOptions options;
  options.dim = static_cast<int>(std::min<int64_t>(footer.dim, kMaxDim + 1));
  std::unique_ptr<EmbeddingTable> table;
  TF_RETURN_IF_ERROR(ToTensorFlow(EmbeddingTable::Create(options, &table)));
  // A Saver writes each part of a variable under a name of its own.
  RestoreOptions restore;
  restore.partial = true;
  if (IsDelta(footer)) {
    CheckpointParts parts = SplitParts(std::move(elements));
    *rows = 0;
    for (const std::vector<std::string>& part : parts) {
      TF_RETURN_IF_ERROR(
          ToTensorFlow(ParseFooter(part.back(), "the footer", &footer)));
      *rows += footer.rows;
    }
    PreparedDelta unused;
    return ToTensorFlow(
        table->PrepareDelta(std::move(parts), restore, executor, &unused));
  }
  RestoreReport report;
  TF_RETURN_IF_ERROR(ToTensorFlow(table->Restore(
      SplitParts(std::move(elements)), restore, executor, &report)));
  *rows = report.rows;
  return absl::OkStatus();
}

class VerifyCheckpointOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckScalar(context->input(0), "prefix"));
    const std::string prefix = context->input(0).scalar<tstring>()();
    tensorflow::BundleReader reader(context->env(), prefix);
    OP_REQUIRES_OK(context, Name(reader.status(), prefix, ""));
    std::vector<std::string> keys;
    for (reader.Seek(tensorflow::kHeaderEntryKey), reader.Next();
         reader.Valid(); reader.Next()) {
      keys.emplace_back(reader.key());
    }
    DeviceExecutor executor(context);
    struct Table {
      std::string name;
      int64_t rows = 0;
      int64_t checksum = 0;
    };
    std::vector<Table> tables;
    for (const std::string& key : keys) {
      tensorflow::DataType dtype;
      tensorflow::TensorShape shape;
      OP_REQUIRES_OK(
          context,
          Name(reader.LookupDtypeAndShape(key, &dtype, &shape), prefix, key));
      Tensor tensor(dtype, shape);
      OP_REQUIRES_OK(context, Name(reader.Lookup(key, &tensor), prefix, key));
      if (dtype != tensorflow::DT_VARIANT || shape.num_elements() == 0 ||
          tensor.flat<Variant>()(0).get<Block>() == nullptr) {
        continue;
      }
      tables.push_back(Table{key});
      OP_REQUIRES_OK(context, ChecksumOf(tensor, &tables.back().checksum));
      OP_REQUIRES_OK(context,
                     Name(VerifyTable(tensor, &executor, &tables.back().rows),
                          prefix, key));
    }
    const auto n = static_cast<int64_t>(tables.size());
    Tensor *names, *rows, *checksums;
    OP_REQUIRES_OK(context, context->allocate_output(0, {n}, &names));
    OP_REQUIRES_OK(context, context->allocate_output(1, {n}, &rows));
    OP_REQUIRES_OK(context, context->allocate_output(2, {n}, &checksums));
    for (int64_t i = 0; i < n; ++i) {
      names->vec<tstring>()(i) = tables[i].name;
      rows->vec<int64_t>()(i) = tables[i].rows;
      checksums->vec<int64_t>()(i) = tables[i].checksum;
    }
  }

 private:
  // Says where it was; TensorFlow's own errors do not always.
  static absl::Status Name(const absl::Status& status,
                           const std::string& prefix, const std::string& key) {
    if (status.ok()) return status;
    return absl::DataLossError(
        absl::StrCat("checkpoint ", prefix, key.empty() ? "" : ", tensor ", key,
                     ": ", std::string(status.message())));
  }
};

class BlocksChecksumOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckVector(context->input(0), "blocks"));
    int64_t checksum;
    OP_REQUIRES_OK(context, ChecksumOf(context->input(0), &checksum));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
    out->scalar<int64_t>()() = checksum;
  }
};

class BlockBytesOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& blocks = context->input(0);
    OP_REQUIRES_OK(context, CheckVector(blocks, "blocks"));
    OP_REQUIRES_OK(context, CheckScalar(context->input(1), "index"));
    const int64_t index = context->input(1).scalar<int64_t>()();
    OP_REQUIRES(context, index >= 0 && index < blocks.NumElements(),
                absl::InvalidArgumentError(
                    absl::StrCat("index is ", index, "; it must be in [0, ",
                                 blocks.NumElements(), ")")));
    const Block* block;
    OP_REQUIRES_OK(context,
                   GetBlock(blocks.vec<Variant>()(index), index, &block));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
    std::string bytes;
    OP_REQUIRES_OK(context, ToTensorFlow(block->Bytes(&bytes)));
    out->scalar<tstring>()() = bytes;
  }
};

class BlocksFromBytesOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& bytes = context->input(0);
    OP_REQUIRES_OK(context, CheckVector(bytes, "bytes"));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, bytes.shape(), &out));
    for (int64_t i = 0; i < bytes.NumElements(); ++i) {
      out->vec<Variant>()(i) = Block(std::string(bytes.vec<tstring>()(i)));
    }
  }
};

class Crc32cOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckVector(context->input(0), "data"));
    OP_REQUIRES_OK(context, CheckScalar(context->input(1), "before"));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
    const auto data = context->input(0).vec<uint8_t>();
    out->scalar<uint32_t>()() =
        ExtendCrc32c(context->input(1).scalar<uint32_t>()(),
                     reinterpret_cast<const char*>(data.data()), data.size());
  }
};

#define TFE_REGISTER(name, kernel) \
  REGISTER_KERNEL_BUILDER(Name("TfEmbedding>" name).Device(DEVICE_CPU), kernel)

TFE_REGISTER("SaveBlocks", SaveBlocksOp);
TFE_REGISTER("LoadBlocks", LoadBlocksOp);
TFE_REGISTER("JoinBlocks", JoinBlocksOp);
TFE_REGISTER("VerifyCheckpoint", VerifyCheckpointOp);
TFE_REGISTER("BlocksChecksum", BlocksChecksumOp);
TFE_REGISTER("BlockBytes", BlockBytesOp);
TFE_REGISTER("BlocksFromBytes", BlocksFromBytesOp);
TFE_REGISTER("Crc32c", Crc32cOp);

#undef TFE_REGISTER

// On a device: of a copy of the table on the host (GetTable).
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>SaveBlocks")
                            .Device(DEVICE_GPU)
                            .HostMemory("handle")
                            .HostMemory("blocks"),
                        SaveBlocksOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>LoadBlocks")
                            .Device(DEVICE_GPU)
                            .HostMemory("handles")
                            .HostMemory("blocks")
                            .HostMemory("report"),
                        LoadBlocksOp);

}  // namespace
}  // namespace tf_embedding

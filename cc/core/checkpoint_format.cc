// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/checkpoint_format.h"

#include <utility>

#include "cc/core/crc32c.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "checkpoints are little-endian, and are copied to and from memory as is"
#endif

namespace tf_embedding {
namespace {

constexpr char kBlockMagic[] = "TFEBLOCK";
constexpr char kFooterMagic[] = "TFEFOOTR";
constexpr size_t kMagicBytes = 8;
constexpr size_t kPrefixBytes = kMagicBytes + 16;  // magic, version, length
constexpr size_t kChecksumBytes = 4;
constexpr int64_t kMaxCount = int64_t{1} << 40;

// Appends to a frame.
class Writer {
 public:
  explicit Writer(std::string* out) : out_(out) {}

  void Int(int64_t value) { Raw(&value, sizeof(value)); }
  void Text(const std::string& text) {
    Int(static_cast<int64_t>(text.size()));
    out_->append(text);
  }
  void Texts(const std::vector<std::string>& texts) {
    Int(static_cast<int64_t>(texts.size()));
    for (const std::string& text : texts) Text(text);
  }
  void Floats(const float* values, size_t n) { Raw(values, n * sizeof(float)); }
  void Begin(const char* magic) {
    out_->append(magic, kMagicBytes);
    Int(kCheckpointFormat);
    Int(0);  // the length, by End
  }
  void End() {
    const auto length = static_cast<int64_t>(out_->size() - kPrefixBytes);
    std::memcpy(&(*out_)[kMagicBytes + 8], &length, sizeof(length));
    const uint32_t checksum = Crc32c(out_->data(), out_->size());
    Raw(&checksum, sizeof(checksum));
  }

 private:
  void Raw(const void* data, size_t size) {
    out_->append(static_cast<const char*>(data), size);
  }

  std::string* const out_;
};

// Reads a frame's body. After the first read past its end every read gives
// zeros and ok() is false.
class Reader {
 public:
  Reader(const char* at, size_t size) : at_(at), left_(size) {}

  bool ok() const { return ok_; }
  size_t left() const { return left_; }
  const char* at() const { return at_; }

  int64_t Int() {
    int64_t value = 0;
    if (Take(sizeof(value))) std::memcpy(&value, at_ - 8, sizeof(value));
    return value;
  }
  std::string Text() {
    const int64_t size = Int();
    if (size < 0 || !Take(static_cast<size_t>(size))) return Fail();
    return std::string(at_ - size, static_cast<size_t>(size));
  }
  std::vector<std::string> Texts() {
    const int64_t count = Int();
    std::vector<std::string> texts;
    // Each takes 8 bytes at least, so a false count ends soon.
    for (int64_t i = 0; i < count && ok_; ++i) texts.push_back(Text());
    return texts;
  }
  std::vector<float> Floats(int64_t count) {
    if (count < 0 || static_cast<uint64_t>(count) > left_ / sizeof(float)) {
      Fail();
      return {};
    }
    std::vector<float> values(static_cast<size_t>(count));
    Take(values.size() * sizeof(float));
    if (!values.empty()) {
      std::memcpy(values.data(), at_ - values.size() * sizeof(float),
                  values.size() * sizeof(float));
    }
    return values;
  }

 private:
  std::string Fail() {
    ok_ = false;
    return "";
  }
  bool Take(size_t size) {
    if (!ok_ || size > left_) {
      ok_ = false;
      return false;
    }
    at_ += size;
    left_ -= size;
    return true;
  }

  const char* at_;
  size_t left_;
  bool ok_ = true;
};

// format: the version that it was written in.
Status CheckFrame(const std::string& bytes, const char* magic,
                  const std::string& what, int64_t* format) {
  constexpr size_t kLeast = kPrefixBytes + kChecksumBytes;
  if (bytes.size() < kLeast) {
    return DataLoss(what, " is cut short: it has ", bytes.size(),
                    " bytes, the least are ", kLeast);
  }
  if (bytes.compare(0, kMagicBytes, magic) != 0) {
    return DataLoss(what, " is damaged or something else: it does not begin ",
                    "with ", magic);
  }
  int64_t version, length;
  std::memcpy(&version, &bytes[kMagicBytes], 8);
  std::memcpy(&length, &bytes[kMagicBytes + 8], 8);
  const auto have = static_cast<int64_t>(bytes.size() - kLeast);
  const bool known =
      version >= kOldestCheckpointFormat && version <= kCheckpointFormat;
  if (known && length != have) {
    return DataLoss(what, " is ", length > have ? "cut short" : "damaged",
                    ": its body should have ", length, " bytes, and has ",
                    have);
  }
  uint32_t stored;
  const size_t covered = bytes.size() - kChecksumBytes;
  std::memcpy(&stored, &bytes[covered], sizeof(stored));
  const uint32_t computed = Crc32c(bytes.data(), covered);
  if (stored != computed) {
    return DataLoss(what, " is damaged: its checksum is ", computed,
                    ", and should be ", stored);
  }
  if (!known) {
    return InvalidArgument(what, " has format version ", version,
                           "; this release reads versions ",
                           kOldestCheckpointFormat, " to ", kCheckpointFormat,
                           "; use one as new as that which wrote it");
  }
  *format = version;
  return Status();
}

bool IsBlockCount(int64_t n) {
  return n >= 1 && n <= kNumBuckets && (n & (n - 1)) == 0;
}

Status Nonsense(const std::string& what, const char* field) {
  return DataLoss(what, " is damaged: its ", field, " cannot be");
}

}  // namespace

BlockBuilder::BlockBuilder(const BlockHeader& header, std::string buffer)
    : header_(header),
      values_bytes_(4 * (header.dim + header.slot_width)),
      bytes_(std::move(buffer)) {
  bytes_.clear();
  const size_t bytes = kPrefixBytes + kChecksumBytes + 72 + header.rule.size() +
                       header.kind.size() + header.rows * header.record_bytes();
  // It is a guess; a buffer that served for a like one does.
  if (bytes_.capacity() < bytes - bytes / 16) bytes_.reserve(bytes);
  header_.rows = 0;
  header_.step = -1;
  Writer writer(&bytes_);
  writer.Begin(kBlockMagic);
  writer.Int(header.number);
  writer.Int(header.num_blocks);
  writer.Int(header.dim);
  writer.Int(header.slot_width);
  writer.Int(0);  // rows and step, by Finish
  writer.Int(0);
  writer.Text(header.rule);
  writer.Text(header.kind);
  writer.Int(header.record_bytes());
}

std::string BlockBuilder::Finish() {
  char* const rows = &bytes_[kPrefixBytes + 4 * 8];
  std::memcpy(rows, &header_.rows, 8);
  std::memcpy(rows + 8, &header_.step, 8);
  Writer(&bytes_).End();
  return std::move(bytes_);
}

uint32_t FrameChecksum(const std::string& bytes) {
  uint32_t checksum = 0;
  if (bytes.size() < kChecksumBytes) return checksum;
  std::memcpy(&checksum, &bytes[bytes.size() - kChecksumBytes], kChecksumBytes);
  return checksum;
}

std::string EncodeFooter(const CheckpointFooter& footer) {
  std::string bytes;
  Writer writer(&bytes);
  writer.Begin(kFooterMagic);
  writer.Int(footer.num_blocks);
  writer.Int(footer.part);
  writer.Int(footer.num_parts);
  writer.Int(footer.rows);
  writer.Int(footer.step);
  writer.Int(footer.dim);
  writer.Text(footer.dtype);
  writer.Text(footer.rule);
  writer.Texts(footer.vector_slots);
  writer.Texts(footer.scalar_slots);
  writer.Floats(footer.initial_slots.data(), footer.initial_slots.size());
  const InitializerSpec& spec = footer.initializer;
  writer.Text(InitializerKindName(spec.kind));
  writer.Floats(&spec.a, 1);
  writer.Floats(&spec.b, 1);
  writer.Int(static_cast<int64_t>(spec.seed));
  writer.Int(static_cast<int64_t>(spec.matrix.size()));
  writer.Floats(spec.matrix.data(), spec.matrix.size());
  writer.Texts(footer.kinds);
  writer.Int(footer.bloom.num_hashes);
  writer.Int(footer.bloom.segment_counters);
  writer.Int(footer.bloom.counter_bytes);
  writer.End();
  return bytes;
}

Status ParseBlock(const std::string& bytes, const std::string& what,
                  BlockHeader* header, const char** records) {
  int64_t format;
  TFE_RETURN_IF_ERROR(CheckFrame(bytes, kBlockMagic, what, &format));
  Reader reader(bytes.data() + kPrefixBytes,
                bytes.size() - kPrefixBytes - kChecksumBytes);
  header->number = reader.Int();
  header->num_blocks = reader.Int();
  header->dim = reader.Int();
  header->slot_width = reader.Int();
  header->rows = reader.Int();
  header->step = reader.Int();
  header->rule = reader.Text();
  header->kind = kRowsKind;
  if (format > 1) {
    header->kind = reader.Text();
    header->other_record_bytes = reader.Int();
  }
  if (!reader.ok()) return Nonsense(what, "length");
  if (!IsBlockCount(header->num_blocks) || header->number < 0 ||
      header->number >= header->num_blocks) {
    return Nonsense(what, "number");
  }
  if (header->kind == kRowsKind) {
    if (header->dim < 1 || header->dim > kMaxCount || header->slot_width < 0 ||
        header->slot_width > kMaxCount) {
      return Nonsense(what, "dim");
    }
  } else if (header->other_record_bytes < 1 ||
             header->other_record_bytes > kMaxCount) {
    return Nonsense(what, "record size");
  }
  const auto left = static_cast<int64_t>(reader.left());
  if (header->rows != left / header->record_bytes() ||
      left % header->record_bytes() != 0) {
    return Nonsense(what, "number of rows");
  }
  *records = reader.at();
  return Status();
}

Status ParseFooter(const std::string& bytes, const std::string& what,
                   CheckpointFooter* footer) {
  int64_t format;
  TFE_RETURN_IF_ERROR(CheckFrame(bytes, kFooterMagic, what, &format));
  Reader reader(bytes.data() + kPrefixBytes,
                bytes.size() - kPrefixBytes - kChecksumBytes);
  footer->num_blocks = reader.Int();
  footer->part = reader.Int();
  footer->num_parts = reader.Int();
  footer->rows = reader.Int();
  footer->step = reader.Int();
  footer->dim = reader.Int();
  footer->dtype = reader.Text();
  footer->rule = reader.Text();
  footer->vector_slots = reader.Texts();
  footer->scalar_slots = reader.Texts();
  footer->initial_slots = reader.Floats(static_cast<int64_t>(
      footer->vector_slots.size() + footer->scalar_slots.size()));
  const std::string kind = reader.Text();
  const std::vector<float> args = reader.Floats(2);
  InitializerSpec& spec = footer->initializer;
  spec.seed = static_cast<uint64_t>(reader.Int());
  spec.matrix = reader.Floats(reader.Int());
  footer->kinds = {kRowsKind};
  footer->bloom = BloomShape();
  if (format > 1) {
    footer->kinds = reader.Texts();
    footer->bloom.num_hashes = static_cast<int>(reader.Int());
    footer->bloom.segment_counters = reader.Int();
    footer->bloom.counter_bytes = static_cast<int>(reader.Int());
  }
  if (!reader.ok() || reader.left() != 0) return Nonsense(what, "length");
  spec.a = args[0];
  spec.b = args[1];
  TFE_RETURN_IF_ERROR(ParseInitializerKind(kind, &spec.kind));
  if (!IsBlockCount(footer->num_blocks)) {
    return Nonsense(what, "number of blocks");
  }
  if (footer->kinds.empty()) return Nonsense(what, "list of kinds");
  const BloomShape& bloom = footer->bloom;
  if (bloom.num_hashes < 0 || bloom.segment_counters < 0 ||
      bloom.segment_counters > kMaxCount || bloom.counter_bytes < 0 ||
      bloom.counter_bytes > 8) {
    return Nonsense(what, "Bloom filter");
  }
  if (footer->part < 0 || footer->part >= footer->num_parts) {
    return Nonsense(what, "part");
  }
  if (footer->dim < 1 || footer->dim > kMaxCount) return Nonsense(what, "dim");
  if (footer->dtype != "float32") {
    return InvalidArgument(what, " has rows of ", footer->dtype,
                           "; this release reads float32");
  }
  return Status();
}

std::vector<std::vector<std::string>> SplitParts(
    std::vector<std::string> elements) {
  std::vector<std::vector<std::string>> parts;
  bool open = false;
  for (std::string& element : elements) {
    if (!open) parts.emplace_back();
    open = element.compare(0, kMagicBytes, kFooterMagic) != 0;
    parts.back().push_back(std::move(element));
  }
  return parts;
}

}  // namespace tf_embedding

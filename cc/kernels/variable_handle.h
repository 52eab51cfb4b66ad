// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What the kernels of VariableHandle share, wherever the rows are.

#ifndef TF_EMBEDDING_CC_KERNELS_VARIABLE_HANDLE_H_
#define TF_EMBEDDING_CC_KERNELS_VARIABLE_HANDLE_H_

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cc/kernels/resource.h"

namespace tf_embedding {

inline absl::Status ReadAdmission(tensorflow::OpKernelConstruction* context,
                                  uint64_t seed, AdmissionSpec* admission) {
  std::string filter;
  float probability;
  int64_t counter_bits;
  std::vector<float> no_permission;
  TF_RETURN_IF_ERROR(context->GetAttr("filter", &filter));
  TF_RETURN_IF_ERROR(context->GetAttr("filter_freq", &admission->filter_freq));
  TF_RETURN_IF_ERROR(context->GetAttr("filter_probability", &probability));
  TF_RETURN_IF_ERROR(
      context->GetAttr("max_element_size", &admission->max_elements));
  TF_RETURN_IF_ERROR(context->GetAttr("counter_bits", &counter_bits));
  TF_RETURN_IF_ERROR(context->GetAttr("no_permission", &no_permission));
  if (no_permission.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("no_permission has ", no_permission.size(),
                     " values; it must have one, or none"));
  }
  if (!no_permission.empty()) admission->no_permission = no_permission[0];
  admission->probability = probability;
  admission->counter_bits =
      static_cast<int>(std::clamp<int64_t>(counter_bits, 0, 128));
  admission->seed = seed;
  return ToTensorFlow(ParseAdmissionKind(filter, &admission->kind));
}

inline absl::Status ReadEviction(tensorflow::OpKernelConstruction* context,
                                 EvictionOptions* options) {
  TF_RETURN_IF_ERROR(
      context->GetAttr("steps_to_live", &options->steps_to_live));
  float seconds, decay;
  TF_RETURN_IF_ERROR(context->GetAttr("seconds_to_live", &seconds));
  TF_RETURN_IF_ERROR(context->GetAttr("l2_threshold", &options->l2_threshold));
  TF_RETURN_IF_ERROR(
      context->GetAttr("min_frequency", &options->min_frequency));
  TF_RETURN_IF_ERROR(context->GetAttr("frequency_decay", &decay));
  TF_RETURN_IF_ERROR(context->GetAttr("every_steps", &options->every_steps));
  options->seconds = seconds;
  options->decay = decay;
  const std::pair<const char*, EvictWhen*> whens[] = {
      {"steps_when", &options->steps_when},
      {"seconds_when", &options->seconds_when},
      {"l2_when", &options->l2_when},
      {"frequency_when", &options->frequency_when}};
  std::string name;
  for (const auto& [attribute, when] : whens) {
    TF_RETURN_IF_ERROR(context->GetAttr(attribute, &name));
    TF_RETURN_IF_ERROR(ToTensorFlow(ParseEvictWhen(name, when)));
  }
  TF_RETURN_IF_ERROR(context->GetAttr("max_keys", &options->max_keys));
  TF_RETURN_IF_ERROR(context->GetAttr("max_bytes", &options->max_bytes));
  TF_RETURN_IF_ERROR(context->GetAttr("evict_order", &name));
  TF_RETURN_IF_ERROR(ToTensorFlow(ParseEvictOrder(name, &options->order)));
  TF_RETURN_IF_ERROR(context->GetAttr("collect_evicted", &options->collect));
  return ToTensorFlow(options->Check());
}

// The attributes that every table has.
template <class Options>
absl::Status ReadVariable(tensorflow::OpKernelConstruction* context,
                          Options* options) {
  int64_t dim, seed;
  std::string initializer;
  InitializerSpec& spec = options->initializer;
  TF_RETURN_IF_ERROR(context->GetAttr("dim", &dim));
  TF_RETURN_IF_ERROR(context->GetAttr("initializer", &initializer));
  TF_RETURN_IF_ERROR(context->GetAttr("init_a", &spec.a));
  TF_RETURN_IF_ERROR(context->GetAttr("init_b", &spec.b));
  TF_RETURN_IF_ERROR(context->GetAttr("seed", &seed));
  TF_RETURN_IF_ERROR(context->GetAttr("matrix", &spec.matrix));
  TF_RETURN_IF_ERROR(context->GetAttr("init_capacity", &options->reserve));
  if (dim > kMaxDim) {
    return absl::InvalidArgumentError(
        absl::StrCat("dim is ", dim, "; it must be in [1, ", kMaxDim, "]"));
  }
  spec.seed = static_cast<uint64_t>(seed);
  options->dim = static_cast<int>(dim);
  TF_RETURN_IF_ERROR(ReadAdmission(context, spec.seed, &options->admission));
  TF_RETURN_IF_ERROR(ReadEviction(context, &options->eviction));
  return ToTensorFlow(ParseInitializerKind(initializer, &spec.kind));
}

// Makes a table, or finds the one of that name, and gives out its handle. The
// handle of a new anonymous table owns it: dropping the last copy frees the
// table. Under any other shared_name the table lives in the resource manager,
// which graphs and loaded SavedModels need, until it is destroyed there.
template <class Resource>
absl::Status OutputHandle(
    tensorflow::OpKernelContext* context, const tensorflow::NodeDef& def,
    const std::string& shared_name, int dim,
    const std::function<absl::Status(Resource**)>& create) {
  tensorflow::Tensor* output;
  TF_RETURN_IF_ERROR(context->allocate_output(0, {}, &output));
  auto& handle = output->scalar<tensorflow::ResourceHandle>()();
  const std::vector<tensorflow::DtypeAndPartialTensorShape> content = {
      {tensorflow::DT_FLOAT, tensorflow::PartialTensorShape({0, dim})}};
  if (shared_name == tensorflow::ResourceHandle::ANONYMOUS_NAME) {
    Resource* made;
    TF_RETURN_IF_ERROR(create(&made));
    handle = tensorflow::ResourceHandle::MakeRefCountingHandle(
        made, context->device()->name(), content);
    return absl::OkStatus();
  }
  tensorflow::ContainerInfo info;
  tensorflow::ResourceMgr* const manager = context->resource_manager();
  TF_RETURN_IF_ERROR(
      info.Init(manager, def, /*use_node_name_as_default=*/true));
  Resource* found;
  TF_RETURN_IF_ERROR(manager->LookupOrCreate<Resource>(
      info.container(), info.name(), &found, create));
  const tensorflow::core::RefCountPtr<Resource> resource(found);
  TF_RETURN_IF_ERROR(CheckDim(*resource, dim));
  handle = tensorflow::MakeResourceHandle<Resource>(context, info.container(),
                                                    info.name(), content);
  return absl::OkStatus();
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_VARIABLE_HANDLE_H_

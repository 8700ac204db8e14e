// What the kernel must know of an operator's arguments, read once from its schema.
#include "signature.h"

#include <ATen/core/jit_type.h>

namespace cordee {
namespace {

// Whether `type` is a tensor, or an optional or list of tensors.
bool holds_tensors(const c10::TypePtr& type) {
  if (auto optional = type->cast<c10::OptionalType>()) {
    return holds_tensors(optional->getElementType());
  }
  if (auto list = type->cast<c10::ListType>()) {
    return holds_tensors(list->getElementType());
  }
  return type->kind() == c10::TypeKind::TensorType;
}

bool is_kind(const c10::TypePtr& type, c10::TypeKind kind) {
  if (auto optional = type->cast<c10::OptionalType>()) {
    return is_kind(optional->getElementType(), kind);
  }
  return type->kind() == kind;
}

} // namespace

Signature::Signature(const c10::OperatorHandle& op)
    : arguments(op.schema().arguments().size()),
      results(op.schema().returns().size()),
      mutates(op.schema().is_mutable()) {
  for (uint32_t i = 0; i < arguments; ++i) {
    // real_type: in the other one a device or a generator may appear as an int.
    const c10::TypePtr& type = op.schema().arguments()[i].real_type();
    if (holds_tensors(type)) {
      tensors.push_back(i);
    } else if (is_kind(type, c10::TypeKind::DeviceObjType)) {
      device = i;
    } else if (is_kind(type, c10::TypeKind::GeneratorType)) {
      generator = i;
    }
  }
}

} // namespace cordee

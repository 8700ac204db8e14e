// Types of elements and how they are reduced.
#ifndef CORDEE_HCCL_ELEMENT_H
#define CORDEE_HCCL_ELEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "failure.h"

namespace hccl {

uint64_t element_bytes(HcclDataType type); // 0: no such type
const char *element_name(HcclDataType type);
const char *reduction_name(HcclReduceOp op);

// Whether the chip moves, or reduces, elements of that type; otherwise explained.
HcclResult check_movable(const char *function, HcclDataType type);
HcclResult check_reducible(const char *function, HcclDataType type, HcclReduceOp op);

// into[i] = into[i] op from[i]
void reduce(HcclDataType type, HcclReduceOp op, void *into, const void *from, size_t count);

} // namespace hccl

#endif

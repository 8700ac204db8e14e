// What a thread calls between HcclGroupStart and HcclGroupEnd waits for the end of the group.
#ifndef CORDEE_HCCL_GROUP_H
#define CORDEE_HCCL_GROUP_H

#include <functional>

#include "operation.h"

namespace hccl {

bool group_is_open();

// Puts off making a communicator, which then happens in the thread's context, beside the others of
// the group: one thread can be several ranks.
HcclResult group_add_creation(std::function<HcclResult()> creation);

} // namespace hccl

#endif

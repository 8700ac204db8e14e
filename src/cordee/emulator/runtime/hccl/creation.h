// How a communicator comes to be, once its ranks know where to meet.
#ifndef CORDEE_HCCL_CREATION_H
#define CORDEE_HCCL_CREATION_H

#include "communicator.h"

namespace hccl {

// What a program may ask of a communicator.
struct Wishes {
    std::string name;              // empty: one is made up
    uint64_t execute_timeout_ns;
    uint32_t buffer_mib;           // of each of the two buffers of its links
    std::string buffer_name;       // of communicators that share them; empty: its own
};

Wishes wishes_of_environment();
HcclResult read_wishes(const HcclCommConfig *config, Wishes *wishes);

// Meets the other ranks and opens what they share; in a group of calls, at its end.
HcclResult create(const Meeting &meeting, uint32_t ranks, uint32_t rank, const Wishes &wishes,
                  HcclComm *made);

// Connects the ranks on other hosts; `epoch` tells the attempts apart.
HcclResult connect(Communicator &communicator, uint64_t epoch);

} // namespace hccl

#endif

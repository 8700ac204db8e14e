// What the environment says about communicators.
#ifndef CORDEE_HCCL_SETTINGS_H
#define CORDEE_HCCL_SETTINGS_H

#include <stdint.h>

namespace hccl {

// How long a communicator waits for its ranks, and a collective for its peers; 0: for ever.
uint64_t connect_timeout_ns();
uint64_t execute_timeout_ns();

// How long an unanswered packet to another host is sent again before the link counts as broken.
uint32_t network_timeout_ms();

// The port at which a process listens: the first of a row to try, or 0 for any.
uint16_t base_port();

// Of the memory through which a communicator exchanges.
uint32_t buffer_mib();

} // namespace hccl

#endif

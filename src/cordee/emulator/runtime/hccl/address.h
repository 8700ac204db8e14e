// The address under which other hosts reach this process.
#ifndef CORDEE_HCCL_ADDRESS_H
#define CORDEE_HCCL_ADDRESS_H

#include <netinet/in.h>

#include "member.h"

namespace hccl {

// The interface that HCCL would take; false with a reason where the environment names none.
bool address_here(Address *found, const char **why);

// A socket that listens on every interface at `port`, 0: at any; -1 with errno.
int listen_at(uint16_t port, bool six);
uint16_t port_of(int listener);

// A connection made before `deadline_ms` have passed; -1 with errno.
int connect_to(const Address &to, int timeout_ms);

// All or nothing, within the socket's own time limit.
bool send_all(int file, const void *data, size_t bytes);
bool receive_all(int file, void *data, size_t bytes);
void limit_wait(int file, int timeout_ms);

} // namespace hccl

#endif

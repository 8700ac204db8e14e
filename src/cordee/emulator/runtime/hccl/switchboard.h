// The socket at which a process is called: ranks that gather, and connections between hosts.
#ifndef CORDEE_HCCL_SWITCHBOARD_H
#define CORDEE_HCCL_SWITCHBOARD_H

#include <vector>

#include "clock.h"
#include "failure.h"
#include "member.h"

namespace hccl {

// Names one communicator, or one attempt to make one.
struct Identity {
    uint64_t high, low;
    bool operator==(const Identity &) const = default;
};

Identity identity_random();
// The same for all who give the same words.
Identity identity_of(const Identity &parent, const uint64_t *words, size_t count);

// Where this process listens, from the first call on.
HcclResult switchboard_address(Address *found);

// Also listens at a port, or under a name on this host, that others know beforehand.
HcclResult switchboard_also_at(uint16_t port);
HcclResult switchboard_also_named(const char *name);

// Who is called: a process, or a name on this host.
struct Meeting {
    Address address;
    char name[64]; // used where it is not empty
    Identity identity;
};

// Introduces `me` to the meeting and waits until all `ranks` ranks are there; gives them in order.
HcclResult gather(const Meeting &meeting, uint32_t ranks, const Member &me,
                  std::vector<Member> *all);

// Calls rank `to` for a connection of the communicator; -1: it cannot be reached in time.
int wire_to(const Member &to, const Identity &communicator, uint64_t epoch, uint32_t rank,
            const Deadline &deadline);
// The connection that rank `from` called for; -1: it has not in time.
int wire_from(const Identity &communicator, uint64_t epoch, uint32_t from, const Deadline &deadline);

} // namespace hccl

#endif

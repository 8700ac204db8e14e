// One rank as the others of its communicator know it; sent as it is between processes.
#ifndef CORDEE_HCCL_MEMBER_H
#define CORDEE_HCCL_MEMBER_H

#include <stdint.h>

#include <vector>

namespace hccl {

// Which memory and which network a process can reach.
struct Host {
    uint64_t boot[2];  // of the kernel
    uint64_t network;  // namespaces
    uint64_t processes;
    uint64_t user;
};

struct Machine {
    uint64_t device, file; // of the virtual machine's memory; 0, 0: one of the process's own
};

struct Address {
    char text[46]; // numeric
    uint16_t port;
};

struct Member {
    uint32_t rank;
    int32_t chip; // as its machine numbers it
    Host host;
    Machine machine;
    Address address; // where its process listens
    int32_t pid;
    int32_t room; // descriptor of the shared memory that it offers
};

bool same(const Host &a, const Host &b);
bool same(const Machine &a, const Machine &b);

// This process on `chip`; without an address.
Member member_here(uint32_t rank, int32_t chip);

} // namespace hccl

#endif

// What processes say to each other's switchboards.
#ifndef CORDEE_HCCL_CALL_H
#define CORDEE_HCCL_CALL_H

#include "switchboard.h"

namespace hccl {

constexpr uint64_t kCallMagic = 0x4c4c414345455244u;
enum class Purpose : uint32_t { kGather = 1, kWire = 2 };

struct Call {
    uint64_t magic;
    Purpose purpose;
    uint32_t ranks;
    Identity identity;
    uint64_t epoch;
    Member member;
};

// Followed by `ranks` members where the code is HCCL_SUCCESS.
struct Answer {
    uint32_t code, ranks;
    char why[384];
};

} // namespace hccl

#endif

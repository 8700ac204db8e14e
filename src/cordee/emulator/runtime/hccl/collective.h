// A collective as rounds in which every rank offers bytes and fetches from the others.
#ifndef CORDEE_HCCL_COLLECTIVE_H
#define CORDEE_HCCL_COLLECTIVE_H

#include <algorithm>
#include <vector>

#include "operation.h"

namespace hccl {

// Device memory of the program, or memory of the communicator's own where `device` is NULL.
struct Buffer {
    char *device = nullptr;
    uint64_t bytes = 0;
};

struct Round {
    bool reduces = false;         // what comes from all ranks becomes one piece
    Buffer offered;               // from here others fetch
    Buffer target;                // what is fetched goes here
    std::vector<Piece> outgoing;  // of what is offered, by rank that fetches
    std::vector<Piece> incoming;  // of the target, by rank it comes from; one where it reduces
};

struct Plan {
    Signature signature = {};
    HcclDataType type = HCCL_DATA_TYPE_INT8;
    HcclReduceOp reduction = HCCL_REDUCE_SUM;
    std::vector<Round> rounds; // kRounds at most
};

class Collective final : public Operation {
  public:
    Collective(Handle communicator, const char *what, Plan plan)
        : Operation(std::move(communicator), what), plan_(std::move(plan))
    {
        entry.bytes = std::max(plan_.rounds.front().offered.bytes, plan_.rounds.back().target.bytes);
    }
    aclError run(const Patience &patience) override;

  private:
    aclError take_part(const Patience &patience, uint64_t operation);
    aclError offer(uint64_t operation, uint32_t number);
    bool post_message(uint64_t operation);
    aclError gather_all(const Patience &patience, uint64_t operation, uint32_t number);
    aclError wait_for_all(const Patience &patience, uint64_t phase) const;
    aclError check_agreement(uint64_t operation) const;
    aclError check_pieces(uint64_t operation, uint32_t number) const;

    Plan plan_;
    bool as_message_ = false;
};

} // namespace hccl

#endif

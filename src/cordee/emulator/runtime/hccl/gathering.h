// Ranks that have called one process and wait for each other.
#ifndef CORDEE_HCCL_GATHERING_H
#define CORDEE_HCCL_GATHERING_H

#include <list>
#include <vector>

#include "call.h"

namespace hccl {

// Used by the thread of the switchboard only.
class Gatherings {
  public:
    // Takes over the socket of a rank that called.
    void join(const Call &call, int file);
    // Sends those home who have waited too long.
    void expire();

  private:
    struct Gathering {
        Identity identity;
        uint32_t ranks;
        Deadline deadline;
        std::vector<Member> members;
        std::vector<int> files; // -1: has not come
    };
    std::list<Gathering>::iterator find(const Call &call);
    void end(std::list<Gathering>::iterator which, const Answer &answer);

    std::list<Gathering> open_;
};

} // namespace hccl

#endif
